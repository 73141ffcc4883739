//! From files to instances, with components made by hand: what is taken, and how each bad file is refused.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;

use super::*;
use crate::testing::{Guest, Yes, engine, plugin, turn};

/// A file that is loaded and compiled: its code, and what it says.
fn refused(text: &str) -> (&'static str, String) {
    match engine().compile(&plugin(text)) {
        Err(error) => (error.code(), error.to_string()),
        Ok(_) => panic!("it is taken"),
    }
}

fn with_import(import: &str) -> String {
    Guest::default().text().replacen("(component", &format!("(component {import}"), 1)
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.wasm");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn load_code(path: &Path, expect: Option<Digest>) -> &'static str {
    engine().load(path, expect).unwrap_err().code()
}

#[test]
fn works_when_it_is_a_component_for_agents() {
    let engine = engine();
    let (_dir, path) = written(&Guest::default().plugin().bytes);
    let plugin = engine.load(&path, None).unwrap();
    let component = engine.compile(&engine.load(&path, Some(plugin.digest)).unwrap()).unwrap();
    assert_eq!((component.profile(), component.cached()), (Profile::AgentSmall, false));
    let sizes = component.sizes();
    assert_eq!((sizes.core_instances, sizes.memories, sizes.memory_bytes), (1, 1, 65_536));
    assert!(Arc::ptr_eq(&component.0, &engine.compile(&plugin).unwrap().0));
}

#[test]
fn refuses_files_that_cannot_be_read() {
    let (dir, path) = written(b"");
    assert_eq!(load_code(&dir.path().join("none.wasm"), None), "E_PLUGIN_IO");
    assert_eq!(load_code(dir.path(), None), "E_PLUGIN_IO");
    assert_eq!(load_code(&path, None), "E_PLUGIN_CORRUPT");
    let error = engine().load(&dir.path().join("\u{1b}[31m"), None).unwrap_err().to_string();
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn refuses_a_file_over_the_cap_before_it_reads_it() {
    let (_dir, path) = written(b"");
    // A hole: reading it would take 100 GiB.
    File::options().write(true).open(&path).unwrap().set_len(100 << 30).unwrap();
    assert_eq!(load_code(&path, None), "E_PLUGIN_TOO_LARGE");
}

#[test]
fn refuses_another_file_than_the_one_that_is_pinned() {
    let plugin = Guest::default().plugin();
    let mut bytes = plugin.bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let (_dir, path) = written(&bytes);
    assert_eq!(load_code(&path, Some(plugin.digest)), "E_PLUGIN_DIGEST");
}

#[test]
fn refuses_a_component_that_is_cut_anywhere() {
    let engine = engine();
    let whole = Guest::default().plugin().bytes;
    let name = b"skep:agent/guest@0.1.0";
    let export = whole.windows(name.len()).rposition(|window| window == name).unwrap() + name.len() + 3;
    for length in 0..whole.len() {
        let cut = Plugin::from_bytes(whole.slice(..length), Path::new("cut.wasm"));
        let code = engine.compile(&cut).err().map(|error| error.code());
        // Between two sections it is whole, and lacks what comes after; after the export only names come.
        if length >= export {
            continue;
        }
        assert!(matches!(code, Some("E_PLUGIN_CORRUPT" | "E_PLUGIN_INVALID" | "E_PLUGIN_WORLD")), "{length}: {code:?}");
    }
}

#[test]
fn no_flipped_bit_does_harm() {
    let engine = engine();
    let whole = Guest::default().plugin().bytes;
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        // Some are still components for agents; none may bring the host down.
        let _ = engine.compile(&Plugin::from_bytes(bytes.into(), Path::new("flipped.wasm")));
    }
}

#[test]
fn refuses_a_function_whose_body_is_invalid_for_the_files_fault() {
    let (code, text) = refused(&Guest { module: "(func (result i32))".into(), ..Guest::default() }.text());
    assert_eq!(code, "E_PLUGIN_INVALID", "{text}");
    assert!(text.contains("type mismatch") && text.contains("at offset "), "{text}");
}

#[test]
fn refuses_core_modules_and_wit_packages() {
    assert_eq!(refused("(module)").0, "E_PLUGIN_CORE_MODULE");
    let package = Bytes::from_static(crate::bindings::COMPONENT_TYPE);
    let error = engine().compile(&Plugin::from_bytes(package, Path::new("wit.wasm"))).err().unwrap();
    assert_eq!(error.code(), "E_PLUGIN_WIT_PACKAGE");
}

#[test]
fn refuses_a_component_without_the_export_and_names_what_is_near() {
    let (code, text) = refused("(component)");
    assert_eq!(code, "E_PLUGIN_WORLD");
    assert!(text.contains("skep:agent/guest@0.1.0") && text.contains("it exports nothing"), "{text}");
    let (code, text) = refused(&Guest::default().text().replace("\"skep:agent/guest@", "\"skep:agent/gest@"));
    assert_eq!(code, "E_PLUGIN_WORLD");
    assert!(text.ends_with("did you mean skep:agent/gest@0.1.0?"), "{text}");
}

#[test]
fn refuses_an_export_of_another_type_and_shows_both() {
    let (code, text) = refused(&Guest::default().text().replace("\"from-digest\" string", "\"from\" string"));
    assert_eq!(code, "E_PLUGIN_SIGNATURE");
    assert!(text.contains("export skep:agent/guest@0.1.0.migrate"), "{text}");
    assert!(text.contains("`func(from-digest: string) -> "), "{text}");
    assert!(text.contains("`func(from: string) -> "), "{text}");
}

#[test]
fn refuses_another_version_and_states_the_rule() {
    let (code, text) = refused(&Guest::default().text().replace("guest@0.1.0", "guest@0.2.0"));
    assert_eq!(code, "E_PLUGIN_WIT_VERSION");
    assert!(text.contains("skep:agent/guest@0.2.0") && text.contains("skep:agent/guest@0.1.0"), "{text}");
    let newer = with_import(r#"(import "skep:agent/clock@0.3.0" (instance (export "now" (func (result u64)))))"#);
    assert_eq!(refused(&newer).0, "E_PLUGIN_WIT_VERSION");
    let wasi = with_import(r#"(import "wasi:random/random@0.3.0" (instance))"#);
    assert_eq!(refused(&wasi).0, "E_PLUGIN_WIT_VERSION");
}

#[test]
fn refuses_imports_that_nobody_offers() {
    let (code, text) = refused(&with_import(r#"(import "skep:agent/clok@0.1.0" (instance))"#));
    assert_eq!(code, "E_PLUGIN_IMPORT_UNKNOWN");
    assert!(text.ends_with("did you mean skep:agent/clock@0.1.0?"), "{text}");
    let function = r#"(import "skep:agent/clock@0.1.0" (instance (export "noww" (func (result u64)))))"#;
    let (code, text) = refused(&with_import(function));
    assert_eq!(code, "E_PLUGIN_IMPORT_UNKNOWN");
    assert!(text.contains("skep:agent/clock@0.1.0.noww") && text.ends_with("did you mean now?"), "{text}");
    assert_eq!(refused(&with_import(r#"(import "other:thing/x" (instance))"#)).0, "E_PLUGIN_IMPORT_UNKNOWN");
}

#[test]
fn refuses_imports_that_are_not_granted() {
    let http = r#"(import "wasi:http/outgoing-handler@0.2.9" (instance))"#;
    assert_eq!(refused(&with_import(http)).0, "E_PLUGIN_IMPORT_NOT_GRANTED");
}

#[test]
fn refuses_an_import_of_another_type() {
    let clock = r#"(import "skep:agent/clock@0.1.0" (instance (export "now" (func (result u32)))))"#;
    let (code, text) = refused(&with_import(clock));
    assert_eq!(code, "E_PLUGIN_SIGNATURE");
    assert!(text.contains("expected `func() -> u64`, found `func() -> u32`"), "{text}");
}

#[test]
fn refuses_a_component_with_more_than_any_instance_may_have() {
    let table = Guest { module: "(table 200000 funcref)".to_owned(), ..Guest::default() };
    let (code, text) = refused(&table.text());
    assert_eq!(code, "E_PLUGIN_LIMIT");
    assert!(text.contains("200000 table elements; 100000 is the most"), "{text}");
    let memories = Guest { module: "(memory 1)".repeat(30), ..Guest::default() };
    assert_eq!(refused(&memories.text()).0, "E_PLUGIN_LIMIT");
}

#[test]
fn refuses_a_bomb_before_it_is_compiled() {
    // 124 KiB that would take 4 seconds and over 1 GiB.
    let branches = "(if (i32.const 1) (then (local.set $l0 (i64.const 1))))".repeat(8_000);
    let locals: String = (0..40_000).map(|count| format!("(local $l{count} i64)")).collect();
    let bomb = Guest { module: format!("(func {locals} {branches})"), ..Guest::default() };
    let (code, text) = refused(&bomb.text());
    assert_eq!(code, "E_PLUGIN_TOO_COMPLEX");
    assert!(text.contains("320000000 locals times branches"), "{text}");
}

#[tokio::test]
async fn a_full_pool_says_so_and_tells_when_a_place_is_free() {
    let engine: Engine<Yes> =
        Engine::new(EngineOptions { live_instances_max: Some(1), ..EngineOptions::default() }).unwrap();
    let component = engine.compile(&Guest::default().plugin()).unwrap();
    let first = engine.instantiate(&component, Yes::new(), Limits::default()).await.unwrap();
    let freed = engine.place_freed();
    let second = engine.instantiate(&component, Yes::new(), Limits::default()).await;
    assert!(matches!(second, Err(Failure::PoolFull { live_max: 1 })));
    drop(first);
    freed.await;
    assert!(engine.instantiate(&component, Yes::new(), Limits::default()).await.is_ok());
}

fn cached_engine(dir: &Path) -> Engine<Yes> {
    let cache_dir = Some(dir.to_owned());
    Engine::new(EngineOptions { cache_dir, live_instances_max: Some(1), ..EngineOptions::default() }).unwrap()
}

fn is_cached(dir: &Path) -> bool {
    cached_engine(dir).compile(&Guest::default().plugin()).unwrap().cached()
}

fn compiled_file(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
}

#[tokio::test]
async fn compiled_code_is_found_again_and_works() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    assert!(!is_cached(&cache));
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let engine = cached_engine(&cache);
    let component = engine.compile(&Guest::default().plugin()).unwrap();
    assert!(component.cached());
    let mut instance = engine.instantiate(&component, Yes::new(), Limits::default()).await.unwrap();
    assert_eq!(instance.handle(turn(2)).await.outcome.unwrap(), 2);
}

#[test]
fn compiled_code_that_was_touched_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_cached(dir.path()));
    let path = compiled_file(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(!is_cached(dir.path()));
    assert!(is_cached(dir.path()));
    fs::write(&path, "").unwrap();
    assert!(!is_cached(dir.path()));
    fs::remove_file(path.with_extension("mac")).unwrap();
    assert!(!is_cached(dir.path()));
}

#[test]
fn compiled_code_of_another_directory_is_foreign() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(!is_cached(theirs.path()));
    let path = compiled_file(theirs.path());
    for file in [path.clone(), path.with_extension("mac")] {
        fs::copy(&file, ours.path().join(file.file_name().unwrap())).unwrap();
    }
    assert!(!is_cached(ours.path()));
}

#[test]
fn a_key_that_others_could_read_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_cached(dir.path()));
    let key = dir.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!is_cached(dir.path()));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(is_cached(dir.path()));
}

#[test]
fn works_without_a_cache_where_there_cannot_be_one() {
    let (_dir, path) = written(b"a file, not a directory");
    let engine = cached_engine(&path);
    assert!(!engine.compile(&Guest::default().plugin()).unwrap().cached());
    let settings = engine.settings();
    let (_, value, origin) = settings.iter().find(|(name, _, _)| name == "engine.cache").unwrap();
    assert!(value.starts_with("off: "), "{value}");
    assert!(!origin.is_empty());
}

#[test]
fn every_setting_has_a_value_and_an_origin() {
    for (name, value, origin) in engine().settings() {
        assert!(!name.is_empty() && !value.is_empty() && !origin.is_empty(), "{name} {value} {origin}");
    }
}

#[tokio::test]
async fn works_without_a_pool_and_says_so() {
    let options = EngineOptions { pooled: false, live_instances_max: Some(2), ..EngineOptions::default() };
    let engine: Engine<Yes> = Engine::new(options).unwrap();
    let component = engine.compile(&Guest::default().plugin()).unwrap();
    let mut instance = engine.instantiate(&component, Yes::new(), Limits::default()).await.unwrap();
    assert_eq!(instance.handle(turn(2)).await.outcome.unwrap(), 2);
    let second = engine.instantiate(&component, Yes::new(), Limits::default()).await.unwrap();
    let third = engine.instantiate(&component, Yes::new(), Limits::default()).await;
    assert!(matches!(third, Err(Failure::PoolFull { .. })));
    drop((instance, second));
    let settings = engine.settings();
    let allocation = settings.iter().find(|(name, _, _)| name == "engine.agent-small.allocation").unwrap();
    assert_eq!((allocation.1.as_str(), allocation.2.as_str()), ("on demand", "option pooled is off"));
}
