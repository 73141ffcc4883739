//! What an idle agent takes, measured in a process of its own: memory that something else has freed would be taken for
//! none.

use std::process::{Command, Stdio};

use super::lab::{Lab, as_text, failed};
use super::memory;
use crate::api::types::{BenchNumber, List};
use crate::failure::Outcome;

/// Agents, or bare instances.
const INSTANCES: u32 = 1_000;

/// An instance of bare wasmtime after one message.
pub(super) fn raw_idle_kib(lab: &Lab) -> Outcome<Vec<f64>> {
    if !lab.alone {
        return in_own_process(lab, "raw_idle_kib");
    }
    let used = lab.control.raw_idle_kib(INSTANCES as usize);
    used.map(|kib| vec![kib]).map_err(|error| failed("the control", &error))
}

/// An agent after one message.
pub(super) fn idle_agent_kib(lab: &Lab) -> Outcome<Vec<f64>> {
    if !lab.alone {
        return in_own_process(lab, "idle_agent_kib");
    }
    lab.wait(async {
        // The hive's own part, and whatever the first agent brings, is not counted.
        memory::asked_once(lab, 1).await?.shutdown().await;
        let before = resident_kib();
        let host = memory::asked_once(lab, INSTANCES).await?;
        let used = resident_kib() - before;
        host.shutdown().await;
        Ok(vec![used / f64::from(INSTANCES)])
    })
}

fn in_own_process(lab: &Lab, name: &str) -> Outcome<Vec<f64>> {
    let program = std::env::current_exe().map_err(|error| failed("this program", &error))?;
    let dir = lab.dir("idle")?;
    let child = Command::new(program)
        .args(["bench", "--quick", "--alone", "-o", "json", "--only", name])
        .args(["--component", &as_text(&lab.guest), "--data", &as_text(&dir)])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let child = child.map_err(|error| failed("a process for a number of its own", &error))?;
    let said: List<BenchNumber> =
        serde_json::from_slice(&child.stdout).map_err(|error| failed("what the process of a number says", &error))?;
    let number = said.items.into_iter().find(|number| number.name == name);
    number.map(|number| vec![number.value]).ok_or_else(|| failed("the process of a number", &"it did not say it"))
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
