//! Waits for events, in place of sleeping: expect one, refuse one up to a fence, a sequence, any of several, all up to a
//! fence. Whoever waits has subscribed before the trigger runs, and every wait ends: with what came instead.
//!
//! It works with telemetry off too: only the sinks are off then, who listens gets the events in any case.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use skep_core::event::{Event, Value};
use skep_runtime::{EventStream, Host, NextEvent};
use tokio::time::{Instant, timeout_at};

/// How long anything is waited for: far more than it ever takes, so that only what never comes fails.
pub const LIMIT: Duration = Duration::from_secs(60);
/// What is shown of what came instead, in events.
const SHOWN_MAX: usize = 25;

type Test = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// What an event is to be like.
pub struct Pattern {
    label: String,
    tests: Vec<Test>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Any event of this name, as `skep events` prints it.
pub fn event(name: &'static str) -> Pattern {
    Pattern { label: name.to_owned(), tests: vec![Box::new(move |event| event.what.name() == name)] }
}

/// Any event at all.
pub fn any() -> Pattern {
    Pattern { label: "any".to_owned(), tests: Vec::new() }
}

/// An agent takes messages.
pub fn ready(agent: &str) -> Pattern {
    event("agent.ready").of(agent)
}

/// An agent has ended, with this word as its reason.
pub fn exited(agent: &str, reason: &str) -> Pattern {
    event("agent.exited").of(agent).saying(reason)
}

/// An event like either.
pub fn any_of(first: Pattern, second: Pattern) -> Pattern {
    let label = format!("{first} or {second}");
    Pattern { label, tests: vec![Box::new(move |event| first.matches(event) || second.matches(event))] }
}

impl Pattern {
    /// Of this agent.
    pub fn of(self, agent: &str) -> Self {
        let (label, agent) = (format!("of {agent}"), agent.to_owned());
        self.when(&label, move |event| event.agent.as_ref().is_some_and(|of| of.name.as_str() == agent))
    }

    /// With this value in a field.
    pub fn with(self, field: &'static str, value: &str) -> Self {
        let (label, value) = (format!("with {field}={value}"), value.to_owned());
        self.when(&label, move |event| {
            event.what.fields().iter().any(|(name, found)| *name == field && shown(found) == value)
        })
    }

    /// With this text anywhere in its fields.
    pub fn saying(self, text: &str) -> Self {
        let (label, text) = (format!("saying {text:?}"), text.to_owned());
        self.when(&label, move |event| event.what.fields().iter().any(|(_, found)| shown(found).contains(&text)))
    }

    /// And this.
    pub fn when(mut self, label: &str, test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.label = format!("{} {label}", self.label);
        self.tests.push(Box::new(test));
        self
    }

    /// Whether an event is like it.
    pub fn matches(&self, event: &Event) -> bool {
        self.tests.iter().all(|test| test(event))
    }
}

/// A field's value as text.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
    }
}

/// The value of an event's field; none if it has no such field.
pub fn field(event: &Event, name: &str) -> Option<String> {
    event.what.fields().iter().find(|(found, _)| *found == name).map(|(_, value)| shown(value))
}

/// Waits for what is no event. It ends too: what never comes fails and says what it was.
pub async fn within<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let Ok(found) = tokio::time::timeout(LIMIT, wanted).await else { panic!("{what}: not in {LIMIT:?}") };
    found
}

/// Runs the trigger and waits for an event that follows from it. The trigger is a future, so it runs after the
/// subscription.
pub async fn expect<T>(host: &Host, pattern: Pattern, trigger: impl Future<Output = T>) -> (Arc<Event>, T) {
    let mut watch = Watch::on(host);
    tokio::join!(watch.expect(&pattern), trigger)
}

/// Events from the moment at which it was made. Make it before the trigger.
pub struct Watch {
    stream: EventStream,
    limit: Duration,
    last: VecDeque<String>,
    missed: u64,
}

impl Watch {
    /// Subscribes now.
    pub fn on(host: &Host) -> Self {
        Self { stream: host.events(), limit: LIMIT, last: VecDeque::new(), missed: 0 }
    }

    /// With another limit of time: for the tests of the kit itself.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Waits for an event like this. Those before it are gone.
    pub async fn expect(&mut self, pattern: &Pattern) -> Arc<Event> {
        self.first(&format!("expected {pattern}"), |event| pattern.matches(event).then_some(())).await.1
    }

    /// Waits for so many of them.
    pub async fn expect_times(&mut self, count: usize, pattern: &Pattern) -> Vec<Arc<Event>> {
        let mut found = Vec::new();
        while found.len() < count {
            let label = format!("expected {pattern}, {count} times, {} came", found.len());
            found.push(self.first(&label, |event| pattern.matches(event).then_some(())).await.1);
        }
        found
    }

    /// Waits for the fence and fails if a forbidden one comes before it. Returns the fence.
    pub async fn refuse(&mut self, forbidden: &Pattern, fence: &Pattern) -> Arc<Event> {
        let before = self.missed;
        let label = format!("expected no {forbidden} before {fence}");
        let (was_forbidden, event) = self
            .first(&label, |event| match (forbidden.matches(event), fence.matches(event)) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            })
            .await;
        assert!(!was_forbidden, "{label}, but it came: {}", line(&event));
        assert_eq!(self.missed, before, "{label}: the stream fell behind, so nobody knows");
        event
    }

    /// Waits for events like these, in this order; others may come between.
    pub async fn sequence(&mut self, patterns: &[Pattern]) -> Vec<Arc<Event>> {
        let mut found = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            let label = format!("expected step {} of a sequence, {pattern}", at + 1);
            found.push(self.first(&label, |event| pattern.matches(event).then_some(())).await.1);
        }
        found
    }

    /// Waits for the first one like any of these, and says which.
    pub async fn any_of(&mut self, patterns: &[Pattern]) -> (usize, Arc<Event>) {
        let labels: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        let label = format!("expected any of {}", labels.join(", "));
        self.first(&label, |event| patterns.iter().position(|pattern| pattern.matches(event))).await
    }

    /// All events like this up to the fence, which has to come in time however many come before it.
    pub async fn capture(&mut self, pattern: &Pattern, fence: &Pattern) -> Vec<Arc<Event>> {
        let (mut found, before) = (Vec::new(), self.missed);
        let label = format!("expected {fence} after every {pattern}");
        let wanted = |event: &Arc<Event>| {
            if pattern.matches(event) {
                found.push(event.clone());
            }
            fence.matches(event).then_some(())
        };
        self.first(&label, wanted).await;
        assert_eq!(self.missed, before, "{label}: the stream fell behind, so nobody has all of them");
        found
    }

    /// Waits until an agent takes messages.
    pub async fn ready(&mut self, agent: &str) -> Arc<Event> {
        self.expect(&ready(agent)).await
    }

    /// Waits until an agent was started again by its supervisor.
    pub async fn restarted(&mut self, agent: &str) -> Arc<Event> {
        self.expect(&event("agent.restarting").of(agent)).await;
        self.ready(agent).await
    }

    /// Waits until an agent has said what it can do.
    pub async fn registered(&mut self, agent: &str) -> Arc<Event> {
        self.expect(&event("agent.registered").of(agent)).await
    }

    /// Waits until an agent is gone for good.
    pub async fn gone(&mut self, agent: &str) -> Arc<Event> {
        self.expect(&event("agent.gone").of(agent)).await
    }

    /// The first event that `wanted` says something about, and what it says.
    async fn first<T>(&mut self, label: &str, mut wanted: impl FnMut(&Arc<Event>) -> Option<T>) -> (T, Arc<Event>) {
        let until = Instant::now() + self.limit;
        loop {
            // The limit goes before what is there: a stream that always has more must not keep the test.
            let next = if Instant::now() < until { timeout_at(until, self.stream.next()).await.ok() } else { None };
            let Some(next) = next else {
                panic!("{label}; not in {:?}, instead came:\n{}", self.limit, self.instead());
            };
            match next {
                Some(NextEvent::Event(event)) => match wanted(&event) {
                    Some(what) => return (what, event),
                    None => self.remember(&event),
                },
                Some(NextEvent::Missed(count)) => self.missed += count,
                None => panic!("{label}; the host has ended, and before it came:\n{}", self.instead()),
            }
        }
    }

    fn remember(&mut self, event: &Event) {
        if self.last.len() == SHOWN_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line(event));
    }

    fn instead(&self) -> String {
        let mut lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        let missed = format!("  ({} were missed)", self.missed);
        if self.missed > 0 {
            lines.insert(0, &missed);
        }
        if lines.is_empty() { "  nothing".to_owned() } else { lines.join("\n") }
    }
}

/// An event in a line.
fn line(event: &Event) -> String {
    let agent = event.agent.as_ref().map_or("-", |agent| agent.name.as_str());
    let fields: Vec<_> = event.what.fields().iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    format!("  {} {} {agent} {}", event.id, event.what.name(), fields.join(" "))
}
