//! What is wrong with a spec or a call, in OTP's words where it has one. Names in here are checked names, safe to show.
//! Never what is done about it.

use crate::name::Name;

use super::plan::{DEPTH_MAX, INTENSITY_MAX};

/// A contradiction in a spec. All of a spec are found at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// OTP: `duplicate_child_name`; ours holds for the whole hive.
    #[error(
        "{name} under {second} has the name of a child of {first} (OTP: duplicate_child_name; names are unique in the hive)"
    )]
    DuplicateName {
        /// The name.
        name: Name,
        /// The supervisor where it is first; the name itself if it is the root.
        first: Name,
        /// The supervisor where it is again.
        second: Name,
    },
    /// OTP: `bad_combination`.
    #[error(
        "{child} is significant and permanent: a permanent child never ends by itself (OTP: bad_combination); make it transient or temporary"
    )]
    SignificantPermanent {
        /// The child.
        child: Name,
    },
    /// OTP: `bad_combination`.
    #[error("{child} is significant, but auto_shutdown of {supervisor} is never (OTP: bad_combination)")]
    SignificantNever {
        /// The child.
        child: Name,
        /// Its supervisor.
        supervisor: Name,
    },
    /// OTP: `bad_combination`.
    #[error(
        "auto_shutdown of {supervisor} must be never: its strategy is dynamic (OTP: bad_combination with simple_one_for_one)"
    )]
    AutoShutdownDynamic {
        /// The supervisor.
        supervisor: Name,
    },
    /// OTP: `invalid_period`.
    #[error("the period of {supervisor} is 0; it must be at least 1 ms (OTP: invalid_period)")]
    PeriodZero {
        /// The supervisor.
        supervisor: Name,
    },
    /// Ours: each restart in the window is remembered.
    #[error(
        "the intensity of {supervisor} is {intensity}; at most {INTENSITY_MAX} is allowed (OTP: invalid_intensity)"
    )]
    IntensityTooLarge {
        /// The supervisor.
        supervisor: Name,
        /// What it says.
        intensity: u32,
    },
    /// Ours.
    #[error("the back-off of {supervisor} is wrong: {why}")]
    BackOff {
        /// The supervisor.
        supervisor: Name,
        /// What is wrong.
        why: &'static str,
    },
    /// Ours: the root is nobody's child.
    #[error("the root {supervisor} cannot be significant: it has no supervisor")]
    RootSignificant {
        /// The root.
        supervisor: Name,
    },
    /// Ours.
    #[error("{supervisor} is more than {DEPTH_MAX} supervisors deep")]
    TooDeep {
        /// The first that is.
        supervisor: Name,
    },
}

impl SpecError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateName { .. } => "E_SUPERVISION_DUPLICATE_NAME",
            Self::SignificantPermanent { .. } | Self::SignificantNever { .. } | Self::AutoShutdownDynamic { .. } => {
                "E_SUPERVISION_BAD_COMBINATION"
            }
            Self::RootSignificant { .. } => "E_SUPERVISION_BAD_COMBINATION",
            Self::PeriodZero { .. } => "E_SUPERVISION_PERIOD",
            Self::IntensityTooLarge { .. } => "E_SUPERVISION_INTENSITY",
            Self::BackOff { .. } => "E_SUPERVISION_BACK_OFF",
            Self::TooDeep { .. } => "E_SUPERVISION_DEPTH",
        }
    }

    /// The supervisor or child that must be changed.
    pub fn name(&self) -> &Name {
        match self {
            Self::DuplicateName { name, .. } => name,
            Self::SignificantPermanent { child } | Self::SignificantNever { child, .. } => child,
            Self::AutoShutdownDynamic { supervisor }
            | Self::PeriodZero { supervisor }
            | Self::IntensityTooLarge { supervisor, .. }
            | Self::BackOff { supervisor, .. }
            | Self::RootSignificant { supervisor }
            | Self::TooDeep { supervisor } => supervisor,
        }
    }
}

/// Why a call was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// OTP: `already_started`.
    #[error("{0} is already started")]
    AlreadyStarted(Name),
    /// OTP: `already_present`: the spec is there, but the child does not run. `restart_child` starts it.
    #[error("{0} is already present, but does not run")]
    AlreadyPresent(Name),
    /// OTP: `not_found`. The text is as it was asked for, safe to show.
    #[error("there is no {0} under a supervisor")]
    NotFound(String),
    /// OTP has no word: it would be another kind of process.
    #[error("{0} is not a supervisor")]
    NotASupervisor(Name),
    /// OTP: `noproc`.
    #[error("the supervisor {0} does not run")]
    SupervisorDown(Name),
    /// OTP: `running`.
    #[error("{0} runs")]
    Running(Name),
    /// OTP: `restarting`.
    #[error("{0} is about to be restarted")]
    Restarting(Name),
    /// OTP: `simple_one_for_one`.
    #[error(
        "the supervisor of {0} is dynamic: its children are started and terminated, not restarted or deleted (OTP: simple_one_for_one)"
    )]
    Dynamic(Name),
    /// The spec contradicts itself or its supervisor.
    #[error("the spec is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Spec(Vec<SpecError>),
}

impl ManageError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyStarted(_) => "E_ALREADY_STARTED",
            Self::AlreadyPresent(_) => "E_ALREADY_PRESENT",
            Self::NotFound(_) => "E_NOT_FOUND",
            Self::NotASupervisor(_) => "E_NOT_A_SUPERVISOR",
            Self::SupervisorDown(_) => "E_SUPERVISOR_DOWN",
            Self::Running(_) => "E_RUNNING",
            Self::Restarting(_) => "E_RESTARTING",
            Self::Dynamic(_) => "E_DYNAMIC",
            Self::Spec(_) => "E_SUPERVISION_SPEC",
        }
    }
}
