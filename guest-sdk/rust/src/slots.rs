//! From the number of a kind to its handler, by name the first time and by index from then on.

use crate::agent::Handler;
use crate::names;

/// No handler has this name.
const NOBODY: u16 = u16::MAX;

/// By number: 0 is not looked up yet, else the handler's index and one.
#[derive(Default)]
pub(crate) struct Slots(Vec<u16>);

impl Slots {
    pub(crate) fn find<A>(&mut self, kind: u32, handlers: &'static [Handler<A>]) -> Option<&'static Handler<A>> {
        let slot = match self.0.get(kind as usize) {
            Some(slot) if *slot != 0 => *slot,
            _ => self.look_up(kind, handlers),
        };
        handlers.get((slot as usize).wrapping_sub(1))
    }

    #[cold]
    fn look_up<A>(&mut self, kind: u32, handlers: &[Handler<A>]) -> u16 {
        let name = names::name(kind).unwrap_or_default();
        let found = handlers.iter().position(|handler| handler.name == &*name);
        let slot = found.and_then(|index| u16::try_from(index.saturating_add(1)).ok()).unwrap_or(NOBODY);
        let index = kind as usize;
        if index < names::NUMBERS_MAX {
            if index >= self.0.len() {
                self.0.resize(index.saturating_add(1), 0);
            }
            if let Some(place) = self.0.get_mut(index) {
                *place = slot;
            }
        }
        slot
    }
}
