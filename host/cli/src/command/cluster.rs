//! Which of many hosts `skep up` starts, and where they meet: its options, else the environment, else the manifest. Never a
//! word of a password.

use std::ffi::OsString;

use skep_core::Name;
use skep_runtime::{ClusterOptions, NatsServer};

use crate::failure::{Failure, Outcome};
use crate::manifest::{Manifest, NATS_FORMS, nats_server};

/// Names the host where no option does.
const HOST: &str = "SKEP_HOST";
/// Names the server where no option does: a password that is kept here is in no list of processes.
const NATS: &str = "SKEP_NATS";

/// Options for a hive of many hosts.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The name of this host, one of many of the hive [default: SKEP_HOST, or hive.host of the manifest]
    #[arg(long, value_name = "NAME", value_parser = name)]
    host: Option<Name>,
    /// The NATS server between the hosts: managed, or nats://HOST:PORT [default: SKEP_NATS, or hive.nats of the manifest]
    #[arg(long, value_name = "SERVER")]
    nats: Option<String>,
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// What was said of the hosts of the hive.
#[derive(Debug)]
pub(super) struct Said {
    /// The name of this one, which it may have also where it is alone.
    pub(super) host: Option<Name>,
    /// How it is one of many.
    pub(super) cluster: Option<ClusterOptions>,
    /// Who has set its name and its server.
    pub(super) origins: [String; 2],
}

impl Args {
    /// The options of a detached host that are those of this one. It has the same environment.
    pub(super) fn forwarded(&self) -> Vec<OsString> {
        let host = self.host.iter().flat_map(|name| ["--host".into(), name.as_str().into()]);
        let nats = self.nats.iter().flat_map(|server| ["--nats".into(), server.into()]);
        host.chain(nats).collect()
    }

    /// What counts, of all that was said.
    pub(super) fn said(&self, manifest: &Manifest, color: bool) -> Outcome<Said> {
        self.said_with(manifest, color, from_environment)
    }

    fn said_with(
        &self,
        manifest: &Manifest,
        color: bool,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Outcome<Said> {
        let (host, host_origin) = match (&self.host, environment(HOST)) {
            (Some(host), _) => (Some(host.clone()), "--host".to_owned()),
            (None, Some(text)) => (Some(host_of(&text)?), HOST.to_owned()),
            (None, None) => (manifest.cluster.host.clone(), manifest.origin("host")),
        };
        let (nats, nats_origin) = match (&self.nats, environment(NATS)) {
            (Some(text), _) => (Some(server(text, "--nats")?), "--nats".to_owned()),
            (None, Some(text)) => (Some(server(&text.to_string_lossy(), NATS)?), NATS.to_owned()),
            (None, None) => (manifest.cluster.nats.clone(), manifest.origin("nats")),
        };
        let cluster = match (&host, nats) {
            (_, None) => None,
            (Some(host), Some(nats)) => Some(ClusterOptions { host: host.clone(), nats }),
            (None, Some(_)) => return Err(without_host(manifest, &nats_origin, color)),
        };
        Ok(Said { host, cluster, origins: [host_origin, nats_origin] })
    }
}

fn without_host(manifest: &Manifest, nats_origin: &str, color: bool) -> Failure {
    if nats_origin == manifest.origin("nats") {
        return Failure::of_manifest(manifest.rejected_without_host(), color);
    }
    let failure = Failure::usage(format!("{nats_origin} is set, and nobody says which host this one is"));
    failure.with_help("name it: `--host NAME`, SKEP_HOST, or `host` in [hive] of the manifest")
}

fn from_environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

fn host_of(text: &OsString) -> Outcome<Name> {
    name(&text.to_string_lossy()).map_err(|error| Failure::new("E_INVALID_NAME", format!("{HOST}: {error}")))
}

/// What is wrong with it is not shown: a password may be in it.
fn server(text: &str, origin: &str) -> Outcome<NatsServer> {
    nats_server(text).ok_or_else(|| {
        Failure::new("E_NATS_URL", format!("{origin} is no NATS server")).with_help(format!("accepted: {NATS_FORMS}"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MANIFEST: &str = "host = \"m\"\nnats = \"nats://m\"\n";

    /// The name and the server with who said them, or the code of the failure.
    fn said(args: [&str; 2], environment: [&str; 2], manifest: &str) -> Result<Option<[String; 4]>, String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let args = Args { host: some(args[0]).map(|text| name(&text).unwrap()), nats: some(args[1]) };
        let text = format!("[hive]\nname = \"x\"\n{manifest}");
        let manifest = crate::manifest::parse(&text, Path::new("hive.toml")).unwrap();
        let variable = |name: &str| some(environment[usize::from(name == NATS)]).map(OsString::from);
        let said = args.said_with(&manifest, false, variable).map_err(|failure| {
            assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
            failure.code.into_owned()
        })?;
        let [host, nats] = said.origins;
        Ok(said.cluster.map(|options| [options.host.to_string(), host, options.nats.to_string(), nats]))
    }

    #[test]
    fn options_go_before_the_environment_and_that_before_the_manifest() {
        let all = |words: [&str; 4]| Ok(Some(words.map(str::to_owned)));
        let of_manifest = all(["m", "the manifest: hive.host", "nats://m", "the manifest: hive.nats"]);
        assert_eq!(said(["", ""], ["", ""], MANIFEST), of_manifest);
        let of_environment = all(["e", "SKEP_HOST", "nats://e", "SKEP_NATS"]);
        assert_eq!(said(["", ""], ["e", "nats://e"], MANIFEST), of_environment);
        let of_options = all(["o", "--host", "managed", "--nats"]);
        assert_eq!(said(["o", "managed"], ["e", "nats://e"], MANIFEST), of_options);
        assert_eq!(said(["o", ""], ["", ""], "host = \"m\"\n"), Ok(None));
    }

    #[test]
    fn errors_when_a_name_is_missing_or_a_server_is_none() {
        let code = |code: &str| Err(code.to_owned());
        assert_eq!(said(["", ""], ["", ""], "nats = \"managed\"\n"), code("E_MANIFEST_MISSING_KEY"));
        assert_eq!(said(["", "managed"], ["", ""], ""), code("E_USAGE"));
        assert_eq!(said(["o", "http://me:s3cret@h"], ["", ""], ""), code("E_NATS_URL"));
        assert_eq!(said(["o", ""], ["", "me:s3cret@h"], ""), code("E_NATS_URL"));
        assert_eq!(said(["", ""], ["a b", "managed"], ""), code("E_INVALID_NAME"));
    }
}
