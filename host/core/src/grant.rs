//! What an agent may touch, in the form that is asked. Never remembers what was asked and never sends an event.

use std::sync::Arc;

use crate::message::Channel;
use crate::name::{Name, shown};
use crate::spec::Grants;
use crate::topic::{BadPattern, covers, matches, valid_pattern};

/// The word that stands for the agent's own plugin in `spawn`.
const SELF: &str = "self";

/// A grant that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadGrant {
    /// Neither a name nor the beginning of one and `*`.
    #[error("grants.send_to of {agent}: {text} is neither a name nor a prefix ending in *")]
    Address {
        /// Whose grants these are.
        agent: Name,
        /// What it says, safe to show.
        text: String,
    },
    /// No pattern of topics.
    #[error("grants.{key} of {agent}: {cause}")]
    Topic {
        /// Whose grants these are.
        agent: Name,
        /// publish or subscribe.
        key: &'static str,
        /// What is wrong.
        cause: BadPattern,
    },
    /// No name of a plugin.
    #[error("grants.spawn of {agent}: {text} is not the name of a plugin")]
    Plugin {
        /// Whose grants these are.
        agent: Name,
        /// What it says, safe to show.
        text: String,
    },
}

/// The grants of one agent. Cheap to clone; many agents share the lists. What is denied is denied with a text that
/// names the grant, its agent and what it lacks, and is safe to show.
#[derive(Clone, Debug)]
pub struct Granted {
    own: Name,
    plugin: Name,
    lists: Arc<Lists>,
}

#[derive(Debug)]
struct Lists {
    channels: [bool; Channel::ALL.len()],
    /// Sorted.
    names: Box<[Name]>,
    prefixes: Box<[Box<str>]>,
    publish: Box<[Box<str>]>,
    subscribe: Box<[Box<str>]>,
    spawn: Box<[Name]>,
    spawn_self: bool,
    children_max: u32,
}

impl Granted {
    /// The grants of the agent `own`, which runs `plugin`.
    pub fn new(own: Name, plugin: Name, grants: &Grants) -> Result<Self, BadGrant> {
        let lists = Arc::new(Lists::new(&own, grants)?);
        Ok(Self { own, plugin, lists })
    }

    /// The same for another agent: a child has what its parent has, no more.
    pub fn inherited(&self, own: Name, plugin: Name) -> Self {
        Self { own, plugin, lists: Arc::clone(&self.lists) }
    }

    /// Whether it may send to an agent on a channel. To itself it always may; a reply is not asked about at all.
    pub fn may_send(&self, channel: Channel, to: &Name) -> Result<(), String> {
        if *to == self.own {
            return Ok(());
        }
        if !self.lists.channels.get(channel as usize).is_some_and(|granted| *granted) {
            return Err(self.lacks("channels", channel.name()));
        }
        if self.lists.addresses(to) { Ok(()) } else { Err(self.lacks("send_to", to.as_str())) }
    }

    /// Whether it may publish on a valid topic.
    pub fn may_publish(&self, topic: &str) -> Result<(), String> {
        let granted = self.lists.publish.iter().any(|pattern| matches(pattern, topic));
        if granted { Ok(()) } else { Err(self.lacks("publish", topic)) }
    }

    /// Whether it may subscribe to a valid pattern: to no more than one of its grants stands for.
    pub fn may_subscribe(&self, pattern: &str) -> Result<(), String> {
        let granted = self.lists.subscribe.iter().any(|grant| covers(grant, pattern));
        if granted { Ok(()) } else { Err(self.lacks("subscribe", pattern)) }
    }

    /// Whether it may spawn a child of a plugin, none being its own, when it has so many children already.
    pub fn may_spawn(&self, plugin: Option<&Name>, children: u32) -> Result<(), String> {
        let plugin = plugin.unwrap_or(&self.plugin);
        let own = *plugin == self.plugin && self.lists.spawn_self;
        if !own && !self.lists.spawn.contains(plugin) {
            let missing = if *plugin == self.plugin { SELF } else { plugin.as_str() };
            return Err(self.lacks("spawn", missing));
        }
        if children >= self.lists.children_max {
            return Err(format!("grants.children_max of {} is {}", self.own, self.lists.children_max));
        }
        Ok(())
    }

    fn lacks(&self, key: &str, what: &str) -> String {
        format!("grants.{key} of {} does not have {}", self.own, shown(what, 128))
    }
}

impl Lists {
    fn new(own: &Name, grants: &Grants) -> Result<Self, BadGrant> {
        let (names, prefixes) = addresses(own, &grants.send_to)?;
        let (spawn_self, spawn) = plugins(own, &grants.spawn)?;
        Ok(Self {
            channels: Channel::ALL.map(|channel| grants.channels.contains(&channel)),
            names,
            prefixes,
            publish: patterns(own, "publish", &grants.publish)?,
            subscribe: patterns(own, "subscribe", &grants.subscribe)?,
            spawn,
            spawn_self,
            children_max: grants.children_max,
        })
    }

    fn addresses(&self, to: &Name) -> bool {
        self.names.binary_search(to).is_ok() || self.prefixes.iter().any(|prefix| to.as_str().starts_with(&**prefix))
    }
}

type Addresses = (Box<[Name]>, Box<[Box<str>]>);

fn addresses(own: &Name, texts: &[String]) -> Result<Addresses, BadGrant> {
    let bad = |text: &str| BadGrant::Address { agent: own.clone(), text: shown(text, 64) };
    let (mut names, mut prefixes) = (Vec::new(), Vec::new());
    for text in texts {
        match text.strip_suffix('*') {
            // All names begin with nothing.
            Some(prefix) if prefix.is_empty() || Name::new(prefix).is_ok() => prefixes.push(prefix.into()),
            _ => names.push(Name::new(text).map_err(|_| bad(text))?),
        }
    }
    names.sort();
    Ok((names.into(), prefixes.into()))
}

fn patterns(own: &Name, key: &'static str, texts: &[String]) -> Result<Box<[Box<str>]>, BadGrant> {
    let bad = |cause| BadGrant::Topic { agent: own.clone(), key, cause };
    texts.iter().map(|text| valid_pattern(text).map(|()| text.as_str().into()).map_err(bad)).collect()
}

fn plugins(own: &Name, texts: &[String]) -> Result<(bool, Box<[Name]>), BadGrant> {
    let bad = |text: &str| BadGrant::Plugin { agent: own.clone(), text: shown(text, 64) };
    let names = texts.iter().filter(|text| *text != SELF).map(|text| Name::new(text).map_err(|_| bad(text)));
    Ok((texts.iter().any(|text| text == SELF), names.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn granted(grants: &Grants) -> Granted {
        Granted::new(name("me"), name("mine"), grants).unwrap()
    }

    #[test]
    fn nothing_is_granted_by_default_but_itself() {
        let granted = granted(&Grants::default());
        assert_eq!(granted.may_send(Channel::Control, &name("me")), Ok(()));
        for channel in Channel::ALL {
            assert!(granted.may_send(channel, &name("other")).is_err());
        }
        assert!(granted.may_publish("a").is_err());
        assert!(granted.may_subscribe("a").is_err());
        assert!(granted.may_spawn(None, 0).is_err());
    }

    #[test]
    fn refuses_with_the_grant_that_is_missing() {
        let granted = granted(&Grants {
            channels: vec![Channel::Events],
            send_to: texts(&["ledger", "worker-*"]),
            spawn: texts(&["self"]),
            children_max: 2,
            ..Grants::default()
        });
        assert_eq!(granted.may_send(Channel::Events, &name("ledger")), Ok(()));
        assert_eq!(granted.may_send(Channel::Events, &name("worker-17")), Ok(()));
        let denied = |result: Result<(), String>| result.unwrap_err();
        assert_eq!(
            denied(granted.may_send(Channel::Control, &name("ledger"))),
            "grants.channels of me does not have control"
        );
        assert_eq!(
            denied(granted.may_send(Channel::Events, &name("ledger-2"))),
            "grants.send_to of me does not have ledger-2"
        );
        assert_eq!(denied(granted.may_publish("a.b")), "grants.publish of me does not have a.b");
        assert_eq!(denied(granted.may_subscribe("a.>")), "grants.subscribe of me does not have a.>");
        assert_eq!(denied(granted.may_spawn(Some(&name("x")), 0)), "grants.spawn of me does not have x");
        assert_eq!(denied(granted.may_spawn(None, 2)), "grants.children_max of me is 2");
    }

    #[test]
    fn its_own_plugin_may_be_granted_by_either_name() {
        for word in ["self", "mine"] {
            let granted = granted(&Grants { spawn: texts(&[word]), children_max: 1, ..Grants::default() });
            assert_eq!(granted.may_spawn(None, 0), Ok(()));
            assert_eq!(granted.may_spawn(Some(&name("mine")), 0), Ok(()));
        }
        let granted = granted(&Grants { spawn: texts(&["other"]), children_max: 1, ..Grants::default() });
        assert_eq!(granted.may_spawn(None, 0), Err("grants.spawn of me does not have self".to_owned()));
    }

    #[test]
    fn a_subscription_may_not_be_wider_than_its_grant() {
        let granted =
            granted(&Grants { publish: texts(&["orders.*"]), subscribe: texts(&["orders.>"]), ..Grants::default() });
        assert_eq!(granted.may_publish("orders.new"), Ok(()));
        assert!(granted.may_publish("orders.new.eu").is_err());
        assert_eq!(granted.may_subscribe("orders.*.eu"), Ok(()));
        assert!(granted.may_subscribe(">").is_err());
        assert!(granted.may_subscribe("*.new").is_err());
    }

    #[test]
    fn a_star_alone_is_everyone() {
        let granted = granted(&Grants { channels: vec![Channel::Data], send_to: texts(&["*"]), ..Grants::default() });
        assert_eq!(granted.may_send(Channel::Data, &name("anyone")), Ok(()));
    }

    #[test]
    fn a_child_has_its_parents_grants_under_its_own_name() {
        let parent = granted(&Grants { spawn: texts(&["x"]), children_max: 1, ..Grants::default() });
        let child = parent.inherited(name("child"), name("x"));
        assert_eq!(child.may_send(Channel::Events, &name("child")), Ok(()));
        assert!(child.may_send(Channel::Events, &name("me")).is_err());
        assert_eq!(child.may_spawn(None, 0), Ok(()));
    }

    #[test]
    fn refuses_grants_that_are_none() {
        let new = |grants: &Grants| Granted::new(name("me"), name("mine"), grants).unwrap_err().to_string();
        let address = new(&Grants { send_to: texts(&["a*b"]), ..Grants::default() });
        assert_eq!(address, "grants.send_to of me: a*b is neither a name nor a prefix ending in *");
        let topic = new(&Grants { publish: texts(&["a..b"]), ..Grants::default() });
        assert_eq!(topic, "grants.publish of me: a..b is not a topic pattern: a word is empty");
        let plugin = new(&Grants { spawn: texts(&["a b"]), ..Grants::default() });
        assert_eq!(plugin, "grants.spawn of me: a b is not the name of a plugin");
    }
}
