//! Codes and pages belong together: no code of the source without a page, no page without a code.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// The codes in the sources of a folder: literals that begin with `E_`.
fn codes_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            codes_in(&path, found);
        } else if name.to_string_lossy().ends_with(".rs") && name != "tests.rs" && !path.ends_with("pages/table.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let literals = code.split('"');
            found.extend(literals.filter(|literal: &&str| is_code(literal)).map(str::to_owned));
        }
    }
}

fn is_code(text: &str) -> bool {
    text.strip_prefix("E_").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    })
}

#[test]
fn every_code_of_the_host_has_a_page_and_every_page_a_code() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut in_source = BTreeSet::new();
    for room in ["core", "store", "bus", "engine", "runtime", "cli"] {
        codes_in(&host.join(room).join("src"), &mut in_source);
    }
    let with_page: BTreeSet<String> = codes().map(str::to_owned).collect();
    assert_eq!(in_source.difference(&with_page).collect::<Vec<_>>(), Vec::<&String>::new(), "codes without a page");
    assert_eq!(with_page.difference(&in_source).collect::<Vec<_>>(), Vec::<&String>::new(), "pages without a code");
}

#[test]
fn every_file_of_docs_errors_is_in_the_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".md").filter(|name| is_code(name)).map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, codes().collect::<Vec<_>>());
}

#[test]
fn every_page_has_its_parts() {
    for code in codes() {
        let text = page(code).unwrap();
        assert!(text.starts_with(&format!("# {code}\n\n")), "{code}");
        assert!(title(code).is_some_and(|title| title.ends_with('.')), "{code}");
        assert!(text.contains("\n\n## Why\n\n"), "{code}");
        assert!(help(code).is_some_and(|help| !help.is_empty()), "{code}");
        assert!(text.lines().any(|line| line.starts_with("Exit code: ")) && exit(code) != Exit::Ok, "{code}");
    }
}

#[test]
fn the_pages_are_in_order_so_that_they_are_found() {
    assert!(codes().is_sorted());
    assert!(page("E_NO_AGENT").is_some());
    assert!(page("E_NOTHING").is_none());
    assert_eq!((exit("E_NO_AGENT"), exit("E_NOTHING")), (Exit::NotFound, Exit::Failed));
}
