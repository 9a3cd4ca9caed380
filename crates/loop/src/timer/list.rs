//! The timers of one owner, in a list through their entries.
//!
//! A list of ids beside the wheel would be one more place in memory for each timer, and another for
//! the one that takes its place there: with a million timers that is most of the cost of cancelling.

use super::{TimerId, TimerWheel};

/// The timers of one owner that are armed or due: those that end with it.
///
/// A timer that was armed in a list is cancelled in that list only.
#[derive(Debug, Default)]
pub(crate) struct TimerList {
    /// The entry armed last; `NONE` when there is none.
    first: u32,
}

/// Where a timer stands in the list of its owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    before: u32,
    after: u32,
}

/// The first entries of a wheel are heads: none of them is in a list.
const NONE: u32 = 0;

impl Owned {
    pub(super) const NOT: Self = Self { before: NONE, after: NONE };
}

impl<T: Copy> TimerWheel<T> {
    /// [Arms](TimerWheel::arm) a timer of a list.
    pub(crate) fn arm_in(
        &mut self,
        list: &mut TimerList,
        deadline_tick: u64,
        payload: T,
    ) -> TimerId {
        let after = list.first;
        let id = self.arm_as(Owned { before: NONE, after }, deadline_tick, payload);
        list.first = id.index.get();
        if after != NONE {
            self.entry_mut(after).owned.before = list.first;
        }
        id
    }

    /// [Cancels](TimerWheel::cancel) a timer of the list.
    pub(crate) fn cancel_in(&mut self, list: &mut TimerList, id: TimerId) -> Option<T> {
        self.payload(id)?;
        let Owned { before, after } = self.entry(id.index.get()).owned;
        match before {
            NONE => list.first = after,
            before => self.entry_mut(before).owned.after = after,
        }
        if after != NONE {
            self.entry_mut(after).owned.before = before;
        }
        self.cancel(id)
    }

    /// Cancels all timers of the list.
    pub(crate) fn cancel_all(&mut self, list: &mut TimerList) {
        while list.first != NONE {
            let id = self.id_of(list.first);
            self.cancel_in(list, id);
        }
    }

    /// The ids in the list, the one armed last first.
    #[cfg(test)]
    pub(super) fn ids_in(&self, list: &TimerList) -> Vec<TimerId> {
        let mut ids = Vec::new();
        let (mut before, mut index) = (NONE, list.first);
        while index != NONE {
            let owned = self.entry(index).owned;
            assert_eq!(owned.before, before);
            ids.push(self.id_of(index));
            (before, index) = (index, owned.after);
        }
        ids
    }
}
