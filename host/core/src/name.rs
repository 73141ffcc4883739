//! Names of agents, kinds, topics and keys: what is allowed, and how foreign text is made safe to show. Never who has a
//! name.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// The longest name, in bytes: it is a row's key and a table's column.
pub const NAME_BYTES_MAX: usize = 128;

/// A valid name: 1 to 128 bytes of `[A-Za-z0-9_.:/@+-]`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a name: {why}", shown(.text, 64))]
pub struct BadName {
    text: String,
    why: &'static str,
}

impl Name {
    /// Checks a text.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > NAME_BYTES_MAX {
            "it is longer than 128 bytes"
        } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/@+-".contains(&byte)) {
            "only letters, digits and _ . : / @ + - are allowed"
        } else {
            return Ok(Self(text.into()));
        };
        Err(BadName { text: text.to_owned(), why })
    }

    /// The kind of every answer.
    pub fn reply() -> Self {
        static REPLY: OnceLock<Name> = OnceLock::new();
        REPLY.get_or_init(|| Self("reply".into())).clone()
    }

    /// The kind of every notice that another agent has ended.
    pub fn down() -> Self {
        static DOWN: OnceLock<Name> = OnceLock::new();
        DOWN.get_or_init(|| Self("down".into())).clone()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Foreign text made safe to show anywhere: control, bidirectional and invisible characters are escaped, and what is
/// over `chars_max` characters is cut and marked. Every text that comes from a guest or a file passes through here
/// before it enters an error, a log line, a table or a page.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max * 4));
    for (count, character) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        if is_harmless(character) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

/// Whether a character can be shown as it is: it neither moves a cursor nor hides or turns what is beside it.
pub fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Name::new("digest-1").is_ok());
        assert!(Name::new("").is_err());
        assert!(Name::new("a b").is_err());
        assert!(Name::new("ü").is_err());
        assert!(Name::new(&"a".repeat(129)).is_err());
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[31m", 99), "a\\u{1b}[31m");
        assert_eq!(shown("\u{202e}txt", 99), "\\u{202e}txt");
        assert_eq!(shown("a\nb", 99), "a\\u{a}b");
        assert_eq!(shown(&"x".repeat(1000), 3), "xxx…");
    }
}
