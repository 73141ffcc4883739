//! The README's agent is a guest of the host's tests, word for word.

#[test]
fn the_first_agent_is_the_fixture() {
    let readme = include_str!("../../README.md");
    let fixture = include_str!("../../../../tests/guests/rust/counter/src/lib.rs");
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (module_docs, rest) = fixture.split_once("\n\n").unwrap();
    assert!(module_docs.starts_with("//!"));
    assert_eq!(rest, code);
}
