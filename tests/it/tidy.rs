//! The shape of the repository, as far as a program can see it: heads of files, their size, who names what, and that what
//! the documents promise has a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The most lines of a file and of a function. Both are told before they fail.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// How many of the longest are shown.
const SHOWN_MAX: usize = 5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// The files below a folder with this ending, without what is built.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|of| of == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let folders = ["host", "tests", "guest-sdk", "plugins"];
    folders.into_iter().flat_map(|folder| files(folder, "rs")).map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of text")
}

/// For messages: from the root of the repository.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all that is wrong, a line each.
fn nothing(wrong: Vec<String>, what: &str) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// The names of places that a test may not reach are put together here, so that this file does not hold them itself.
fn word(parts: [&str; 2]) -> String {
    parts.concat()
}

#[test]
fn every_source_file_says_first_what_it_is() {
    let headless = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ") && !text.starts_with("#![doc"));
    nothing(headless.map(|(path, _)| short(&path)).collect(), "files without a head");
}

#[test]
fn files_are_short() {
    let mut sizes: Vec<_> = sources().iter().map(|(path, text)| (text.lines().count(), short(path))).collect();
    sizes.sort();
    for (lines, path) in sizes.iter().rev().take(SHOWN_MAX) {
        println!("{lines:5} lines  {path}");
    }
    let long = sizes.into_iter().filter(|(lines, _)| *lines > FILE_LINES_MAX);
    nothing(long.map(|(lines, path)| format!("{path}: {lines}")).collect(), "files over 600 lines");
}

#[test]
fn functions_are_short() {
    let mut sizes: Vec<_> = sources().iter().flat_map(|(path, text)| functions(path, text)).collect();
    sizes.sort();
    for (lines, name) in sizes.iter().rev().take(SHOWN_MAX) {
        println!("{lines:5} lines  {name}");
    }
    let long = sizes.into_iter().filter(|(lines, _)| *lines > FUNCTION_LINES_MAX);
    nothing(long.map(|(lines, name)| format!("{name}: {lines}")).collect(), "functions over 70 lines");
}

/// The functions of a formatted file with their lengths: each ends at the first brace that stands where it began.
fn functions(path: &Path, text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function(code) else { continue };
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = lines[at..].iter().position(|line| *line == end).unwrap_or(0) + 1;
        found.push((length, format!("{} {name}", short(path))));
    }
    found
}

/// The name of the function that begins in this line.
fn function(code: &str) -> Option<&str> {
    let mut rest = code;
    for before in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(before).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The tests of a file: all of it, or what stands behind the word that keeps it from the program.
fn test_code<'a>(path: &Path, text: &'a str) -> &'a str {
    let path = short(path);
    if path.split('/').any(|part| part == "tests" || part == "tests.rs") {
        return text;
    }
    text.find("#[cfg(test)]").map_or("", |at| &text[at..])
}

#[test]
fn no_test_sleeps() {
    let words = [["sleep", "("], ["sleep_until", "("], ["interval", "("], ["park_timeout", "("]].map(word);
    let sources = sources();
    let tests = sources.iter().filter(|(path, text)| !test_code(path, text).is_empty()).count();
    assert!(tests > 100, "only {tests} files with tests are seen");
    let asleep = sources.iter().filter(|(path, text)| {
        let tests = test_code(path, text);
        words.iter().any(|word| tests.contains(word))
    });
    nothing(asleep.map(|(path, _)| short(path)).collect(), "tests that sleep");
}

#[test]
fn no_test_is_left_out() {
    let word = word(["#[", "ignore"]);
    let left_out = sources().into_iter().filter(|(_, text)| text.contains(&word));
    nothing(left_out.map(|(path, _)| short(&path)).collect(), "tests that never run");
}

#[test]
fn the_engine_alone_names_wasmtime() {
    let words = [word(["wasmtime", "::"]), word(["wasmtime_", "wasi"]), word(["use wasm", "time"])];
    let named = sources().into_iter().filter(|(path, text)| {
        !short(path).starts_with("host/engine/") && words.iter().any(|word| text.contains(word))
    });
    nothing(named.map(|(path, _)| short(&path)).collect(), "files that name wasmtime");
}

#[test]
fn the_core_is_pure() {
    let impure =
        ["tokio", "std::fs", "std::net", "std::thread", "std::env", "Instant", "SystemTime", "rand::", "rusqlite"];
    let mut wrong = Vec::new();
    for path in files("host/core/src", "rs") {
        let text = read(&path);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            wrong.extend(
                impure.iter().filter(|word| line.contains(**word)).map(|word| format!("{} {word}", short(&path))),
            );
        }
    }
    nothing(wrong, "what the core must not have");
}

#[test]
fn the_runtime_asks_its_clock_for_the_time() {
    let mut wrong = Vec::new();
    for path in files("host/runtime/src", "rs") {
        let text = read(&path);
        if !path.ends_with("clock.rs") && (text.contains("Instant::now") || text.contains("SystemTime::now")) {
            wrong.push(short(&path));
        }
    }
    nothing(wrong, "files with a clock of their own");
}

#[test]
fn rooms_depend_only_on_those_below_them() {
    let may: [(&str, &[&str]); 6] = [
        ("core", &[]),
        ("store", &["skep-core"]),
        ("bus", &["skep-core"]),
        ("engine", &["skep-core"]),
        ("runtime", &["skep-core", "skep-store", "skep-bus", "skep-engine"]),
        ("cli", &["skep-core", "skep-store", "skep-bus", "skep-engine", "skep-runtime"]),
    ];
    let mut wrong = Vec::new();
    for (room, below) in may {
        let text = read(&root().join("host").join(room).join("Cargo.toml"));
        let names = text.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let ours = names.filter(|name| name.starts_with("skep") && *name != "skep-tests");
        wrong.extend(ours.filter(|name| !below.contains(name)).map(|name| format!("{room} -> {name}")));
    }
    nothing(wrong, "arrows that point up");
}

/// What stands in backticks and has the form `module::test` or `path/of/file.rs::test`.
fn named_tests(text: &str) -> BTreeSet<(String, String)> {
    let parts = text.split('`').skip(1).step_by(2);
    let pairs = parts.filter_map(|part| part.rsplit_once("::"));
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|char| char.is_ascii_lowercase() || "_0123456789".contains(char))
    };
    pairs.filter(|(_, test)| is_name(test)).map(|(place, test)| (place.to_owned(), test.to_owned())).collect()
}

/// Whether a text has a function of this name that runs as a test.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(at) = lines.iter().position(|line| function(line) == Some(name)) else { return false };
    let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes.into_iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
}

#[test]
fn a_function_is_a_test_by_its_attribute() {
    let text =
        "#[test]\n// Why.\nfn one() {\n}\n    #[tokio::test(flavor = 1)]\n    async fn two() {\n}\nfn three() {\n";
    assert_eq!(["one", "two", "three", "four"].map(|name| is_test(text, name)), [true, true, false, false]);
}

#[test]
fn every_test_that_the_promises_name_exists() {
    let named = named_tests(&read(&root().join("docs/semantics.md")));
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let mut wrong = Vec::new();
    for (place, test) in named {
        let path = match place.strip_suffix(".rs") {
            Some(_) => root().join(&place),
            None => root().join("tests/it").join(format!("{place}.rs")),
        };
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !is_test(&text, &test) {
            wrong.push(format!("{place}::{test}"));
        }
    }
    nothing(wrong, "tests that docs/semantics.md names and nobody runs");
}

#[test]
fn every_promise_has_a_test() {
    let text = read(&root().join("docs/semantics.md"));
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| promise") && !line.starts_with("| mode"));
    let bare = rows.filter(|row| !row.contains("::"));
    nothing(bare.map(str::to_owned).collect(), "promises without a test");
}
