//! Two hosts of one hive, each with a data directory, and a NATS server between them, beside the client library on the same
//! server. All are on this machine, and the hosts in this process. Never what a network between them takes.

use std::time::{Duration, Instant};

use skep_bus::nats::raw::{BODY_BYTES, Control};
use skep_core::spec::Durability;
use skep_runtime::Host;

use super::lab::{Lab, agent, ask, failed};
use crate::failure::Outcome;

/// How long messages flow, here and in the controls.
const WINDOW: Duration = Duration::from_secs(2);
const WINDOW_QUICK: Duration = Duration::from_millis(300);
/// Messages before the first that count: everything is warm then, and it is known how many a window takes.
const TELLS_BEFORE: u32 = 20_000;
/// Asks between hosts, and requests without them.
const ASKS: u32 = 500;
const ASKS_QUICK: u32 = 100;
const REQUESTS: u32 = 5_000;
const REQUESTS_QUICK: u32 = 1_000;
/// How often it is looked whether hosts know of each other, and whether they are done.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS_MAX: u32 = 2_000;

/// The agent of the first host, and that of the second one.
const ONE: &str = "source";
const TWO: &str = "sink";

pub(super) fn raw_nats_tell_per_s(lab: &Lab) -> Outcome<Vec<f64>> {
    raw(lab, |control| control.tells_per_s(window(lab)))
}

pub(super) fn raw_jetstream_per_s(lab: &Lab) -> Outcome<Vec<f64>> {
    raw(lab, |control| control.jetstream_per_s(window(lab)))
}

pub(super) fn raw_nats_request_us(lab: &Lab) -> Outcome<Vec<f64>> {
    raw(lab, |control| control.request_us(lab.count(REQUESTS, REQUESTS_QUICK)))
}

fn raw(lab: &Lab, measure: impl FnOnce(&Control) -> Result<f64, skep_bus::Error>) -> Outcome<Vec<f64>> {
    let measured = Control::connect(lab.server()?).and_then(|control| measure(&control));
    measured.map(|value| vec![value]).map_err(|error| failed("the control", &error))
}

fn window(lab: &Lab) -> Duration {
    if lab.quick { WINDOW_QUICK } else { WINDOW }
}

pub(super) fn tell_per_s(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(tells_per_s(lab, Durability::None))
}

pub(super) fn tell_process_per_s(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(tells_per_s(lab, Durability::Process))
}

async fn tells_per_s(lab: &Lab, durability: Durability) -> Outcome<Vec<f64>> {
    let pair = Pair::start(lab, durability).await?;
    let before_per_s = f64::from(TELLS_BEFORE) / pair.flood(TELLS_BEFORE).await?.as_secs_f64();
    let count = (before_per_s * window(lab).as_secs_f64()) as u32;
    let taken = pair.flood(count).await?;
    pair.end().await?;
    Ok(vec![f64::from(count) / taken.as_secs_f64()])
}

/// An agent asks an agent of the other host: the median. That the program asks the first one to is in it, a thousandth.
pub(super) fn ask_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let pair = Pair::start(lab, Durability::None).await?;
        let mut taken = Vec::new();
        for _ in 0..lab.count(ASKS, ASKS_QUICK) {
            let began = Instant::now();
            pair.ask().await?;
            taken.push(began.elapsed());
        }
        pair.end().await?;
        taken.sort_unstable();
        let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
        Ok(vec![median.as_secs_f64() * 1e6])
    })
}

struct Pair {
    one: Host,
    two: Host,
}

impl Pair {
    /// Two hosts whose agents reach each other.
    async fn start(lab: &Lab, durability: Durability) -> Outcome<Self> {
        let one = lab.host_of_many("one", vec![agent(ONE, durability)?]).await?;
        let two = lab.host_of_many("two", vec![agent(TWO, durability)?]).await?;
        let pair = Self { one, two };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        for _ in 0..LOOKS_MAX {
            // Until the name of the other agent has come here, it is refused.
            if pair.ask().await.is_ok() {
                return Ok(pair);
            }
            looks.tick().await;
        }
        pair.ask().await.map(|()| pair)
    }

    async fn ask(&self) -> Outcome {
        let order = format!(r#"{{"to":"{TWO}","count":1,"size":{BODY_BYTES}}}"#);
        ask(&self.one, ONE, "asks", order).await.map(drop)
    }

    /// The first agent sends to the second, until the last is handled.
    async fn flood(&self, count: u32) -> Outcome<Duration> {
        let order = format!(r#"{{"to":"{TWO}","count":{count},"size":{BODY_BYTES}}}"#);
        let began = Instant::now();
        let (last, sent) = tokio::join!(
            ask(&self.two, TWO, "await", format!(r#"{{"count":{count}}}"#)),
            ask(&self.one, ONE, "flood", order)
        );
        last.and(sent)?;
        Ok(began.elapsed())
    }

    /// Ends the hosts once nothing waits between them: the next ones have their names, and are to begin with nothing.
    async fn end(self) -> Outcome {
        let waits = |host: &Host| host.nodes().iter().any(|node| node.outbox.messages > 0);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        for _ in 0..LOOKS_MAX {
            if !waits(&self.one) && !waits(&self.two) {
                self.one.shutdown().await;
                self.two.shutdown().await;
                return Ok(());
            }
            looks.tick().await;
        }
        Err(failed("two hosts", &"what they have sent each other is not confirmed"))
    }
}
