//! `random`: draws that come from the cause, so that a repeated turn draws the same. Not for secrets.

use skep_core::{Lineage, MessageId};

use super::misuse;
use crate::bindings::skep::agent::random::Host;
use crate::bindings::skep::agent::types as wit;
use crate::ctx::Ctx;
use crate::failure::Halt;
use crate::host::TurnHost;

/// The most bytes of one call.
const BYTES_MAX: u32 = 65_536;
/// Keeps draws apart from the ids of effects.
const SPACE: u128 = 0x7c83_2b14_9d06_4fe1_a5f2_90b3_66d8_3e47;

impl<H: TurnHost> Host for Ctx<H> {
    fn next(&mut self) -> wasmtime::Result<u64> {
        Ok(self.draw()?.halves().0)
    }

    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > BYTES_MAX {
            return misuse(&format!("random.bytes of {count} bytes; {BYTES_MAX} is the most"));
        }
        let count = count as usize;
        let mut bytes = Vec::with_capacity(count + 16);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.draw()?.0.to_le_bytes());
        }
        bytes.truncate(count);
        Ok(bytes)
    }

    fn new_id(&mut self) -> wasmtime::Result<wit::MessageId> {
        let accepted_ns = self.turn()?.accepted_ns();
        let count = self.draws;
        let draw = self.draw()?;
        Ok(uuid(accepted_ns, count, draw.0).halves())
    }
}

impl<H: TurnHost> Ctx<H> {
    fn draw(&mut self) -> Result<MessageId, Halt> {
        let turn = self.turn()?;
        // Without a cause, two turns differ by their time alone.
        let cause = turn.cause().map_or_else(|| turn.accepted_ns().into(), |cause| cause.0);
        let (lineage, ordinal) = (self.lineage, self.draws);
        self.draws = self.draws.wrapping_add(1);
        Ok(draw(cause, lineage, ordinal))
    }
}

fn draw(cause: u128, lineage: Lineage, ordinal: u32) -> MessageId {
    MessageId::derive(MessageId(cause ^ SPACE), lineage, ordinal)
}

/// UUID version 7: 48 bits of milliseconds, 12 bits that ascend within a cause, the rest random.
fn uuid(accepted_ns: u64, count: u32, random: u128) -> MessageId {
    let ms = u128::from(accepted_ns / 1_000_000) & ((1 << 48) - 1);
    let version = 0x7 << 76;
    let ascending = u128::from(count & 0xfff) << 64;
    let variant = 0b10 << 62;
    MessageId((ms << 80) | version | ascending | variant | (random & ((1 << 62) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_differ() {
        assert_eq!(draw(1, Lineage(2), 3), draw(1, Lineage(2), 3));
        assert_ne!(draw(1, Lineage(2), 3), draw(1, Lineage(2), 4));
        assert_ne!(draw(1, Lineage(2), 3), draw(2, Lineage(2), 3));
        assert_ne!(draw(1, Lineage(2), 3), MessageId::derive(MessageId(1), Lineage(2), 3));
    }

    #[test]
    fn new_ids_are_in_the_order_of_time_and_are_uuids_of_version_7() {
        let text = uuid(1_700_000_000_000_000_000, 5, u128::MAX).to_string();
        assert_eq!(&text[12..13], "7");
        assert_eq!(&text[16..17], "b");
        assert!(uuid(1_000_000, 9, u128::MAX) < uuid(2_000_000, 0, 0));
        assert!(uuid(1_000_000, 1, u128::MAX) < uuid(1_000_000, 2, 0));
    }
}
