//! What a protocol says of itself, and whether this host can run it. Never whether what it says is true.

use serde::{Deserialize, Serialize};

use crate::name::{BadName, Name};

/// The longest state that a manifest may ask for, in bytes.
pub(crate) const STATE_BYTES_MAX: u32 = 16 << 20;
/// The most effects of one step that a manifest may ask for.
pub(crate) const EFFECTS_PER_STEP_MAX: u32 = 100_000;
/// The most fuel of one step that a manifest may ask for: seconds of processor time.
pub(crate) const FUEL_PER_STEP_MAX: u64 = 100_000_000_000;
/// The most members of a session.
pub const MEMBERS_MAX: u32 = 10_000;

/// What a protocol says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name: `auction/sealed-bid`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its state's form.
    pub state_version: u32,
    /// JSON Schema of the config.
    pub config_schema: String,
    /// JSON Schema of the outcome's body.
    pub outcome_schema: String,
    /// JSON Schemas of the answers, by the name that asks give.
    pub ask_schemas: Vec<(String, String)>,
    /// Roles that members may have; empty: none.
    pub roles: Vec<String>,
    /// Whether messages of different members may not be exchanged in their order.
    pub order_sensitive: bool,
    /// Whether members may come later.
    pub allows_join: bool,
    /// Words for what it guarantees.
    pub properties: Vec<String>,
    /// See there.
    pub timing: Timing,
    /// See there.
    pub limits: Limits,
}

/// How long, and for how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The deadline of a session that names none, in milliseconds.
    pub default_deadline_ms: u64,
    /// The fewest members.
    pub members_min: u32,
    /// The most members; none: what the host bears.
    pub members_max: Option<u32>,
}

/// What one step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The state after it, in bytes.
    pub state_bytes_max: u32,
    /// Its effects.
    pub effects_per_step_max: u32,
    /// Its fuel: about one for each instruction.
    pub fuel_per_step: u64,
}

/// Why this host cannot run a protocol, or not with these members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A limit over what the host bears.
    #[error("its manifest wants {what} = {wanted}, and the host gives at most {most}")]
    Limit {
        /// Which.
        what: &'static str,
        /// What it wants.
        wanted: u64,
        /// What there is.
        most: u64,
    },
    /// Something that is not offered.
    #[error("its manifest wants {0}, which this host does not offer")]
    NotOffered(&'static str),
    /// Too few or too many members.
    #[error("it is for {min} to {max} members, and there are {found}")]
    Members {
        /// The fewest.
        min: u32,
        /// The most.
        max: u32,
        /// How many there are.
        found: usize,
    },
    /// Two members of one name.
    #[error("{0} is a member twice")]
    Twice(String),
    /// A member that no agent can be.
    #[error("a member is no agent's name: {0}")]
    Member(#[from] BadName),
    /// A role that the protocol does not have.
    #[error("the protocol has no role {0:?}")]
    Role(String),
}

impl Manifest {
    /// Whether the host bears what the protocol wants.
    pub fn check(&self) -> Result<(), Unfit> {
        if self.allows_join {
            return Err(Unfit::NotOffered("members that join later"));
        }
        let limits = [
            ("max-state-bytes", self.limits.state_bytes_max.into(), STATE_BYTES_MAX.into()),
            ("max-effects-per-step", self.limits.effects_per_step_max.into(), EFFECTS_PER_STEP_MAX.into()),
            ("fuel-per-step", self.limits.fuel_per_step, FUEL_PER_STEP_MAX),
        ];
        match limits.into_iter().find(|(_, wanted, most)| wanted > most) {
            Some((what, wanted, most)) => Err(Unfit::Limit { what, wanted, most }),
            None => Ok(()),
        }
    }

    /// Whether these can be the members.
    pub fn check_members(&self, members: &[super::Member]) -> Result<(), Unfit> {
        let (min, max) = (self.timing.members_min, self.timing.members_max.unwrap_or(MEMBERS_MAX).min(MEMBERS_MAX));
        if members.len() < min as usize || members.len() > max as usize {
            return Err(Unfit::Members { min, max, found: members.len() });
        }
        members.iter().try_for_each(|member| Name::new(&member.id).map(drop))?;
        let mut names: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find_map(|pair| pair.first().filter(|first| pair.last() == Some(first))) {
            return Err(Unfit::Twice((*twice).to_owned()));
        }
        let knows = |role: &String| role.is_empty() || self.roles.contains(role);
        match members.iter().find(|member| !knows(&member.role)) {
            Some(member) => Err(Unfit::Role(member.role.clone())),
            None => Ok(()),
        }
    }
}
