//! The numbers that stand for names in this instance, and the names they stand for. Never leaves the instance.

use std::cell::RefCell;
use std::rc::Rc;

use crate::host::names;

/// An instance may hold so many numbers (the host's rule); what is above is asked for each time.
pub(crate) const NUMBERS_MAX: usize = 65_537;

#[derive(Default)]
struct Table {
    names: Vec<Option<Rc<str>>>,
    kinds: Vec<(Rc<str>, u32)>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// Takes what the host tells with a batch.
pub(crate) fn learn(told: Vec<(u32, String)>) {
    if !told.is_empty() {
        TABLE.with_borrow_mut(|table| told.into_iter().for_each(|(number, name)| table.keep(number, name.into())));
    }
}

/// The name of a number; none for the outside and for numbers that nobody told.
pub(crate) fn name(number: u32) -> Option<Rc<str>> {
    if number == 0 {
        return None;
    }
    let known = TABLE.with_borrow(|table| table.names.get(number as usize).cloned().flatten());
    known.or_else(|| {
        let name: Rc<str> = names::name_of(number)?.into();
        TABLE.with_borrow_mut(|table| table.keep(number, Rc::clone(&name)));
        Some(name)
    })
}

/// The number of a kind, asked for once. The list is as long as the author's kinds are many.
pub(crate) fn kind(kind: &str) -> u32 {
    let known =
        TABLE.with_borrow(|table| table.kinds.iter().find(|(name, _)| **name == *kind).map(|(_, number)| *number));
    known.unwrap_or_else(|| {
        let number = names::number_of(kind);
        TABLE.with_borrow_mut(|table| table.keep_kind(kind, number));
        number
    })
}

impl Table {
    fn keep(&mut self, number: u32, name: Rc<str>) {
        let index = number as usize;
        if index >= NUMBERS_MAX {
            return;
        }
        if index >= self.names.len() {
            self.names.resize(index.saturating_add(1), None);
        }
        if let Some(slot) = self.names.get_mut(index) {
            *slot = Some(name);
        }
    }

    fn keep_kind(&mut self, kind: &str, number: u32) {
        /// More kinds than any author writes; envelopes could bring any number.
        const KINDS_MAX: usize = 64;
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push((kind.into(), number));
        }
    }
}
