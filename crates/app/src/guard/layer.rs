//! The guard in front of a handler.

use super::{Guard, Permit, Refusal};
use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};

/// Judges the peer of one connection when the layers below are open, and holds its permit until the
/// connection has ended or was detached. See [`Guard::layer`].
#[derive(Debug)]
pub struct GuardLayer {
    guard: Guard,
    permit: Option<Permit>,
}

impl Guard {
    /// The layer of one connection. Whom it refuses is closed at once, without a word, and counted
    /// by the guard and among the server's refused connections.
    #[must_use]
    pub fn layer(&self) -> GuardLayer {
        GuardLayer { guard: self.clone(), permit: None }
    }
}

impl Layer for GuardLayer {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        match self.guard.admit(&io.peer(), io.now()) {
            Ok(permit) => {
                self.permit = Some(permit);
                Ok(LayerState::Done)
            }
            Err(refusal) => {
                tracing::debug!(peer = %io.peer(), %refusal, "refused");
                Err(refusal.fault())
            }
        }
    }

    fn receive(
        &mut self,
        _input: &mut Input<'_>,
        _io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        Ok(LayerState::Done)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend_from_slice(plain);
        Ok(())
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
