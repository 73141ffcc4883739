//! What a manifest says and what is wrong with it, text by text.

use std::path::Path;

use skep_core::spec::{AutoShutdown, Budget, ChildSpec, Durability, Restart, Shutdown, Strategy, SupervisorSpec};

use super::keys::{BUDGET, HIVE};
use super::*;

const HEAD: &str = "[hive]\nname = \"test\"\n[plugin.p]\npath = \"p.wasm\"\n";

fn good(rest: &str) -> skep_core::spec::HiveSpec {
    let text = format!("{HEAD}{rest}");
    match parse(&text, Path::new("dir/hive.toml")) {
        Ok(manifest) => manifest.spec,
        Err(rejected) => panic!("{}", rejected.rendered(false)),
    }
}

fn bad(rest: &str) -> Rejected {
    parse(&format!("{HEAD}{rest}"), Path::new("hive.toml")).expect_err("it is wrong")
}

fn codes(rejected: &Rejected) -> Vec<&'static str> {
    rejected.problems.iter().map(|problem| problem.code.text()).collect()
}

fn names(supervisor: &SupervisorSpec) -> Vec<String> {
    supervisor
        .children
        .iter()
        .map(|child| match child {
            ChildSpec::Agent(agent) => agent.name.to_string(),
            ChildSpec::Supervisor(inner) => format!("{}[{}]", inner.name, names(inner).join(" ")),
        })
        .collect()
}

fn agent(spec: &skep_core::spec::HiveSpec) -> &skep_core::spec::AgentSpec {
    match spec.root.children.first() {
        Some(ChildSpec::Agent(agent)) => agent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn works_when_everything_is_said() {
    let spec = good(
        r#"
[supervisor.root]
strategy = "rest-for-one"
intensity = 3
period = "1m"

[agent.first]
plugin = "p"

[supervisor.jobs]
parent = "root"
strategy = "one-for-all"
auto_shutdown = "all-significant"
restart = "transient"
back_off = { min = "100 ms", max = "10s", factor = 1.5 }

[agent.z]
plugin = "p"
supervisor = "jobs"
restart = "temporary"
significant = true
shutdown = "brutal"

[agent.a]
plugin = "p"
supervisor = "jobs"
count = 2
durability = "full"
shutdown = "infinity"
subscribe = ["files.*", "all.>"]
config = { z = 1, a = [true, 2.5, "x"], at = 2026-01-02 }
grants = { channels = ["events", "data"], send_to = ["z", "a-*"], spawn = ["self", "p"], children_max = 3 }
budget = { memory_bytes_max = "1GiB", turn_cpu_ms_max = 50 }
"#,
    );
    assert_eq!(spec.plugins[0].path, Path::new("dir/p.wasm"));
    assert_eq!(spec.root.strategy, Strategy::RestForOne);
    assert_eq!((spec.root.intensity, spec.root.period_ms), (3, 60_000));
    assert_eq!(names(&spec.root), ["first", "jobs[z a-1 a-2]"]);
    let ChildSpec::Supervisor(jobs) = &spec.root.children[1] else { panic!() };
    assert_eq!(jobs.auto_shutdown, AutoShutdown::AllSignificant);
    let back_off = jobs.back_off.unwrap();
    assert_eq!((back_off.min_ms, back_off.max_ms, back_off.factor_percent), (100, 10_000, 150));
    let ChildSpec::Agent(z) = &jobs.children[0] else { panic!() };
    assert_eq!((z.restart, z.significant, z.shutdown), (Restart::Temporary, true, Shutdown::Brutal));
    let ChildSpec::Agent(a) = &jobs.children[2] else { panic!() };
    assert_eq!(a.config_json, r#"{"z":1,"a":[true,2.5,"x"],"at":"2026-01-02"}"#);
    assert_eq!((a.durability, a.budget.memory_bytes_max, a.budget.turn_cpu_ms_max), (Durability::Full, 1 << 30, 50));
    assert_eq!(a.grants.send_to, ["z", "a-*"]);
}

#[test]
fn errors_when_it_is_no_toml_with_line_and_column() {
    let rejected = bad("[agent.a\nplugin = \"p\"\n");
    assert!(codes(&rejected).iter().all(|code| *code == "E_MANIFEST_SYNTAX"), "{:?}", codes(&rejected));
    assert!(rejected.rendered(false).contains("hive.toml:5:"), "{}", rejected.rendered(false));
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_in_its_order() {
    let rejected = bad(r#"
[agent.a]
plugn = "p"
[agent.b]
plugin = "q"
supervisor = "rot"
restart = "always"
shutdown = "5 minuts"
[agent.c]
plugin = "p"
count = -1
durability = 3
budget = { memory_bytes_max = "64MB", timers_max = 99999999999 }
"#);
    let expected = [
        "E_MANIFEST_MISSING_KEY",
        "E_MANIFEST_UNKNOWN_KEY",
        "E_MANIFEST_REFERENCE",
        "E_MANIFEST_REFERENCE",
        "E_MANIFEST_VALUE",
        "E_MANIFEST_VALUE",
        "E_MANIFEST_VALUE",
        "E_MANIFEST_TYPE",
        "E_MANIFEST_VALUE",
        "E_MANIFEST_VALUE",
    ];
    assert_eq!(codes(&rejected), expected, "{}", rejected.rendered(false));
    let shown = rejected.rendered(false);
    for part in ["did you mean `plugin`?", "did you mean \"root\"?", "\"200ms\", \"5s\"", "64MiB", "hive.toml:7:"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

fn lenient(rest: &str) -> Result<Manifest, Rejected> {
    parse_as(&format!("{HEAD}{rest}"), Path::new("hive.toml"), UnknownKeys::Warnings)
}

/// One unknown key in every table that there is.
const UNKNOWN: &str = "
[hvie]
[supervisor.s]
intensty = 5
back_off = { min = \"1s\", max = \"2s\", fcator = 2.0 }
[agent.a]
plugin = \"p\"
supervisor = \"s\"
durabilty = \"full\"
grants = { chanels = [\"data\"] }
budget = { timers = 5 }
";

#[test]
fn unknown_keys_are_warnings_where_that_is_asked_for_and_change_in_nothing_else() {
    let strict = bad(UNKNOWN);
    let lenient = lenient(UNKNOWN).expect("it can be used");
    assert_eq!(codes(&strict), ["E_MANIFEST_UNKNOWN_KEY"; 6], "{}", strict.rendered(false));
    let as_warnings: Vec<Problem> =
        strict.problems.iter().map(|problem| Problem { severity: Severity::Warning, ..problem.clone() }).collect();
    assert_eq!(lenient.warnings, as_warnings);
    assert_eq!(names(&lenient.spec.root), ["s[a]"]);
    let ChildSpec::Supervisor(s) = &lenient.spec.root.children[0] else { panic!() };
    let ChildSpec::Agent(a) = &s.children[0] else { panic!() };
    assert_eq!((s.intensity, a.durability, &a.budget), (1, Durability::None, &Budget::default()));
}

#[test]
fn what_is_wrong_otherwise_is_an_error_also_where_unknown_keys_are_warnings() {
    let cases = [
        ("[agent.a\n", "E_MANIFEST_SYNTAX"),
        ("[agent.a]\nplugn = \"p\"\n", "E_MANIFEST_MISSING_KEY"),
        ("[agent.a]\nplugin = 1\n", "E_MANIFEST_TYPE"),
        ("[agent.a]\nplugin = \"p\"\nrestart = \"always\"\n", "E_MANIFEST_VALUE"),
        ("[plugin.p]\npath = \"q.wasm\"\n", "E_MANIFEST_DUPLICATE"),
        ("[agent.a]\nplugin = \"q\"\n", "E_MANIFEST_REFERENCE"),
        ("[supervisor.a]\nparent = \"a\"\n", "E_MANIFEST_CYCLE"),
        ("[supervisor.root]\nrestart = \"transient\"\n", "E_MANIFEST_CONTRADICTION"),
    ];
    for (text, code) in cases {
        let rejected = lenient(text).expect_err(code);
        let errors = rejected.problems.iter().filter(|problem| problem.severity == Severity::Error);
        assert!(errors.clone().count() > 0 && errors.clone().all(|error| error.code.text() == code), "{rejected:?}");
    }
}

#[test]
fn an_error_is_told_also_after_more_warnings_than_are_kept() {
    let keys: String = (0..300).map(|i| format!("x{i} = 1\n")).collect();
    let warned = lenient(&format!("[agent.a]\nplugin = \"p\"\n{keys}")).expect("it can be used");
    assert_eq!((warned.warnings.len(), warned.warnings_left_out), (200, 100));
    assert!(warned.shown_warnings(false).contains("and 100 more problems"));
    let rejected = lenient(&format!("[agent.a]\nplugin = \"p\"\n{keys}restart = 1\n")).expect_err("a wrong type");
    assert_eq!((rejected.problems.len(), rejected.left_out, rejected.errors()), (200, 101, 1));
    assert_eq!(LoadError::from(Box::new(rejected)).code(), "E_MANIFEST_TYPE");
}

fn hive(keys: &str) -> Result<Manifest, Rejected> {
    parse(&format!("[hive]\nname = \"test\"\n{keys}"), Path::new("hive.toml"))
}

#[test]
fn a_hive_of_many_hosts_says_which_one_this_is_and_where_they_meet() {
    let manifest = hive("host = \"a\"\nnats = \"tls://me:s3cret@h:4222\"\n").expect("a good one");
    assert_eq!(manifest.cluster.host.as_ref().map(skep_core::Name::as_str), Some("a"));
    assert_eq!(manifest.cluster.nats.as_ref().map(ToString::to_string).as_deref(), Some("tls://me:***@h:4222"));
    assert_eq!(manifest.origin("nats"), "the manifest: hive.nats");
    // Who is to be told may be at another host.
    let text = "nats = \"managed\"\n[plugin.p]\npath = \"p.wasm\"\n[agent.a]\nplugin = \"p\"\n\
                grants = { channels = [\"data\"], send_to = [\"ledger\"] }\n";
    let manifest = hive(text).expect("a good one");
    assert!(manifest.warnings.is_empty(), "{}", manifest.shown_warnings(false));
    // Without a name it can be used only where an option gives one.
    let error = manifest.rejected_without_host();
    assert_eq!(error.code(), "E_MANIFEST_MISSING_KEY");
    let LoadError::Rejected(rejected) = error else { panic!() };
    let shown = rejected.rendered(false);
    assert!(shown.contains("hive.toml:3:8") && shown.contains("--host NAME"), "{shown}");
}

#[test]
fn the_password_of_a_server_is_never_shown() {
    for wrong in ["nats = \"http://me:s3cret@h\"\n", "nats = \"me:s3cret@h\"\n", "nats = nats://me:s3cret@h\n"] {
        let rejected = hive(wrong).expect_err("it is wrong");
        let shown = format!("{}{}{rejected}", rejected.rendered(false), rejected.to_json());
        assert!(shown.contains("hive.toml:3:") && !shown.contains("s3cret"), "{shown}");
    }
    // Nor where the line beside it is wrong.
    let rejected = hive("nats = \"nats://me:s3cret@h\"\nhost = \"a b\"\n").expect_err("it is wrong");
    assert_eq!(codes(&rejected), ["E_MANIFEST_VALUE"]);
    assert!(!rejected.rendered(false).contains("s3cret"), "{}", rejected.rendered(false));
}

#[test]
fn errors_when_names_are_there_twice() {
    let by_table = bad("[agent.a]\nplugin = \"p\"\n[agent.a]\nplugin = \"p\"\n[agent.b]\nplugn = \"p\"\n");
    let shown = by_table.rendered(false);
    assert_eq!(codes(&by_table).first(), Some(&"E_MANIFEST_DUPLICATE"), "{shown}");
    assert!(shown.contains("hive.toml:7:") && shown.contains("did you mean `plugin`?"), "{shown}");
    let by_count = bad("[agent.a]\nplugin = \"p\"\ncount = 2\n[agent.a-2]\nplugin = \"p\"\n");
    assert_eq!(codes(&by_count), ["E_MANIFEST_DUPLICATE"]);
    assert_eq!(codes(&bad("[supervisor.a]\n[agent.a]\nplugin = \"p\"\n")), ["E_MANIFEST_DUPLICATE"]);
}

#[test]
fn errors_when_supervisors_are_under_themselves() {
    let rejected =
        bad("[supervisor.a]\nparent = \"c\"\n[supervisor.b]\nparent = \"a\"\n[supervisor.c]\nparent = \"b\"\n\
         [supervisor.d]\nparent = \"d\"\n[supervisor.e]\nparent = \"a\"\n");
    assert_eq!(codes(&rejected), ["E_MANIFEST_CYCLE"; 2], "{}", rejected.rendered(false));
    assert!(rejected.problems[0].message.contains("a -> c -> b -> a"), "{}", rejected.problems[0].message);
}

#[test]
fn errors_when_the_tree_is_too_deep() {
    let text: String = (0..20_000)
        .map(|i| {
            format!("[supervisor.s{i}]\nparent = \"{}\"\n", if i == 0 { "root".into() } else { format!("s{}", i - 1) })
        })
        .collect();
    assert_eq!(codes(&bad(&text)), ["E_MANIFEST_VALUE"]);
}

#[test]
fn contradictions_are_refused_with_the_rule_of_otp() {
    let agent = |keys: &str| format!("[agent.a]\nplugin = \"p\"\n{keys}\n");
    let cases = [
        (agent("significant = true\nrestart = \"transient\""), "needs a supervisor with auto_shutdown"),
        (
            format!("[supervisor.root]\nauto_shutdown = \"any-significant\"\n{}", agent("significant = true")),
            "a permanent one never ends by itself",
        ),
        (
            "[supervisor.s]\nrestart = \"transient\"\nstrategy = \"dynamic\"\nauto_shutdown = \"any-significant\"\n"
                .into(),
            "bad_combination",
        ),
        ("[supervisor.s]\nauto_shutdown = \"any-significant\"\n".into(), "must be transient or temporary"),
        (format!("[supervisor.s]\nstrategy = \"dynamic\"\n{}", agent("supervisor = \"s\"")), "simple_one_for_one"),
        ("[supervisor.root]\nrestart = \"transient\"\n".into(), "root is under no supervisor"),
        ("[supervisor.s]\nback_off = { min = \"2s\", max = \"1s\" }\n".into(), "min is at most max"),
        (agent("grants = { send_to = [\"a\"] }"), "channels = [\"events\"]"),
        (agent("grants = { spawn = [\"p\"] }"), "children_max of at least 1"),
        (agent("budget = { turn_cpu_ms_max = \"1m\" }"), "raise turn_wall_ms_max"),
        (agent("budget = { mailbox_bytes_max = \"64KiB\" }"), "at least body_bytes_max"),
    ];
    for (text, rule) in cases {
        let rejected = bad(&text);
        assert_eq!(codes(&rejected), ["E_MANIFEST_CONTRADICTION"], "{text}\n{}", rejected.rendered(false));
        assert!(rejected.problems[0].help.as_ref().unwrap().contains(rule), "{rule}: {:?}", rejected.problems[0].help);
    }
}

#[test]
fn refuses_what_otp_refuses_in_a_supervisor() {
    for keys in
        ["intensity = -1", "intensity = \"infinity\"", "period = 5", "period = \"0s\"", "strategy = \"one_for_one\""]
    {
        let rejected = bad(&format!("[supervisor.s]\n{keys}\n"));
        assert_eq!(codes(&rejected), ["E_MANIFEST_VALUE"], "{keys}");
    }
}

#[test]
fn hostile_text_is_shown_escaped_and_cut() {
    let rejected = bad(&format!("[agent.a]\nplugin = \"p\"\n\"\u{202e}evil{}\" = 1\n", "y".repeat(100_000)));
    let shown = rejected.rendered(false);
    assert!(shown.contains("\\u{202e}evil"), "{shown}");
    assert!(shown.len() < 4_000 && !shown.contains('\u{202e}'), "{}", shown.len());
    let rejected = bad("[agent.a]\nplugin = \"p\u{1b}[31m\"\n");
    assert!(!rejected.rendered(false).contains('\u{1b}'));
}

#[test]
fn a_grant_for_nobody_is_a_warning_with_a_guess() {
    let text = format!(
        "{HEAD}[agent.ledger]\nplugin = \"p\"\n[agent.b]\nplugin = \"p\"\ngrants = {{ channels = [\"data\"], send_to = [\"legder\", \"led*\"] }}\n"
    );
    let manifest = parse(&text, Path::new("hive.toml")).expect("it can be used");
    assert_eq!(manifest.warnings.len(), 1);
    assert_eq!(manifest.warnings[0].help.as_deref(), Some("did you mean \"ledger\"?"));
}

#[test]
fn ten_thousand_agents_are_read_at_once_and_a_million_are_refused() {
    let many: String = (0..10_000)
        .map(|i| {
            format!("[agent.a{i}]\nplugin = \"p\"\n[agent.a{i}.grants]\nchannels = [\"data\"]\nsend_to = [\"a1\"]\n")
        })
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(good(&many).root.children.len(), 10_000);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!(good("[agent.a]\nplugin = \"p\"\ncount = 10000\n").root.children.len(), 10_000);
    let too_many = bad("[agent.a]\nplugin = \"p\"\ncount = 60000\n[agent.b]\nplugin = \"p\"\ncount = 60000\n");
    assert_eq!(codes(&too_many), ["E_MANIFEST_VALUE"]);
    assert_eq!(codes(&bad("[agent.a]\nplugin = \"p\"\ncount = 1000000\n")), ["E_MANIFEST_VALUE"]);
}

#[test]
fn many_problems_are_counted_not_kept() {
    let many: String = (0..5_000).map(|i| format!("[agent.a{i}]\nplugin = \"q\"\n")).collect();
    let rejected = bad(&many);
    assert_eq!((rejected.problems.len(), rejected.errors()), (200, 5_000));
    assert!(rejected.rendered(false).contains("and 4800 more problems"));
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_core() {
    let said: String = BUDGET.iter().map(|key| format!("{} = {}\n", key.name, literal(key))).collect();
    let spec = good(&format!("[agent.a]\nplugin = \"p\"\n[agent.a.budget]\n{said}"));
    assert_eq!(agent(&spec).budget, Budget::default());
    let with_default = HIVE.iter().filter(|key| !["required", "none"].contains(&key.default));
    let said: String = with_default.map(|key| format!("{} = {}\n", key.name, literal(key))).collect();
    let text = format!("[hive]\nname = \"test\"\n{said}");
    let spec = parse(&text, Path::new("hive.toml")).unwrap().spec;
    assert_eq!((spec.body_bytes_max, spec.client_window_ms, spec.sessions_kept_max), {
        let defaults = skep_core::spec::HiveSpec::new(spec.name.clone());
        (defaults.body_bytes_max, defaults.client_window_ms, defaults.sessions_kept_max)
    });
}

fn literal(key: &Key) -> String {
    if matches!(key.form, Form::Count(..)) { key.default.to_owned() } else { format!("\"{}\"", key.default) }
}

#[test]
fn every_key_of_a_budget_reaches_its_own_field() {
    for key in BUDGET {
        let value = match key.form {
            Form::Count(..) | Form::Millis(..) => "7",
            _ => "1234567890",
        };
        let wall = if key.name == "turn_wall_ms_max" { "turn_cpu_ms_max = 7\n" } else { "" };
        let spec = good(&format!("[agent.a]\nplugin = \"p\"\n[agent.a.budget]\n{} = {value}\n{wall}", key.name));
        let shown = format!("{:?}", agent(&spec).budget);
        assert!(shown.contains(&format!("{}: {value}", key.name)), "{} in {shown}", key.name);
    }
}

#[test]
fn every_limit_that_an_event_names_is_a_key_of_the_budget_or_told_in_the_manual() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manifest.md")).unwrap();
    for limit in skep_core::Limit::ALL {
        let is_key = BUDGET.iter().any(|key| key.name == limit.name());
        assert_eq!(is_key, !limit.is_of_the_host(), "{limit}");
        assert!(manual.contains(&format!("| `{limit}` | ")), "docs/manifest.md has no row for `{limit}`");
    }
}

#[test]
fn one_agent_is_read_from_its_keys_alone() {
    let name = skep_core::Name::new("x").unwrap();
    let spec = agent_from_toml(
        &name,
        "plugin = \"p\"\ndurability = \"full\"\ngrants = { channels = [\"data\"], send_to = [\"y\"] }\n",
    )
    .unwrap();
    assert_eq!((spec.name.as_str(), spec.durability), ("x", Durability::Full));
    let rejected = agent_from_toml(&name, "plugin = \"p\"\ncount = 2\ndurablity = 1\n").unwrap_err();
    assert_eq!(rejected.errors(), 2);
}

#[test]
fn the_schema_for_editors_is_the_parsers_own() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/hive.schema.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("SKEP_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "host/cli/schema/hive.schema.json is old: set SKEP_WRITE_SCHEMA=1 and run this test again");
}

#[test]
fn the_example_of_the_manual_is_a_good_one() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manifest.md")).unwrap();
    let example = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let manifest =
        parse(example, Path::new("hive.toml")).unwrap_or_else(|rejected| panic!("{}", rejected.rendered(false)));
    assert!(manifest.warnings.is_empty(), "{}", manifest.shown_warnings(false));
    assert_eq!(names(&manifest.spec.root), ["ledger", "counters[counter-1 counter-2 counter-3 counter-4]"]);
}

#[test]
fn the_manual_names_every_key_with_its_default() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manifest.md")).unwrap();
    fn walk(keys: &[Key], manual: &str) {
        for key in keys {
            let row = format!("| `{}` | ", key.name);
            let found = manual
                .lines()
                .any(|line| line.starts_with(&row) && line.contains(key.doc) && line.contains(key.default));
            match key.form {
                Form::Named(inner) => walk(inner, manual),
                Form::Table(inner) => walk(inner, manual),
                _ => assert!(found, "docs/manifest.md has no row for `{}`: {}", key.name, key.doc),
            }
        }
    }
    walk(ROOT, &manual);
}
