//! Memory that the tasks of a thread have done with, for what is received and written next.

use crate::window::Memory;
use std::cell::{Cell, RefCell};

thread_local! {
    static SPARES: Spares =
        const { Spares { last: Cell::new(None), others: RefCell::new(Vec::new()) } };
}

/// What is received often becomes what is written, and the memory of that comes back when the
/// connection has got it: then one is in use, the last one given.
struct Spares {
    last: Cell<Option<Box<Memory>>>,
    #[expect(clippy::vec_box, reason = "they are boxes wherever they are used")]
    others: RefCell<Vec<Box<Memory>>>,
}

impl Spares {
    /// Others than the last one.
    const COUNT_MAX: usize = 16;
    /// A vector that grew beyond this is freed rather than kept.
    const CAPACITY_MAX: usize = 256 << 10;

    #[inline(never)]
    fn take_other(&self) -> Box<Memory> {
        self.others.borrow_mut().pop().unwrap_or_default()
    }

    #[inline(never)]
    fn keep(&self, spare: Box<Memory>) {
        let mut others = self.others.borrow_mut();
        if others.len() < Self::COUNT_MAX {
            others.push(spare);
        }
    }
}

/// Memory without bytes in it.
#[inline(always)]
pub(crate) fn take() -> Box<Memory> {
    SPARES.with(|spares| match spares.last.take() {
        Some(last) => last,
        None => spares.take_other(),
    })
}

/// Takes memory back, also while the thread ends.
#[inline(always)]
pub(crate) fn give(mut spare: Box<Memory>) {
    spare.clear();
    if spare.bytes.capacity() > Spares::CAPACITY_MAX {
        return;
    }
    // Without a list any more, it is freed.
    let _ = SPARES.try_with(|spares| {
        if let Some(before) = spares.last.replace(Some(spare)) {
            spares.keep(before);
        }
    });
}
