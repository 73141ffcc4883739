//! A member of an auction, typed, as an author would write it. Its config says what it bids; with `nonsense_first` it first
//! answers what is no bid.

use skep_sdk::prelude::*;

#[data]
#[derive(Default)]
struct Settings {
    bid: u64,
    #[serde(default)]
    nonsense_first: bool,
}

#[agent]
#[derive(Default)]
struct Bidder {
    settings: Settings,
}

/// The ask of `auction/sealed-bid`.
#[message(reply = Answer)]
struct CallForBids {
    reserve: u64,
}

#[data]
#[serde(rename_all = "lowercase")]
enum Answer {
    Bid(u64),
    Pass(bool),
    Nonsense,
}

/// Nobody waits for the answer any more.
#[message(kind = "session.closed")]
#[serde(rename_all = "lowercase")]
enum SessionClosed {
    Expired,
    Cancelled,
    Late,
}

#[handlers]
impl Bidder {
    fn start(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn call_for_bids(&self, ctx: &mut Context, call: CallForBids) -> Answer {
        let Settings { bid, nonsense_first } = self.settings;
        match ctx.header("skep-not-understood") {
            Some(why) => ctx.telemetry().event("asked_again", &[("why", &why)]),
            None if nonsense_first => return Answer::Nonsense,
            None => (),
        }
        if bid < call.reserve { Answer::Pass(true) } else { Answer::Bid(bid) }
    }

    fn session_closed(&self, ctx: &mut Context, closed: SessionClosed) {
        let ask = ctx.header("skep-ask").unwrap_or_default();
        let how = match closed {
            SessionClosed::Expired => "expired",
            SessionClosed::Cancelled => "cancelled",
            SessionClosed::Late => "late",
        };
        ctx.telemetry().event("closed", &[("ask", &ask), ("how", how)]);
    }
}
