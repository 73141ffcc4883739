//! The names of events, for whoever asks for some of them: a slip is an error and not silence. Never an event.

use std::collections::BTreeSet;

use super::problem::ApiError;

/// All names, as [`skep_core::event::What::name`] has them; a test holds the two together.
pub(crate) const NAMES: [&str; 47] = [
    "hive.started",
    "hive.stopping",
    "hive.down",
    "plugin.loaded",
    "agent.starting",
    "agent.ready",
    "agent.registered",
    "agent.passive",
    "agent.exited",
    "agent.restarting",
    "agent.gone",
    "agent.left-out",
    "agent.runs-alone",
    "agent.health",
    "supervisor.escalated",
    "supervisor.ended",
    "turn.committed",
    "turn.failed",
    "turn.undone",
    "message.refused",
    "message.redelivered",
    "message.dead-letter",
    "message.dropped",
    "grant.denied",
    "limit.reached",
    "ask.failed",
    "commit.failed",
    "swap.prepared",
    "swap.resumed",
    "swap.failed",
    "session.stepped",
    "session.ended",
    "session.corrupt",
    "session.forgotten",
    "bus.connected",
    "bus.lost",
    "bus.trouble",
    "host.up",
    "host.gone",
    "host.taken",
    "name.seen",
    "name.taken",
    "log",
    "log.suppressed",
    "metric",
    "custom",
    "span",
];

/// Whether some event's name begins so.
pub(super) fn check(prefix: &str) -> Result<(), ApiError> {
    if NAMES.iter().any(|name| name.starts_with(prefix)) {
        return Ok(());
    }
    let error =
        ApiError::bad_request(format!("no event has a name that begins with {}", skep_core::name::shown(prefix, 64)));
    let families: BTreeSet<&str> = NAMES.iter().filter_map(|name| name.split('.').next()).collect();
    let similar = skep_core::similar::closest(prefix.trim_end_matches('.'), NAMES.iter().chain(&families).copied());
    Err(match similar {
        Some(similar) => error.with_help(format!("did you mean {similar}?")),
        None => error.with_help(format!("they begin with {}", Vec::from_iter(families).join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_events() {
        let source = include_str!("../../../core/src/event.rs");
        let (_, names) = source.split_once("pub fn name(&self)").unwrap();
        let (names, _) = names.split_once("pub fn severity").unwrap();
        let names: BTreeSet<&str> = names.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, BTreeSet::from(NAMES));
    }

    /// What stands in quotes after each of these openings.
    fn quoted<'a>(source: &'a str, opening: &str) -> Vec<&'a str> {
        source.split(opening).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    /// The words that the documentation of a field lists.
    fn listed(variant: &str) -> BTreeSet<&'static str> {
        let source = include_str!("../../../core/src/event.rs");
        let (_, rest) = source.split_once(variant).unwrap();
        let (_, words) = rest.split_once("/// The stable word: ").unwrap();
        words.split_once(".\n").unwrap().0.split(", ").collect()
    }

    #[test]
    fn the_words_of_a_turn_that_failed_are_those_that_are_listed() {
        let failure = include_str!("../../../engine/src/failure.rs");
        let (_, words) = failure.split_once("pub fn word(&self)").unwrap();
        let (words, _) = words.split_once("pub fn code").unwrap();
        let mut words: BTreeSet<&str> = quoted(words, "=> \"").into_iter().collect();
        // One whose state cannot be read is an exit.
        assert!(words.remove("state-unreadable"));
        words.extend(quoted(include_str!("../../../runtime/src/turn.rs"), "failed(hive, cell, began, turn, \""));
        assert_eq!(words, listed("    TurnFailed {"));
        assert!(words.contains("wall-time") && words.contains("host-panic"));
    }

    #[test]
    fn the_words_of_a_message_that_was_dropped_are_those_that_are_listed() {
        let folders = ["/../runtime/src", "/../runtime/src/cluster", "/../runtime/src/session"];
        let folders = folders.map(|folder| format!("{}{folder}", env!("CARGO_MANIFEST_DIR")));
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let sources: Vec<String> =
            files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let words = sources.iter().flat_map(|source| quoted(source, "What::MessageDropped { reason: \""));
        assert_eq!(words.collect::<BTreeSet<&str>>(), listed("    MessageDropped {"));
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        for known in ["agent.", "agent", "swap.failed", "log", ""] {
            assert!(check(known).is_ok(), "{known}");
        }
        for (slip, meant) in [("agnt", "agent"), ("swap.faild", "swap.failed"), ("deadletter", "ask, bus, commit")] {
            let error = check(slip).unwrap_err();
            assert!(error.0.help.as_ref().is_some_and(|help| help.contains(meant)), "{:?}", error.0);
        }
    }
}
