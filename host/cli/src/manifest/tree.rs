//! The tree of supervisors put together from the sections of the file: references, names that are there twice, cycles
//! and what parent and child must agree on. Never reads TOML.

use std::collections::HashMap;

use skep_core::Name;
use skep_core::name::shown;
use skep_core::similar::closest;
use skep_core::spec::{AutoShutdown, ChildSpec, Strategy, SupervisorSpec};

use super::agent::AgentDraft;
use super::hive::AGENTS_MAX;
use super::problem::{Code, Problems};
use super::section::Noted;
use super::supervisor::{ROOT_NAME, SupervisorDraft};

/// The most supervisors above one another, the root among them: as `skep-core` has it.
const DEPTH_MAX: usize = 64;
/// What the host keeps of a mailbox's room for each message beside its body, in bytes.
const MESSAGE_WEIGHT_BYTES: u64 = 128;

/// The root with everything under it; none if there is no such tree.
pub(super) fn build(
    supervisors: Vec<SupervisorDraft<'_>>,
    agents: Vec<AgentDraft<'_>>,
    plugins: &[Name],
    body_bytes_max: u32,
    is_alone: bool,
    problems: &mut Problems,
) -> Option<SupervisorSpec> {
    let root = Name::new(ROOT_NAME).ok()?;
    let index = Index::new(&supervisors, root, problems);
    let agents = expanded(agents, &supervisors, problems);
    check_agents(&agents, &supervisors, &index, plugins, body_bytes_max, problems);
    check_parents(&supervisors, &index, problems);
    if is_alone {
        check_addresses(&agents, problems);
    }
    let order = top_down(&supervisors, &index, problems)?;
    Some(assembled(supervisors, agents, &index, &order))
}

/// Supervisors by name; place 0 is the root, whether the file has it or not.
struct Index {
    places: HashMap<Name, usize>,
    parents: Vec<usize>,
    root: Name,
}

impl Index {
    fn new(supervisors: &[SupervisorDraft<'_>], root: Name, problems: &mut Problems) -> Self {
        let mut places = HashMap::from([(root.clone(), 0)]);
        for (place, draft) in supervisors.iter().enumerate().filter(|(_, draft)| !draft.is_root()) {
            places.insert(draft.name.value.clone(), place + 1);
        }
        let mut index = Self { places, parents: vec![0], root };
        for draft in supervisors {
            let parent = if draft.is_root() { 0 } else { index.place_of(draft.parent.as_ref(), problems) };
            index.parents.push(parent);
        }
        index
    }

    /// Where a supervisor is that is named somewhere; the root if it is not named, or not there.
    fn place_of(&self, named: Option<&Noted<Name>>, problems: &mut Problems) -> usize {
        let Some(named) = named else { return 0 };
        if let Some(place) = self.places.get(&named.value) {
            return *place;
        }
        let known = self.places.keys().map(Name::as_str);
        unknown("supervisor", named, known, problems);
        0
    }

    fn lookup(&self, named: Option<&Noted<Name>>) -> usize {
        named.and_then(|named| self.places.get(&named.value)).copied().unwrap_or(0)
    }
}

fn unknown<'n>(what: &str, named: &Noted<Name>, known: impl Iterator<Item = &'n str>, problems: &mut Problems) {
    let help = match closest(named.value.as_str(), known) {
        Some(similar) => format!("did you mean \"{similar}\"?"),
        None => format!("add [{what}.{}]", named.value),
    };
    let message = format!("there is no {what} {}", named.value);
    problems.error(Code::Reference, named.span.clone(), message, &format!("no such {what}"), Some(help));
}

/// Every agent by itself, `count` of them where the file says so; names that are there twice are reported.
fn expanded<'a>(
    drafts: Vec<AgentDraft<'a>>,
    supervisors: &[SupervisorDraft<'_>],
    problems: &mut Problems,
) -> Vec<(AgentDraft<'a>, Vec<Name>)> {
    let mut taken: HashMap<Name, &'static str> = HashMap::new();
    taken.extend(supervisors.iter().map(|draft| (draft.name.value.clone(), "supervisor")));
    let mut total = 0;
    let mut agents = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let asked = draft.count.map_or(1, |count| count as usize);
        if total + asked > AGENTS_MAX {
            let message = format!("the manifest has more than {AGENTS_MAX} agents");
            let help = Some("start the rest while the hive runs: `skep spawn`, or an agent that spawns".to_owned());
            problems.error(Code::Value, draft.section.span_of("count"), message, "too many", help);
            break;
        }
        total += asked;
        let names = names_of(&draft, problems);
        for name in &names {
            if let Some(what) = taken.insert(name.clone(), "agent") {
                let message = format!("the name {name} is taken by another {what}");
                let help = "names of agents and supervisors are unique in the hive; count makes NAME-1, NAME-2, ...";
                problems.error(Code::Duplicate, draft.name.span.clone(), message, "here again", Some(help.to_owned()));
            }
        }
        agents.push((draft, names));
    }
    agents
}

fn names_of(draft: &AgentDraft<'_>, problems: &mut Problems) -> Vec<Name> {
    let Some(count) = draft.count else { return vec![draft.name.value.clone()] };
    let mut names = Vec::with_capacity(count as usize);
    for number in 1..=count {
        match Name::new(&format!("{}-{number}", draft.name.value)) {
            Ok(name) => names.push(name),
            Err(error) => {
                problems.error(
                    Code::Value,
                    draft.name.span.clone(),
                    error.to_string(),
                    "too long with its number",
                    None,
                );
                break;
            }
        }
    }
    names
}

fn check_agents(
    agents: &[(AgentDraft<'_>, Vec<Name>)],
    supervisors: &[SupervisorDraft<'_>],
    index: &Index,
    plugins: &[Name],
    body_bytes_max: u32,
    problems: &mut Problems,
) {
    for (draft, _) in agents {
        if let Some(plugin) = draft.plugin.as_ref().filter(|plugin| !plugins.contains(&plugin.value)) {
            unknown("plugin", plugin, plugins.iter().map(Name::as_str), problems);
        }
        let place = index.place_of(draft.supervisor.as_ref(), problems);
        let parent = place.checked_sub(1).and_then(|place| supervisors.get(place));
        let parent = parent.or_else(|| supervisors.iter().find(|supervisor| supervisor.is_root()));
        if draft.spec.significant {
            check_significant(&draft.section, parent, problems);
        }
        check_not_dynamic(&draft.section, "supervisor", parent, problems);
        for plugin in draft.spec.grants.spawn.iter().filter(|name| *name != "self") {
            if !plugins.iter().any(|known| known.as_str() == plugin) {
                let message =
                    format!("{} may spawn {}, and there is no such plugin", draft.section.what(), shown(plugin, 64));
                let help =
                    closest(plugin, plugins.iter().map(Name::as_str)).map(|name| format!("did you mean \"{name}\"?"));
                problems.error(Code::Reference, draft.section.span_of("grants"), message, "no such plugin", help);
            }
        }
        if draft.spec.budget.mailbox_bytes_max < u64::from(body_bytes_max) + MESSAGE_WEIGHT_BYTES {
            let message = format!("the mailbox of {} is smaller than one message may be", draft.section.what());
            let rule =
                format!("mailbox_bytes_max is at least body_bytes_max of [hive] and {MESSAGE_WEIGHT_BYTES} more");
            draft.section.contradiction("budget", message, &rule, problems);
        }
    }
}

fn check_parents(supervisors: &[SupervisorDraft<'_>], index: &Index, problems: &mut Problems) {
    for draft in supervisors.iter().filter(|draft| !draft.is_root()) {
        let place = index.lookup(draft.parent.as_ref());
        let parent = place.checked_sub(1).and_then(|place| supervisors.get(place));
        let parent = parent.or_else(|| supervisors.iter().find(|supervisor| supervisor.is_root()));
        if draft.spec.significant {
            check_significant(&draft.section, parent, problems);
        }
        check_not_dynamic(&draft.section, "parent", parent, problems);
    }
}

fn check_significant(
    section: &super::section::Section<'_>,
    parent: Option<&SupervisorDraft<'_>>,
    problems: &mut Problems,
) {
    if parent.is_none_or(|parent| parent.spec.auto_shutdown == AutoShutdown::Never) {
        let supervisor = parent.map_or(ROOT_NAME, |parent| parent.name.value.as_str());
        let message = format!("{} is significant and its supervisor {supervisor} never ends by itself", section.what());
        let rule = "OTP (bad_combination): a significant child needs a supervisor with auto_shutdown = \
                    \"any-significant\" or \"all-significant\"";
        section.contradiction("significant", message, rule, problems);
    }
}

fn check_not_dynamic(
    section: &super::section::Section<'_>,
    key: &str,
    parent: Option<&SupervisorDraft<'_>>,
    problems: &mut Problems,
) {
    let Some(parent) = parent.filter(|parent| parent.spec.strategy == Strategy::Dynamic) else { return };
    let message = format!("{} is under {}, which is dynamic", section.what(), parent.name.value);
    let rule = "OTP (simple_one_for_one): a dynamic supervisor starts without children; they are added while it runs, \
                by `skep spawn` or by agents";
    section.contradiction(key, message, rule, problems);
}

/// A grant for an agent that is not in the file may be meant for one that comes later: only a warning.
fn check_addresses(agents: &[(AgentDraft<'_>, Vec<Name>)], problems: &mut Problems) {
    let mut known: Vec<&str> = agents.iter().flat_map(|(_, names)| names).map(Name::as_str).collect();
    known.sort_unstable();
    for (draft, _) in agents {
        for address in &draft.spec.grants.send_to {
            let found = match address.strip_suffix('*') {
                Some(prefix) => {
                    let from = known.partition_point(|name| *name < prefix);
                    known.get(from).is_some_and(|name| name.starts_with(prefix))
                }
                None => known.binary_search(&address.as_str()).is_ok(),
            };
            if !found {
                let message =
                    format!("{} may send to {address}, and no agent of this file is called so", draft.section.what());
                let help = closest(address, known.iter().copied()).map(|name| format!("did you mean \"{name}\"?"));
                problems.warning(draft.section.span_of("grants"), message, "nobody yet", help);
            }
        }
    }
}

/// The places of all supervisors, parents before children; none if some are under themselves or too deep.
fn top_down(supervisors: &[SupervisorDraft<'_>], index: &Index, problems: &mut Problems) -> Option<Vec<usize>> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); supervisors.len() + 1];
    for (place, _) in supervisors.iter().enumerate().filter(|(_, draft)| !draft.is_root()) {
        let parent = index.parents.get(place + 1).copied().unwrap_or(0);
        if let Some(list) = children.get_mut(parent) {
            list.push(place + 1);
        }
    }
    let mut order = vec![0];
    let mut level = vec![0];
    for _ in 1..DEPTH_MAX {
        level = level.iter().filter_map(|place| children.get(*place)).flatten().copied().collect();
        order.extend(&level);
    }
    if level.iter().any(|place| children.get(*place).is_some_and(|list| !list.is_empty())) {
        let message = format!("the tree of supervisors is deeper than {DEPTH_MAX}");
        let at = level.first().and_then(|place| supervisors.get(place.checked_sub(1)?));
        problems.error(Code::Value, at.map_or(0..0, |draft| draft.name.span.clone()), message, "too deep", None);
        return None;
    }
    report_cycles(supervisors, index, &order, problems).then_some(order)
}

/// Whether there is none. Each cycle is reported once, at its first supervisor in the file.
fn report_cycles(
    supervisors: &[SupervisorDraft<'_>],
    index: &Index,
    reached: &[usize],
    problems: &mut Problems,
) -> bool {
    let mut done = vec![false; supervisors.len() + 1];
    for place in reached {
        mark(&mut done, *place);
    }
    let mut none = true;
    for (start, draft) in supervisors.iter().enumerate().filter(|(_, draft)| !draft.is_root()) {
        let mut way = Vec::new();
        let mut place = start + 1;
        while done.get(place) == Some(&false) {
            mark(&mut done, place);
            way.push(place);
            place = index.parents.get(place).copied().unwrap_or(0);
        }
        let Some(from) = way.iter().position(|seen| *seen == place) else { continue };
        none = false;
        let names: Vec<&str> = way
            .iter()
            .skip(from)
            .chain([&place])
            .filter_map(|place| supervisors.get(place.checked_sub(1)?))
            .map(|draft| draft.name.value.as_str())
            .collect();
        let message = format!("supervisors under themselves: {}", shown(&names.join(" -> "), 300));
        let help = "the parent of one of them has to be root, or another supervisor that is under root".to_owned();
        problems.error(Code::Cycle, draft.section.span_of("parent"), message, "a cycle", Some(help));
    }
    none
}

fn mark(done: &mut [bool], place: usize) {
    if let Some(flag) = done.get_mut(place) {
        *flag = true;
    }
}

/// Puts children under their parents, the deepest first, in the order of the file.
fn assembled(
    supervisors: Vec<SupervisorDraft<'_>>,
    agents: Vec<(AgentDraft<'_>, Vec<Name>)>,
    index: &Index,
    order: &[usize],
) -> SupervisorSpec {
    let mut children: Vec<Vec<(usize, ChildSpec)>> = (0..=supervisors.len()).map(|_| Vec::new()).collect();
    for (draft, names) in agents {
        let place = index.lookup(draft.supervisor.as_ref());
        let start = draft.name.span.start;
        let Some(list) = children.get_mut(place) else { continue };
        for name in names {
            let spec = skep_core::spec::AgentSpec { name, ..draft.spec.clone() };
            list.push((start, ChildSpec::Agent(Box::new(spec))));
        }
    }
    let mut root = SupervisorSpec::new(index.root.clone());
    let mut specs: Vec<Option<(usize, SupervisorSpec)>> = vec![None];
    for draft in supervisors {
        let is_root = draft.is_root();
        let place = (draft.name.span.start, draft.spec);
        specs.push(if is_root {
            root = place.1;
            None
        } else {
            Some(place)
        });
    }
    for place in order.iter().rev().filter(|place| **place != 0) {
        let Some((start, mut spec)) = specs.get_mut(*place).and_then(Option::take) else { continue };
        spec.children = in_order(children.get_mut(*place));
        let parent = index.parents.get(*place).copied().unwrap_or(0);
        if let Some(list) = children.get_mut(parent) {
            list.push((start, ChildSpec::Supervisor(spec)));
        }
    }
    root.children = in_order(children.first_mut());
    root
}

fn in_order(children: Option<&mut Vec<(usize, ChildSpec)>>) -> Vec<ChildSpec> {
    let mut list = children.map(std::mem::take).unwrap_or_default();
    list.sort_by_key(|(start, _)| *start);
    list.into_iter().map(|(_, child)| child).collect()
}
