//! Sessions of protocols: a step by itself, and a whole session over agents.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep_core::session::{AskId, Envelope, Event, Inbound, Info};
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Protocol, SessionSpec};

use super::lab::{Lab, agent, failed};
use crate::failure::Outcome;

/// The protocol that is measured, beside the bench's guest.
const FILE: &str = "auction-sealed-bid.wasm";
/// Members of a session.
const MEMBERS: u32 = 100;
/// Windows of steps, and the steps of one.
const WINDOWS: u32 = 40;
const WINDOWS_QUICK: u32 = 10;
const STEPS: u32 = 200;
/// Sessions, of which the fastest counts.
const SESSIONS: u32 = 10;
const SESSIONS_QUICK: u32 = 3;
/// Longer than any session takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn file(lab: &Lab) -> PathBuf {
    lab.guest.with_file_name(FILE)
}

fn member(at: u32) -> String {
    format!("bidder-{at}")
}

fn declaration() -> Outcome<SessionSpec> {
    let members: Vec<Value> = (0..MEMBERS).map(|at| json!({"id": member(at)})).collect();
    let config = json!({"item": "lamp", "rule": "second", "reserve": 1, "bid_by_ms": 60_000});
    let spec = json!({"config": config, "members": members, "seed": 1, "deadline_ms": 120_000});
    serde_json::from_value(spec).map_err(|error| failed("a declaration", &error))
}

/// The first answer of an auction: its state has an open ask for each member.
struct Moment {
    protocol: Protocol,
    info: Info,
    state: String,
    envelope: Envelope,
}

impl Moment {
    async fn of(lab: &Lab) -> Outcome<Self> {
        let protocol = Protocol::open(&file(lab), None)?;
        let info = protocol.info("bench", &declaration()?)?;
        let state = protocol.init(&info).await?;
        let start = Envelope { seq: 0, at_ms: 0, event: Event::Start };
        let state = protocol.step(&info, &state, &start).await?.state;
        let bid = Inbound {
            sender: member(0),
            msg_id: "1".to_owned(),
            in_reply_to: Some(AskId { seq: 0, index: 0 }),
            body: r#"{"bid":10}"#.to_owned(),
        };
        let envelope = Envelope { seq: 1, at_ms: 1, event: Event::Message(bid) };
        Ok(Self { protocol, info, state, envelope })
    }
}

pub(super) fn raw_step_us(lab: &Lab) -> Outcome<Vec<f64>> {
    let moment = lab.wait(Moment::of(lab))?;
    let measured = skep_engine::raw::step_us(&file(lab), &moment.info, &moment.state, &moment.envelope);
    measured.map(|value| vec![value]).map_err(|error| failed("the control", &error))
}

pub(super) fn step_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let Moment { protocol, info, state, envelope } = Moment::of(lab).await?;
        let mut best = f64::INFINITY;
        for _ in 0..lab.count(WINDOWS, WINDOWS_QUICK) {
            let began = Instant::now();
            for _ in 0..STEPS {
                protocol.step(&info, &state, &envelope).await?;
            }
            best = best.min(began.elapsed().as_secs_f64() * 1e6 / f64::from(STEPS));
        }
        Ok(vec![best])
    })
}

pub(super) fn session_100_ms(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let members = (0..MEMBERS).map(|at| agent(&member(at), Durability::Full)).collect::<Outcome<Vec<_>>>()?;
        let host = lab.hive_with("session", members, &[("auction", file(lab))]).await?;
        let spec = declaration()?;
        let mut best = f64::INFINITY;
        for at in 0..lab.count(SESSIONS, SESSIONS_QUICK) {
            let name = format!("session-{at}");
            let began = Instant::now();
            host.open_session(&name, "auction", &spec).await?;
            let options = AskOptions { timeout: PATIENCE, ..AskOptions::default() };
            let record = host.outcome(&name, options).await?;
            best = best.min(began.elapsed().as_secs_f64() * 1e3);
            if record.outcome.code != "sold" {
                return Err(failed("a session", &record.outcome.code));
            }
        }
        host.shutdown().await;
        Ok(vec![best])
    })
}
