//! What a session sends: asks, and messages that need no answer. Never what follows from it for the session.

use skep_core::message::HOPS_MAX;
use skep_core::session::AskId;
use skep_core::turn::Effect;
use skep_core::{Bytes, Channel, Class, Message, MessageId, Name, Rare, SendError};
use skep_engine::{Failure, Room, TurnHost};

use super::guest::{SessionGuest, unusable};
use super::mail;

/// An ask of a session ends by itself so long after the session, in nanoseconds: the session keeps its own time.
const ASK_OUTLIVES_NS: u64 = 60_000_000_000;

impl SessionGuest {
    /// The id under which the ask is on its way, or why it is not.
    pub(super) async fn ask(
        &mut self,
        ask: AskId,
        to: &str,
        schema: &str,
        body: String,
        again: Option<String>,
    ) -> Result<Result<MessageId, SendError>, Failure> {
        let info = self.running.as_ref().map(|running| &running.opened.info);
        let (opened_ns, deadline_ms) = info.map(|info| (info.opened_ns, info.deadline_ms)).unwrap_or_default();
        let ends_ns = opened_ns.saturating_add(deadline_ms.saturating_mul(1_000_000));
        let class = Class::Ask { deadline_ns: ends_ns.saturating_add(ASK_OUTLIVES_NS), blocking: false };
        let mut headers = vec![(mail::ASK.to_owned(), ask.to_string())];
        headers.extend(again.map(|why| (mail::NOT_UNDERSTOOD.to_owned(), why)));
        let message = match self.message(schema, class, body.into(), headers)? {
            Ok(message) => message,
            Err(error) => return Ok(Err(error)),
        };
        let id = message.id;
        Ok(self.send(to, message).await?.map(|()| id))
    }

    /// Whoever is not there, or has no room, misses it: nothing hangs on it.
    pub(super) async fn tell(
        &mut self,
        to: &str,
        kind: &str,
        body: String,
        about: Option<AskId>,
    ) -> Result<(), Failure> {
        let headers = about.map(|ask| (mail::ASK.to_owned(), ask.to_string())).into_iter().collect();
        if let Ok(message) = self.message(kind, Class::Tell, body.into(), headers)? {
            drop(self.send(to, message).await?);
        }
        Ok(())
    }

    /// A message of the session, if it may be one.
    fn message(
        &mut self,
        kind: &str,
        class: Class,
        body: Bytes,
        headers: Vec<(String, String)>,
    ) -> Result<Result<Box<Message>, SendError>, Failure> {
        let body_bytes_max = self.host.body_bytes_max();
        if body.len() > body_bytes_max as usize {
            return Ok(Err(SendError::TooLarge(body_bytes_max)));
        }
        let (lineage, sender, now_ns) = (self.host.lineage(), self.host.cell.id, self.host.wall_ns());
        let kind = Name::new(kind).map_err(|bad| unusable(bad.to_string()))?;
        let turn = self.turn()?;
        let hops = turn.hops().saturating_add(1);
        let Some(id) = turn.next_id(lineage).filter(|_| hops <= HOPS_MAX) else {
            return Ok(Err(SendError::Limit("hops".to_owned())));
        };
        let rare = Rare { headers, content_type: Some("application/json".to_owned()), ..Rare::default() };
        Ok(Ok(Box::new(Message {
            id,
            sender,
            kind,
            channel: Channel::Coordination,
            class,
            failed_turns: 0,
            hops,
            accepted_ns: now_ns,
            row: None,
            body,
            rare: Some(Box::new(rare)),
        })))
    }

    async fn send(&mut self, to: &str, message: Box<Message>) -> Result<Result<(), SendError>, Failure> {
        let Some(to) = Name::new(to).ok().and_then(|name| self.host.resolve(&name)) else {
            return Ok(Err(SendError::Absent));
        };
        let (channel, weight_bytes, asks) = (message.channel, message.weight_bytes(), message.wants_reply());
        let room = match self.host.reserve(to, channel, weight_bytes, asks) {
            Room::Reserved => Ok(()),
            Room::Full => self.host.wait_for_room(to, channel, weight_bytes, asks).await,
            Room::Refused(error) => Err(error),
        };
        if room.is_ok() {
            self.turn()?.push(Effect::Send { to, message });
        }
        Ok(room)
    }
}
