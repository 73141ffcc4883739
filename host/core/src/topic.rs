//! Topics and who is subscribed to them: a tree of words. Never delivers anything and never knows what a subscriber is.
//!
//! A topic is one or more words of `[A-Za-z0-9_-]` joined by dots. A pattern may also have `*`, which stands for one
//! word, and `>` as its last word, which stands for one or more. (The syntax of NATS subjects, with fewer letters.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::shown;

/// The longest topic or pattern, in bytes: NATS servers take much more, people read much less.
pub const TOPIC_BYTES_MAX: usize = 256;

/// The most words of a topic or pattern: it bounds how deep the tree is, and with it a search.
pub const TOPIC_WORDS_MAX: usize = 16;

const ONE: &str = "*";
const REST: &str = ">";

/// Why a text is no topic or no pattern. The text is safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a {what}: {why}")]
pub struct BadPattern {
    text: String,
    what: &'static str,
    why: &'static str,
}

/// Whether a text may be published on.
pub fn valid_topic(text: &str) -> Result<(), BadPattern> {
    let why = flaw(text, |_, word| is_plain(word));
    why.map_or(Ok(()), |why| Err(BadPattern { text: shown(text, 64), what: "topic", why }))
}

/// Whether a text may be subscribed to. Every topic may.
pub fn valid_pattern(text: &str) -> Result<(), BadPattern> {
    let why = flaw(text, |last, word| is_plain(word) || word == ONE || (last && word == REST));
    why.map_or(Ok(()), |why| Err(BadPattern { text: shown(text, 64), what: "topic pattern", why }))
}

fn flaw(text: &str, allowed: impl Fn(bool, &str) -> bool) -> Option<&'static str> {
    if text.len() > TOPIC_BYTES_MAX {
        return Some("it is longer than 256 bytes");
    }
    let mut words = text.split('.').peekable();
    let mut count = 0;
    while let Some(word) = words.next() {
        count += 1;
        if word.is_empty() {
            return Some("a word is empty");
        }
        if !allowed(words.peek().is_none(), word) {
            return Some(if word == ONE || word == REST {
                "only patterns have wildcards, and > only as the last word"
            } else {
                "words have letters, digits, _ and - only"
            });
        }
    }
    (count > TOPIC_WORDS_MAX).then_some("it has more than 16 words")
}

fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether a valid pattern stands for a valid topic.
pub fn matches(pattern: &str, topic: &str) -> bool {
    covers(pattern, topic)
}

/// Whether every topic that the second pattern stands for is one that the first stands for. Both are valid.
pub fn covers(pattern: &str, other: &str) -> bool {
    let mut others = other.split('.');
    for word in pattern.split('.') {
        let fits = match (word, others.next()) {
            (REST, next) => return next.is_some(),
            (_, None | Some(REST)) => false,
            (word, Some(next)) => word == ONE || word == next,
        };
        if !fits {
            return false;
        }
    }
    others.next().is_none()
}

/// Who is subscribed to what. Memory is that of the subscriptions: an ended one leaves nothing behind.
#[derive(Clone, Debug)]
pub struct Topics<S> {
    root: Node<S>,
    patterns: BTreeMap<S, BTreeSet<Arc<str>>>,
}

#[derive(Clone, Debug)]
struct Node<S> {
    words: BTreeMap<Box<str>, Node<S>>,
    one: Option<Box<Node<S>>>,
    /// Whose pattern ends here.
    here: BTreeSet<S>,
    /// Whose pattern ends with `>` here.
    rest: BTreeSet<S>,
}

impl<S: Copy + Ord> Default for Topics<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Copy + Ord> Topics<S> {
    /// Without subscriptions.
    pub fn new() -> Self {
        Self { root: Node::new(), patterns: BTreeMap::new() }
    }

    /// Subscribes; false if it is subscribed to exactly this pattern already.
    pub fn subscribe(&mut self, pattern: &str, subscriber: S) -> Result<bool, BadPattern> {
        valid_pattern(pattern)?;
        let new = self.patterns.entry(subscriber).or_default().insert(pattern.into());
        if new {
            self.root.insert(pattern.split('.'), subscriber);
        }
        Ok(new)
    }

    /// Ends the subscription to exactly this pattern; false if there is none.
    pub fn unsubscribe(&mut self, pattern: &str, subscriber: S) -> bool {
        let Some(patterns) = self.patterns.get_mut(&subscriber) else { return false };
        let was = patterns.remove(pattern);
        if patterns.is_empty() {
            self.patterns.remove(&subscriber);
        }
        if was {
            self.root.remove(pattern.split('.'), &subscriber);
        }
        was
    }

    /// Ends all subscriptions of one subscriber, and says how many.
    pub fn remove(&mut self, subscriber: S) -> usize {
        let patterns = self.patterns.remove(&subscriber).unwrap_or_default();
        for pattern in &patterns {
            self.root.remove(pattern.split('.'), &subscriber);
        }
        patterns.len()
    }

    /// Puts everyone whose pattern stands for the topic into `found`, in place of what was there: each once, ascending.
    /// What is not a valid topic is nobody's. Costs the paths of the tree that match, not all subscriptions.
    pub fn matching(&self, topic: &str, found: &mut Vec<S>) {
        found.clear();
        if valid_topic(topic).is_err() {
            return;
        }
        let mut sets = 0;
        self.root.collect(topic.split('.'), found, &mut sets);
        if sets > 1 {
            // The sorted runs of several sets: the stable sort merges these.
            found.sort();
            found.dedup();
        }
    }

    /// The patterns of one subscriber, in order.
    pub fn patterns_of(&self, subscriber: S) -> impl Iterator<Item = &Arc<str>> {
        self.patterns.get(&subscriber).into_iter().flatten()
    }

    /// All patterns, each once, in order, at most so many.
    pub fn patterns(&self, count_max: usize) -> Vec<Arc<str>> {
        let mut all: BTreeSet<&Arc<str>> = BTreeSet::new();
        for pattern in self.patterns.values().flatten() {
            if all.len() >= count_max {
                break;
            }
            all.insert(pattern);
        }
        all.into_iter().cloned().collect()
    }

    /// How many patterns one subscriber has.
    pub fn count(&self, subscriber: S) -> usize {
        self.patterns.get(&subscriber).map_or(0, BTreeSet::len)
    }

    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// At most `TOPIC_WORDS_MAX` deep, so recursion is bounded.
impl<S: Copy + Ord> Node<S> {
    fn new() -> Self {
        Self { words: BTreeMap::new(), one: None, here: BTreeSet::new(), rest: BTreeSet::new() }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.one.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    fn insert<'a>(&mut self, mut words: impl Iterator<Item = &'a str>, subscriber: S) {
        let mut node = self;
        for word in words.by_ref() {
            node = match word {
                REST => {
                    node.rest.insert(subscriber);
                    return;
                }
                ONE => node.one.get_or_insert_with(|| Box::new(Self::new())),
                _ => node.words.entry(word.into()).or_insert_with(Self::new),
            };
        }
        node.here.insert(subscriber);
    }

    fn remove<'a>(&mut self, mut words: impl Iterator<Item = &'a str>, subscriber: &S) {
        match words.next() {
            None => drop(self.here.remove(subscriber)),
            Some(REST) => drop(self.rest.remove(subscriber)),
            Some(ONE) => {
                if let Some(node) = &mut self.one {
                    node.remove(words, subscriber);
                }
                self.one.take_if(|node| node.is_empty());
            }
            Some(word) => {
                let Some(node) = self.words.get_mut(word) else { return };
                node.remove(words, subscriber);
                if node.is_empty() {
                    self.words.remove(word);
                }
            }
        }
    }

    fn collect<'a>(&self, mut words: impl Iterator<Item = &'a str> + Clone, found: &mut Vec<S>, sets: &mut usize) {
        let Some(word) = words.next() else { return take(&self.here, found, sets) };
        take(&self.rest, found, sets);
        if let Some(node) = self.words.get(word) {
            node.collect(words.clone(), found, sets);
        }
        if let Some(node) = &self.one {
            node.collect(words, found, sets);
        }
    }
}

fn take<S: Copy>(set: &BTreeSet<S>, found: &mut Vec<S>, sets: &mut usize) {
    if !set.is_empty() {
        *sets += 1;
        found.extend(set);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(topics: &Topics<u32>, topic: &str) -> Vec<u32> {
        let mut found = vec![99];
        topics.matching(topic, &mut found);
        found
    }

    #[test]
    fn works_when_words_and_wildcards_match() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("*.b", "a.b", true),
            ("*", "a.b", false),
            ("a.*", "a", false),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("*.>", "a", false),
            ("*.>", "a.b", true),
        ];
        for (pattern, topic, expected) in cases {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_pattern_covers_only_narrower_ones() {
        assert!(covers("a.>", "a.*"));
        assert!(covers("a.>", "a.b.>"));
        assert!(covers("*", "*"));
        assert!(!covers("a.*", "a.>"));
        assert!(!covers("a.b", "a.*"));
        assert!(!covers("*.>", ">"));
    }

    #[test]
    fn refuses_what_is_no_topic_or_pattern() {
        for text in ["", ".", "a.", ".a", "a..b", "a b", "ü", "a\u{1b}"] {
            assert!(valid_topic(text).is_err() && valid_pattern(text).is_err(), "{text:?}");
        }
        for text in ["*", ">", "a.>", "*.a"] {
            assert!(valid_topic(text).is_err() && valid_pattern(text).is_ok(), "{text:?}");
        }
        for text in [">.a", "a*", "a>", "**", "a.>.>"] {
            assert!(valid_pattern(text).is_err(), "{text:?}");
        }
        assert!(valid_topic(&"a".repeat(256)).is_ok());
        assert!(valid_topic(&"a".repeat(257)).is_err());
        assert!(valid_topic(&["a"; 16].join(".")).is_ok());
        assert!(valid_topic(&["a"; 17].join(".")).is_err());
        assert!(!valid_topic("a\u{1b}[0m").unwrap_err().to_string().contains('\u{1b}'));
    }

    #[test]
    fn each_subscriber_is_found_once_and_in_order() {
        let mut topics = Topics::new();
        for (pattern, subscriber) in [("a.b", 3), ("a.*", 3), ("a.>", 1), (">", 2), ("*.b", 1), ("c", 4)] {
            assert_eq!(topics.subscribe(pattern, subscriber), Ok(true));
        }
        assert_eq!(topics.subscribe("a.b", 3), Ok(false));
        assert_eq!(found(&topics, "a.b"), [1, 2, 3]);
        assert_eq!(found(&topics, "c"), [2, 4]);
        assert_eq!(found(&topics, "a.*"), [0u32; 0]);
    }

    #[test]
    fn an_ended_subscription_leaves_nothing_behind() {
        let mut topics = Topics::new();
        for pattern in ["a.b.c", "a.*.>", "a.>", "*"] {
            topics.subscribe(pattern, 7).unwrap();
        }
        assert!(topics.unsubscribe("a.b.c", 7));
        assert!(!topics.unsubscribe("a.b.c", 7));
        assert!(!topics.unsubscribe("a.b", 8));
        assert_eq!(topics.count(7), 3);
        assert_eq!(topics.remove(7), 3);
        assert!(topics.is_empty() && topics.root.is_empty());
    }

    fn word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "c"])
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(word(), 1..6).prop_map(|words| words.join("."))
    }

    fn pattern() -> impl Strategy<Value = String> {
        let word = prop_oneof![3 => word(), 1 => Just(ONE)];
        (prop::collection::vec(word, 1..5), any::<bool>())
            .prop_map(|(words, rest)| words.join(".") + if rest { ".>" } else { "" })
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_the_patterns_say(
            steps in prop::collection::vec((pattern(), 0u32..6, prop::bool::weighted(0.7)), 0..60),
            gone in 0u32..6,
            asked in prop::collection::vec(topic(), 1..10),
        ) {
            let mut topics = Topics::new();
            let mut naive = BTreeSet::new();
            for (pattern, subscriber, on) in steps {
                if on {
                    let new = naive.insert((pattern.clone(), subscriber));
                    prop_assert_eq!(topics.subscribe(&pattern, subscriber), Ok(new));
                } else {
                    let was = naive.remove(&(pattern.clone(), subscriber));
                    prop_assert_eq!(topics.unsubscribe(&pattern, subscriber), was);
                }
            }
            topics.remove(gone);
            naive.retain(|(_, subscriber)| *subscriber != gone);
            for topic in asked {
                let expected: BTreeSet<u32> =
                    naive.iter().filter(|(pattern, _)| matches(pattern, &topic)).map(|(_, who)| *who).collect();
                prop_assert_eq!(found(&topics, &topic), expected.into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn covering_agrees_with_matching(wide in pattern(), narrow in pattern(), topic in topic()) {
            if covers(&wide, &narrow) && matches(&narrow, &topic) {
                prop_assert!(matches(&wide, &topic));
            }
        }
    }
}
