//! Finding what compiles Rust to wasm. Never an installation: `make setup` does that, by the same ways in the same order.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use skep_core::name::shown;

use super::child;
use super::error::Error;

/// The target of all guests: no WASI, so that a component imports only what its world says.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// A question to a tool takes no longer.
pub(super) const PROBE_TIME_MAX: Duration = Duration::from_secs(60);

/// Of a rustup toolchain the proxies set these, and cargo for those that it starts: a second compiler must not see them.
const FOREIGN_ENV: [&str; 6] =
    ["CARGO", "LD_LIBRARY_PATH", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUSTC_WORKSPACE_WRAPPER"];

/// The environment variable that demands a way: rustup or debian. `make setup` obeys it too.
const DEMANDED_ENV: &str = "SKEP_GUEST_TOOLCHAIN";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-22";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A way to compile Rust to wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The cargo in PATH, whose compiler has the target: rustup's, after `rustup target add`.
    Rustup,
    /// Debian's own compiler in /usr/bin, which builds std from the source beside it.
    Debian,
}

impl Toolchain {
    /// The first way that works here, for a guest in this folder (rustup can have a toolchain for each folder); or the
    /// one that the environment demands.
    pub fn detect(dir: &Path) -> Result<Self, Error> {
        match std::env::var(DEMANDED_ENV) {
            Ok(name) if name != "any" => Self::demanded(&name, dir),
            _ => [Self::Rustup, Self::Debian].into_iter().find(|way| way.works(dir)).ok_or_else(missing),
        }
    }

    fn demanded(name: &str, dir: &Path) -> Result<Self, Error> {
        let way = Self::parse(name)
            .ok_or_else(|| Error::Toolchain(format!("{DEMANDED_ENV} is {}, not rustup or debian", shown(name, 64))))?;
        if way.works(dir) { Ok(way) } else { Err(missing()) }
    }

    /// Whether this way works here.
    pub fn works(self, dir: &Path) -> bool {
        match self {
            Self::Rustup => has_target(dir),
            Self::Debian => [DEBIAN_CARGO, DEBIAN_LINKER, DEBIAN_STD].iter().all(|file| Path::new(file).is_file()),
        }
    }

    /// From the name that options and the environment use.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "rustup" => Some(Self::Rustup),
            "debian" => Some(Self::Debian),
            _ => None,
        }
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Rustup => "with the cargo in PATH, whose compiler has wasm32-unknown-unknown",
            Self::Debian => "with Debian's cargo in /usr/bin, which builds std itself",
        }
    }

    /// Its cargo in the folder, with the environment that it needs.
    pub(super) fn cargo(self, dir: &Path) -> Command {
        let mut command = match self {
            Self::Rustup => Command::new("cargo"),
            Self::Debian => debian_cargo(),
        };
        command.current_dir(dir).env("CARGO_TERM_COLOR", "never");
        command
    }

    /// What `cargo build` needs beside the target.
    pub(super) fn build_options(self) -> &'static [&'static str] {
        match self {
            Self::Rustup => &[],
            Self::Debian => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

fn has_target(dir: &Path) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(dir).args(["--print", "target-libdir", "--target", TARGET]);
    child::output(&mut rustc, "rustc", PROBE_TIME_MAX).is_ok_and(|folder| Path::new(folder.trim_end()).is_dir())
}

fn debian_cargo() -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    for name in FOREIGN_ENV {
        command.env_remove(name);
    }
    let mut path = OsString::from("/usr/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
    command
}

fn missing() -> Error {
    Error::Toolchain(format!(
        "there is no Rust toolchain for {TARGET}; any of these three will do: a rustup toolchain that has the target; \
         `rustup target add {TARGET}`; on Debian `sudo apt-get install rustc-web cargo-web rust-web-src lld-22` (in Skep's own \
         folder `make setup` finds or installs one of them)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demanded_way_must_exist_and_work() {
        let dir = Path::new("/");
        let error = Toolchain::demanded("gcc\n", dir).unwrap_err();
        assert_eq!(error.to_string(), "SKEP_GUEST_TOOLCHAIN is gcc\\u{a}, not rustup or debian");
        for (name, way) in [("rustup", Toolchain::Rustup), ("debian", Toolchain::Debian)] {
            match Toolchain::demanded(name, dir) {
                Ok(found) => assert!(found == way && way.works(dir)),
                Err(error) => assert!(error.to_string().contains("rustup target add") && !way.works(dir)),
            }
        }
    }
}
