//! The components that tests run: built from source by `make guests`.

use std::path::{Path, PathBuf};

/// The file of a component that `make guests` has built.
pub fn component(name: &str) -> PathBuf {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests/components").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not built: run `make guests`", path.display());
    path
}

/// A component that does the same and has another digest: with a section at its end that nobody reads.
pub fn variant(name: &str, dir: &Path, mark: u8) -> PathBuf {
    let mut bytes = std::fs::read(component(name)).expect("a component");
    // A custom section: its id, its size, the length of its name, its name, its content.
    bytes.extend_from_slice(&[0, 3, 1, b'v', mark]);
    let path = dir.join(format!("{name}-{mark}.wasm"));
    std::fs::write(&path, bytes).expect("a file");
    path
}
