//! `host` and `nats` of `[hive]`: which of many hosts this one is, and where the NATS server between them is. Never decides
//! whether it has to be said here: options of `skep up` may say it too.

use std::ops::Range;

use skep_core::Name;
use skep_runtime::NatsServer;

use super::hive::Manifest;
use super::problem::{Code, LoadError, Problems};
use super::section::Section;

/// What says where a NATS server is.
pub const NATS_FORMS: &str = "\"managed\", or a URL: \"nats://HOST:PORT\", \"tls://USER:PASSWORD@HOST:PORT\"";

/// What a manifest says of the hosts of its hive.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The name of this one.
    pub host: Option<Name>,
    /// The server between them.
    pub nats: Option<NatsServer>,
    /// Where the file names the server.
    nats_at: Range<usize>,
}

impl Manifest {
    /// A server with a host that nobody has named, as what is wrong with the manifest.
    pub fn rejected_without_host(&self) -> LoadError {
        let mut problems = Problems::default();
        let message = "[hive] has `nats`, and nobody says which of its hosts this one is".to_owned();
        let help = "`skep up --host NAME`, SKEP_HOST, or host = \"NAME\" here: another one for each host of the hive";
        problems.error(
            Code::MissingKey,
            self.cluster.nats_at.clone(),
            message,
            "it takes `host`",
            Some(help.to_owned()),
        );
        LoadError::Rejected(Box::new(problems.reject(self.source.clone())))
    }
}

pub(super) fn read(section: &Section<'_>, problems: &mut Problems) -> Cluster {
    let host = section.name("host", problems).map(|host| host.value);
    let nats = section.text("nats", problems).and_then(|text| {
        let server = nats_server(text.value);
        if server.is_none() {
            // Without the text: a password may be in it.
            let message = "`nats` of [hive] is no NATS server".to_owned();
            problems.error(Code::Value, text.span, message, "not accepted", Some(format!("accepted: {NATS_FORMS}")));
        }
        server
    });
    Cluster { host, nats, nats_at: section.span_of("nats") }
}

/// The server that a text names.
pub fn nats_server(text: &str) -> Option<NatsServer> {
    if text == "managed" {
        return Some(NatsServer::Managed);
    }
    let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"))?;
    let (user, server) = rest.rsplit_once('@').map_or((None, rest), |(user, server)| (Some(user), server));
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    (user.is_none_or(is_plain) && is_address(server)).then(|| NatsServer::Url(text.to_owned()))
}

/// A name or an address of the network, with a port or without.
fn is_address(server: &str) -> bool {
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, port.strip_prefix(':')),
        Some(_) => return false,
        None => server.split_once(':').map_or((server, Some("4222")), |(host, port)| (host, Some(port))),
    };
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !host.is_empty()
        && host.bytes().all(is_known)
        && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_managed_or_a_url() {
        assert_eq!(nats_server("managed"), Some(NatsServer::Managed));
        for good in ["nats://localhost", "nats://h.example:4222", "tls://me:pass@10.0.0.1:1", "nats://t0ken@[::1]:4222"]
        {
            assert_eq!(nats_server(good), Some(NatsServer::Url(good.to_owned())), "{good}");
        }
        for bad in [
            "",
            "Managed",
            "localhost:4222",
            "http://h",
            "nats://",
            "nats://:4222",
            "nats://h:",
            "nats://h:0",
            "nats://h:x",
            "nats://h:65536",
            "nats://h/x",
            "nats://@h",
            "nats://me@",
            "nats://a b",
            "nats://[::1",
            "nats://[x]:1",
            "nats://a:b:1",
        ] {
            assert_eq!(nats_server(bad), None, "{bad}");
        }
    }
}
