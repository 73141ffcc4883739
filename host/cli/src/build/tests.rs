//! Builds of small guests made up here. They share the target folder of all guests, so that std is compiled once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const MANIFEST: &str =
    "[package]\nname = \"tiny-guest\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn options(dir: &tempfile::TempDir) -> BuildOptions {
    BuildOptions {
        out: Some(dir.path().join("out")),
        target_dir: Some(shared_target()),
        ..BuildOptions::new(dir.path())
    }
}

fn shared_target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests")
}

fn code(result: Result<Vec<Built>, Error>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn refuses_a_folder_that_is_not_there_or_holds_no_guest() {
    let (missing, _) = code(build(&BuildOptions::new("/nonexistent/guest"), &mut |_| ()));
    assert_eq!(missing, "E_BUILD_IO");
    let dir = folder(&[("main.c", "int main;")]);
    let (nothing, text) = code(build(&options(&dir), &mut |_| ()));
    assert_eq!(nothing, "E_BUILD_NO_GUEST");
    assert!(text.contains("neither a Cargo.toml") && text.contains("app.py"), "{text}");
}

#[test]
fn refuses_a_crate_that_is_no_cdylib_and_says_what_to_write() {
    let dir = folder(&[("Cargo.toml", "[package]\nname = \"plain\"\n[workspace]\n"), ("src/lib.rs", "")]);
    let (no_guest, text) = code(build(&options(&dir), &mut |_| ()));
    assert_eq!(no_guest, "E_BUILD_NO_GUEST");
    assert!(text.contains("crate-type = [\"cdylib\"]"), "{text}");
}

#[test]
fn a_manifest_that_cargo_refuses_is_told_in_cargos_words() {
    let dir = folder(&[("Cargo.toml", "[package\n")]);
    let (failed, text) = code(build(&options(&dir), &mut |_| ()));
    assert_eq!(failed, "E_BUILD_FAILED");
    assert!(text.contains("Cargo.toml:1:"), "{text}");
}

#[test]
fn an_error_of_the_compiler_is_shown_and_no_file_is_written() {
    let dir = folder(&[("Cargo.toml", MANIFEST), ("src/lib.rs", "fn broken() -> u32 { nowhere }")]);
    let (failed, text) = code(build(&options(&dir), &mut |_| ()));
    assert_eq!(failed, "E_BUILD_FAILED");
    assert!(text.contains("cannot find value `nowhere`"), "{text}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn refuses_a_crate_that_says_nothing_of_its_world() {
    let source = "#[unsafe(no_mangle)]\npub extern \"C\" fn handle() {}\n";
    let dir = folder(&[("Cargo.toml", MANIFEST), ("src/lib.rs", source)]);
    let (no_component, text) = code(build(&options(&dir), &mut |_| ()));
    assert_eq!(no_component, "E_BUILD_COMPONENT");
    assert!(text.contains("tiny-guest"), "{text}");
}

#[test]
fn one_output_file_is_refused_for_two_components() {
    let options = BuildOptions { out: Some("all.wasm".into()), ..BuildOptions::new(".") };
    let error = out_file(&options, Path::new("target"), "digest", 2).unwrap_err();
    assert_eq!(error.code(), "E_BUILD_ONE_OUTPUT");
    assert_eq!(out_file(&options, Path::new("target"), "digest", 1).unwrap(), Path::new("all.wasm"));
}

#[test]
fn the_output_is_a_folder_unless_it_ends_with_wasm() {
    let to = |out: Option<&str>| {
        let options = BuildOptions { out: out.map(PathBuf::from), ..BuildOptions::new(".") };
        out_file(&options, Path::new("target"), "digest", 1).unwrap()
    };
    assert_eq!(to(None), Path::new("target/digest.wasm"));
    assert_eq!(to(Some("components")), Path::new("components/digest.wasm"));
    assert_eq!(to(Some("components/a.wasm")), Path::new("components/a.wasm"));
}

/// A target folder whose componentize-py copies `app.py` and counts its runs.
fn pretended_tool(target: &Path) {
    let bin = target.join("venv/bin");
    fs::create_dir_all(&bin).unwrap();
    let script = "#!/bin/sh
[ \"$1\" = --version ] && { echo 'componentize-py 0.0.1'; exit; }
for last; do :; done
grep -q BROKEN app.py && { echo 'SyntaxError: broken' >&2; exit 1; }
cp app.py \"$last\"; echo run >>\"$(dirname \"$0\")/runs\"
";
    let tool = bin.join("componentize-py");
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn python_is_built_again_only_if_something_changed() {
    let dir = folder(&[("agent/app.py", "one"), ("agent/part.py", "part")]);
    let target = dir.path().join("target");
    pretended_tool(&target);
    let options = BuildOptions { target_dir: Some(target.clone()), ..BuildOptions::new(dir.path().join("agent")) };
    let runs = || fs::read_to_string(target.join("venv/bin/runs")).unwrap().lines().count();
    let built = || build(&options, &mut |_| ()).unwrap().remove(0);

    let first = built();
    assert_eq!((first.name.as_str(), first.unchanged, first.bytes), ("agent", false, 3));
    assert_eq!((built().unchanged, runs()), (true, 1));
    fs::write(dir.path().join("agent/part.py"), "changed").unwrap();
    assert_eq!((built().unchanged, runs()), (false, 2));
    fs::write(&first.path, "foreign").unwrap();
    assert_eq!((built().unchanged, runs()), (false, 3));
    assert_eq!(fs::read(&first.path).unwrap(), b"one");
    let left: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn a_failed_build_leaves_the_component_of_before() {
    let dir = folder(&[("agent/app.py", "one")]);
    let target = dir.path().join("target");
    pretended_tool(&target);
    let options = BuildOptions { target_dir: Some(target.clone()), ..BuildOptions::new(dir.path().join("agent")) };
    build(&options, &mut |_| ()).unwrap();
    fs::write(dir.path().join("agent/app.py"), "BROKEN").unwrap();
    let (failed, text) = code(build(&options, &mut |_| ()));
    assert_eq!(failed, "E_BUILD_FAILED");
    assert!(text.contains("SyntaxError: broken"), "{text}");
    assert_eq!(fs::read(target.join("agent.wasm")).unwrap(), b"one");
}

#[test]
fn the_wit_that_is_carried_is_the_whole_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    let mut there: Vec<_> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, embedded::WIT.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}
