//! The guard in front of a handler.

use super::{Guard, Refusal};
use mainspring_loop::{Layer, LayerFault, LayerIo};

impl Guard {
    /// The layer of one connection: judges its peer when the layers below are open, and holds its
    /// permit until the connection has ended or was detached. Whom it refuses is closed at once,
    /// without a word, and counted by the guard and among the server's refused connections.
    #[must_use]
    pub fn layer(&self) -> impl Layer + use<> {
        let (guard, mut held) = (self.clone(), None);
        move |io: &mut LayerIo<'_>| match guard.admit(&io.peer(), io.now()) {
            Ok(permit) => {
                held.replace(permit);
                Ok(())
            }
            Err(refusal) => {
                tracing::debug!(peer = %io.peer(), %refusal, "refused");
                Err(refusal.fault())
            }
        }
    }
}

impl Refusal {
    fn fault(self) -> &'static LayerFault {
        /// One for each reason, in their order.
        static FAULTS: [LayerFault; Refusal::ALL.len()] = {
            let mut faults = [LayerFault::refusal("guard", ""); Refusal::ALL.len()];
            let mut at = 0;
            while at < faults.len() {
                faults[at] = LayerFault::refusal("guard", Refusal::ALL[at].reason());
                at += 1;
            }
            faults
        };
        &FAULTS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_fault() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
            assert_eq!(refusal.fault().reason(), refusal.to_string());
            assert!(refusal.fault().is_refusal());
        }
    }
}
