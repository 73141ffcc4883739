//! The controls: the same work without Skep. They live in the rooms whose libraries they drive; here they are only named.

use skep_store::raw::{self, Length};

use super::durable::{WINDOW, WINDOWS, WINDOWS_QUICK};
use super::lab::{Lab, failed};
use crate::failure::Outcome;

/// Instances of the ring: as many as Skep's has agents.
pub(super) const RING: u32 = 1_000;
/// Turns of one transaction.
const GROUP: u64 = 256;

pub(super) fn raw_call(lab: &Lab) -> Outcome<Vec<f64>> {
    one(lab.control.raw_call())
}

pub(super) fn raw_batch64(lab: &Lab) -> Outcome<Vec<f64>> {
    one(lab.control.raw_batch64())
}

pub(super) fn raw_ring(lab: &Lab) -> Outcome<Vec<f64>> {
    one(lab.control.raw_ring(RING as usize))
}

pub(super) fn raw_spawn_us(lab: &Lab) -> Outcome<Vec<f64>> {
    one(lab.control.raw_spawn_us())
}

pub(super) fn raw_restart_us(lab: &Lab) -> Outcome<Vec<f64>> {
    one(lab.control.raw_restart_us())
}

pub(super) fn raw_store_per_s(lab: &Lab) -> Outcome<Vec<f64>> {
    let windows = lab.count(WINDOWS, WINDOWS_QUICK);
    let length = Length { turns_max: u64::MAX, time_max: WINDOW, windows };
    one(raw::turns_per_s(&lab.dir("control")?, GROUP, length).map(|run| run.turns_per_s))
}

pub(super) fn fdatasync_us(lab: &Lab) -> Outcome<Vec<f64>> {
    one(raw::fdatasync_us(&lab.dir("sync")?))
}

fn one(measured: Result<f64, impl std::fmt::Display>) -> Outcome<Vec<f64>> {
    measured.map(|value| vec![value]).map_err(|error| failed("the control", &error))
}
