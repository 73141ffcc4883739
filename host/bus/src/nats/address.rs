//! What everything is called on the server: streams, subjects, consumers, keys. Never speaks to it.

use skep_core::Name;

use super::lane::Lane;

/// The addresses of one host in one hive.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The stream of all frames.
    pub(super) stream: String,
    /// The bucket of leases and names.
    pub(super) bucket: String,
    /// Where this hive's subjects begin.
    root: String,
    host: String,
}

/// What a key of the bucket stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A host's lease.
    Host(Name),
    /// An agent's name.
    Name(Name),
}

impl Addresses {
    pub(super) fn new(hive: &Name, host: &Name) -> Self {
        Self {
            stream: format!("skep-{}", token(hive.as_str())),
            bucket: format!("skep-{}", escaped(hive.as_str(), '_')),
            root: format!("skep.{}", token(hive.as_str())),
            host: token(host.as_str()),
        }
    }

    /// Every frame of the hive.
    pub(super) fn links(&self) -> String {
        format!("{}.link.>", self.root)
    }

    /// A frame of this host to another.
    pub(super) fn link_to(&self, lane: Lane, to: &Name) -> String {
        format!("{}.link.{}.{}.{}", self.root, lane.name(), token(to.as_str()), self.host)
    }

    /// The frames to this host.
    pub(super) fn link_here(&self, lane: Lane) -> String {
        format!("{}.link.{}.{}.>", self.root, lane.name(), self.host)
    }

    /// The durable consumer of the frames to this host.
    pub(super) fn consumer(&self, lane: Lane) -> String {
        format!("{}-{}", self.host, lane.name())
    }

    /// A confirmation of this host to another.
    pub(super) fn confirm_to(&self, lane: Lane, to: &Name) -> String {
        format!("{}.confirm.{}.{}.{}", self.root, lane.name(), token(to.as_str()), self.host)
    }

    /// The confirmations to this host.
    pub(super) fn confirm_here(&self, lane: Lane) -> String {
        format!("{}.confirm.{}.{}.*", self.root, lane.name(), self.host)
    }

    /// The key of a host's lease.
    pub(super) fn host_key(&self) -> String {
        format!("host.{}", self.host)
    }

    /// The key of an agent's name.
    pub(super) fn name_key(name: &Name) -> String {
        format!("name.{}", token(name.as_str()))
    }

    /// Where a key of the bucket is published.
    pub(super) fn entry(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }

    /// What an entry's subject stands for; none for what no host of ours wrote.
    pub(super) fn key_of(&self, subject: &str) -> Option<Key> {
        let (kind, rest) =
            subject.strip_prefix("$KV.")?.strip_prefix(&*self.bucket)?.strip_prefix('.')?.split_once('.')?;
        match kind {
            "host" => Some(Key::Host(text(rest)?)),
            "name" => Some(Key::Name(text(rest)?)),
            _ => None,
        }
    }
}

/// Who sent what came on a subject of a link or a confirmation: its last token.
pub(super) fn sender(subject: &str) -> Option<Name> {
    text(subject.rsplit('.').next()?)
}

/// A text as one token of a subject, which is a valid key of a bucket as well: all but letters, digits, `_` and `-` as
/// `=XX`.
fn token(text: &str) -> String {
    escaped(text, '=')
}

/// As [`token`], with another sign to escape with: a bucket's name may not have `=` in it.
fn escaped(text: &str, sign: char) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character != sign && (byte.is_ascii_alphanumeric() || character == '_' || character == '-') {
            out.push(character);
        } else {
            out.push_str(&format!("{sign}{byte:02X}"));
        }
    }
    out
}

/// The name that a token stands for.
fn text(token: &str) -> Option<Name> {
    let mut parts = token.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        out.push(char::from(u8::from_str_radix(hex, 16).ok()?));
        out.push_str(rest);
    }
    Name::new(&out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn every_name_is_one_token_and_comes_back() {
        for (plain, expected) in [("a_b-C9", "a_b-C9"), ("a.b", "a=2Eb"), ("x:/@+", "x=3A=2F=40=2B")] {
            assert_eq!(token(plain), expected);
            assert_eq!(text(expected), Some(name(plain)));
        }
        for bad in ["", "=", "=2", "=ZZ", "a=20b", "a*"] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }

    #[test]
    fn hives_with_different_names_have_different_buckets() {
        let bucket = |hive: &str| Addresses::new(&name(hive), &name("h")).bucket;
        assert_eq!(bucket("a-b"), "skep-a-b");
        assert_eq!(bucket("a.b"), "skep-a_2Eb");
        assert_eq!(bucket("a_2Eb"), "skep-a_5F2Eb");
    }

    #[test]
    fn subjects_tell_who_sent_and_keys_what_they_are() {
        let addresses = Addresses::new(&name("my.hive"), &name("host/1"));
        let subject = addresses.link_to(Lane::Data, &name("b"));
        assert_eq!(subject, "skep.my=2Ehive.link.data.b.host=2F1");
        assert_eq!(sender(&subject), Some(name("host/1")));
        assert_eq!(addresses.key_of(&addresses.entry(&addresses.host_key())), Some(Key::Host(name("host/1"))));
        let key = Addresses::name_key(&name("orders.eu"));
        assert_eq!(addresses.key_of(&addresses.entry(&key)), Some(Key::Name(name("orders.eu"))));
        assert_eq!(addresses.key_of("$KV.other.name.a"), None);
    }
}
