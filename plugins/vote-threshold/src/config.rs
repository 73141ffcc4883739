//! The config, checked beyond what its schema says.

use serde::{Deserialize, Serialize};
use skep_protocol::serde_json::Value;

use crate::rule::{Base, Need, Rule, Tie};
use crate::share::Share;

const OPTIONS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Config {
    pub(crate) terms: Terms,
    pub(crate) vote_by_ms: u64,
    pub(crate) rule: Rule,
}

/// What the voters are told, as the config has it.
#[derive(Serialize)]
pub(crate) struct Terms {
    question: Value,
    pub(crate) options: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorum: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    question: Value,
    #[serde(default = "yes_and_no")]
    options: Vec<String>,
    rule: Option<String>,
    quota: Option<u64>,
    base: Option<Base>,
    quorum: Option<String>,
    vote_by_ms: u64,
    #[serde(default)]
    tie: Tie,
    #[serde(default)]
    drop_on_crash: bool,
}

fn yes_and_no() -> Vec<String> {
    ["yes", "no"].map(str::to_owned).to_vec()
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { question, options, rule, quota, base, quorum, vote_by_ms, tie, drop_on_crash } = written;
        check(&options)?;
        let need = need(rule.as_deref(), quota)?;
        let base = match need {
            Need::Share(_) => Some(base.unwrap_or_default()),
            _ if base.is_some() => return Err("there is a base, and no share of it".to_owned()),
            _ => None,
        };
        let share = quorum.as_deref().map(|text| Share::read(text, false)).transpose();
        let share = share.map_err(|error| format!("the quorum: {error}"))?;
        let rule_read = Rule { need, base: base.unwrap_or_default(), quorum: share, tie, drop_on_crash };
        Ok(Self { terms: Terms { question, options, rule, quota, base, quorum }, vote_by_ms, rule: rule_read })
    }
}

fn check(options: &[String]) -> Result<(), String> {
    if options.is_empty() || options.len() > OPTIONS_MAX {
        return Err(format!("{} options: there may be 1 to {OPTIONS_MAX}", options.len()));
    }
    let mut before = std::collections::BTreeSet::new();
    match options.iter().find(|option| !before.insert(option.as_str())) {
        Some(option) => Err(format!("the option {option:?} is there twice")),
        None => Ok(()),
    }
}

fn need(rule: Option<&str>, quota: Option<u64>) -> Result<Need, String> {
    match (rule, quota) {
        (Some(_), Some(_)) => Err("there are a rule and a quota: one of them, please".to_owned()),
        (None, None) => Err("there is no rule and no quota".to_owned()),
        (None, Some(0)) => Err("a quota of 0 is reached by all".to_owned()),
        (None, Some(quota)) => Ok(Need::Quota(quota)),
        (Some("plurality"), None) => Ok(Need::Most),
        (Some("=1"), None) => Ok(Need::Share(Share::ALL)),
        (Some(rule), None) => share(rule).map_err(|error| format!("the rule: {error}")),
    }
}

fn share(rule: &str) -> Result<Need, String> {
    let share = match (rule.strip_prefix(">="), rule.strip_prefix('>')) {
        (Some("1"), _) => Share::ALL,
        (Some(share), _) => Share::read(share, false)?,
        (None, Some(share)) => Share::read(share, true)?,
        (None, None) => return Err(format!("{rule:?} is not `plurality`, `=1`, `>p/q` or `>=p/q`")),
    };
    Ok(Need::Share(share))
}
