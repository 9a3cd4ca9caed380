//! The waker of a simulated driver.

use crate::world::{Shared, lock};
use std::fmt;
use std::sync::Arc;
use std::task::{Wake, Waker};

pub(super) fn waker(net: Shared, driver: usize) -> Waker {
    Waker::from(Arc::new(SimWaker { net, driver }))
}

/// Keeps the world alive, not the driver: waking a driver that is gone only sets a flag.
struct SimWaker {
    net: Shared,
    driver: usize,
}

impl Wake for SimWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.net).wake(self.driver);
    }
}

impl fmt::Debug for SimWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWaker").field("driver", &self.driver).finish_non_exhaustive()
    }
}
