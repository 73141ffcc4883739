//! `[supervisor.NAME]`: one supervisor with its own rules, checked by themselves. Never looks at the tree.

use skep_core::Name;
use skep_core::spec::{AutoShutdown, BackOff, Restart, Shutdown, Strategy, SupervisorSpec};

use super::problem::{Code, Problems};
use super::section::{Noted, Section};
use super::unit;

/// A supervisor that has no place in the tree yet.
pub(super) struct SupervisorDraft<'a> {
    pub(super) name: Noted<Name>,
    pub(super) section: Section<'a>,
    pub(super) spec: SupervisorSpec,
    pub(super) parent: Option<Noted<Name>>,
}

impl SupervisorDraft<'_> {
    pub(super) fn is_root(&self) -> bool {
        self.name.value.as_str() == ROOT_NAME
    }
}

/// The supervisor that is always there.
pub(super) const ROOT_NAME: &str = "root";

pub(super) fn read_all<'a>(root: &Section<'a>, problems: &mut Problems) -> Vec<SupervisorDraft<'a>> {
    root.named("supervisor", problems).into_iter().map(|(name, section)| read(name, section, problems)).collect()
}

fn read<'a>(name: Noted<Name>, section: Section<'a>, problems: &mut Problems) -> SupervisorDraft<'a> {
    let mut spec = SupervisorSpec::new(name.value.clone());
    section.choice("strategy", strategy, &mut spec.strategy, problems);
    section.number("intensity", &mut spec.intensity, problems);
    section.number("period", &mut spec.period_ms, problems);
    section.choice("auto_shutdown", auto_shutdown, &mut spec.auto_shutdown, problems);
    section.choice("restart", restart, &mut spec.restart, problems);
    section.flag("significant", &mut spec.significant, problems);
    shutdown(&section, &mut spec.shutdown, problems);
    spec.back_off = back_off(&section, problems);
    let parent = section.name("parent", problems);
    let draft = SupervisorDraft { name, section, spec, parent };
    check(&draft, problems);
    draft
}

fn check(draft: &SupervisorDraft<'_>, problems: &mut Problems) {
    let SupervisorDraft { section, spec, .. } = draft;
    let ends_itself = spec.auto_shutdown != AutoShutdown::Never;
    if ends_itself && spec.strategy == Strategy::Dynamic {
        let message = format!("{} cannot have both auto_shutdown and the strategy dynamic", section.what());
        let rule = "OTP (bad_combination): a dynamic supervisor has no significant children to end with";
        section.contradiction("auto_shutdown", message, rule, problems);
    }
    if draft.is_root() {
        for key in ["parent", "restart", "significant", "shutdown"].into_iter().filter(|key| section.has(key)) {
            let message = format!("the root supervisor cannot have `{key}`");
            section.contradiction(key, message, "root is under no supervisor; if it ends, the hive is down", problems);
        }
        return;
    }
    if ends_itself && spec.restart == Restart::Permanent {
        let message = format!("{} has auto_shutdown and is permanent", section.what());
        let rule = "OTP: a supervisor with auto_shutdown must be transient or temporary, or it is restarted at once";
        section.contradiction("auto_shutdown", message, rule, problems);
    }
    significant(section, spec.significant, spec.restart, problems);
}

/// OTP's rule about significant children, for agents and supervisors.
pub(super) fn significant(section: &Section<'_>, significant: bool, restart: Restart, problems: &mut Problems) {
    if significant && restart == Restart::Permanent {
        let message = format!("{} is significant and permanent", section.what());
        let rule = "OTP (bad_combination): a significant child is transient or temporary, for a permanent one never \
                    ends by itself";
        section.contradiction("significant", message, rule, problems);
    }
}

fn strategy(word: &str) -> Option<Strategy> {
    match word {
        "one-for-one" => Some(Strategy::OneForOne),
        "one-for-all" => Some(Strategy::OneForAll),
        "rest-for-one" => Some(Strategy::RestForOne),
        "dynamic" => Some(Strategy::Dynamic),
        _ => None,
    }
}

fn auto_shutdown(word: &str) -> Option<AutoShutdown> {
    match word {
        "never" => Some(AutoShutdown::Never),
        "any-significant" => Some(AutoShutdown::AnySignificant),
        "all-significant" => Some(AutoShutdown::AllSignificant),
        _ => None,
    }
}

/// The restart type of a word.
pub(super) fn restart(word: &str) -> Option<Restart> {
    match word {
        "permanent" => Some(Restart::Permanent),
        "transient" => Some(Restart::Transient),
        "temporary" => Some(Restart::Temporary),
        _ => None,
    }
}

/// `brutal`, `infinity` or a duration.
pub(super) fn shutdown(section: &Section<'_>, into: &mut Shutdown, problems: &mut Problems) {
    let Some(text) = section.text("shutdown", problems) else { return };
    let after = || unit::duration_ms(text.value).and_then(|ms| u32::try_from(ms).ok()).map(Shutdown::AfterMs);
    let value = match text.value {
        "brutal" => Some(Shutdown::Brutal),
        "infinity" => Some(Shutdown::Infinity),
        _ => after(),
    };
    match value {
        Some(value) => *into = value,
        None => {
            let message =
                format!("`shutdown` of {} cannot be \"{}\"", section.what(), skep_core::name::shown(text.value, 64));
            let help = format!("accepted: \"brutal\", \"infinity\", or {}", unit::DURATIONS);
            problems.error(Code::Value, text.span, message, "not accepted", Some(help));
        }
    }
}

fn back_off(section: &Section<'_>, problems: &mut Problems) -> Option<BackOff> {
    let table = section.table("back_off", problems)?;
    let mut back_off = BackOff { min_ms: 0, max_ms: u32::MAX, factor_percent: 200 };
    for key in ["min", "max"].into_iter().filter(|key| !table.has(key)) {
        table.missing(key, "back_off = { min = \"100ms\", max = \"10s\", factor = 2.0 }", problems);
    }
    table.number("min", &mut back_off.min_ms, problems);
    table.number("max", &mut back_off.max_ms, problems);
    table.factor("factor", &mut back_off.factor_percent, problems);
    if back_off.min_ms > back_off.max_ms {
        let message = format!("the first wait of {} is longer than the longest", table.what());
        table.contradiction("min", message, "min is at most max", problems);
    }
    Some(back_off)
}
