//! Memory that the tasks of a thread have done with, for what is received and written next.

use crate::window::Memory;
use std::cell::Cell;

thread_local! {
    static SPARES: Spares = const { Spares { first: Cell::new(None), count: Cell::new(0) } };
}

/// A list, the last one given at its front. What is received often becomes what is written, and the
/// memory of that comes back when the connection has got it: then one is in use.
struct Spares {
    first: Cell<Option<Box<Memory>>>,
    count: Cell<usize>,
}

const COUNT_MAX: usize = 16;
/// A vector that grew beyond this is freed rather than kept.
const CAPACITY_MAX: usize = 256 << 10;

/// Memory without bytes in it.
#[inline]
pub(crate) fn take() -> Box<Memory> {
    SPARES.with(|spares| {
        let Some(mut first) = spares.first.take() else { return Box::default() };
        spares.first.set(first.next.take());
        spares.count.set(spares.count.get() - 1);
        first
    })
}

/// Takes memory back, also while the thread ends.
#[inline(never)]
pub(crate) fn give(mut spare: Box<Memory>) {
    spare.clear();
    if spare.capacity() > CAPACITY_MAX {
        return;
    }
    // Without a list any more, it is freed.
    let _ = SPARES.try_with(|spares| {
        if spares.count.get() < COUNT_MAX {
            spares.count.set(spares.count.get() + 1);
            spare.next = spares.first.take();
            spares.first.set(Some(spare));
        }
    });
}
