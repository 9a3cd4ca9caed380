//! What stands between a socket and a program's handler: who speaks, and whether he may.
//!
//! ```text
//!  accepted --> PROXY header (--proxies) --> guard (--allow, --deny, --client-..) --> [TLS] --> handler
//! ```

use crate::args::ClientArguments;
use mainspring::Layers;
use mainspring::app::guard::{Guard, GuardLimits, NetworkSet};
use mainspring::app::proxy::Inbound;

/// The layers that were asked for, the same for all byte streams of a program.
#[derive(Clone)]
pub(super) struct Front {
    inbound: Option<Inbound>,
    guard: Option<Guard>,
}

impl Front {
    pub(super) fn new(arguments: &ClientArguments) -> Self {
        let named = |sets: &[NetworkSet]| (!sets.is_empty()).then(|| NetworkSet::union(sets));
        let limits = GuardLimits {
            allow: named(&arguments.allow),
            deny: NetworkSet::union(&arguments.deny),
            client_connections_max: arguments.client_connections_max,
            client_rate: arguments.client_rate,
            rate: arguments.accept_rate,
            ..GuardLimits::default()
        };
        let is_wanted = limits.allow.is_some()
            || !limits.deny.is_empty()
            || limits.client_connections_max.is_some()
            || limits.client_rate.is_some()
            || limits.rate.is_some();
        Self {
            inbound: named(&arguments.proxies).map(Inbound::required),
            guard: is_wanted.then(|| Guard::new(limits)),
        }
    }

    /// Whether there is nothing in front.
    pub(super) fn is_open(&self) -> bool {
        self.inbound.is_none() && self.guard.is_none()
    }

    /// Whose counters the admin's page has.
    pub(super) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// The layers of one connection.
    pub(super) fn layers(&self) -> Layers {
        let mut layers = Layers::new();
        if let Some(inbound) = &self.inbound {
            layers = layers.above(inbound.layer());
        }
        if let Some(guard) = &self.guard {
            layers = layers.above(guard.layer());
        }
        layers
    }
}
