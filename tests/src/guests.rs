//! The components that tests run: built from source by `make guests`.

use std::path::PathBuf;

/// The file of a component that `make guests` has built.
pub fn component(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../target/guests/components")
        .join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not built: run `make guests`", path.display());
    path
}
