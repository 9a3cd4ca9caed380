//! The layer that shows how one is made.

use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};

/// Flips bits by a key that is repeated for as long as the stream goes on, each direction from its
/// own start. It hides nothing from anyone: it is the example of a layer.
///
/// # Examples
///
/// ```
/// use mainspring_layers::Xor;
/// use mainspring_loop::Layer;
///
/// let (mut wire, mut xor) = (Vec::new(), Xor::new([1, 2, 3]));
/// xor.send(b"abcd", &mut wire)?;
/// assert_eq!(wire, [b'a' ^ 1, b'b' ^ 2, b'c' ^ 3, b'd' ^ 1]);
/// # Ok::<(), &mainspring_loop::LayerFault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Xor {
    key: Box<[u8]>,
    /// Where in the key the next byte of either direction falls.
    received: usize,
    sent: usize,
}

impl Xor {
    /// A cipher with `key`.
    ///
    /// # Panics
    ///
    /// If `key` is empty.
    #[must_use]
    pub fn new(key: impl Into<Box<[u8]>>) -> Self {
        let key = key.into();
        assert!(!key.is_empty(), "a key has at least one byte");
        Self { key, received: 0, sent: 0 }
    }
}

impl Layer for Xor {
    // As many bytes go on as have come, so that there is no need to ask for room.
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        let bytes = input.take();
        flip(bytes, &self.key, &mut self.received);
        io.plain.extend_from_slice(bytes);
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        let from = wire.len();
        wire.extend_from_slice(plain);
        flip(&mut wire[from..], &self.key, &mut self.sent);
        Ok(())
    }
}

fn flip(bytes: &mut [u8], key: &[u8], at: &mut usize) {
    let from = std::mem::replace(at, (*at + bytes.len()) % key.len());
    let keys = key[from..].iter().chain(key.iter().cycle());
    bytes.iter_mut().zip(keys).for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_give_the_bytes_back_however_they_are_cut() {
        let mut rng = fastrand::Rng::with_seed(4);
        for length in [1, 2, 3, 7, 64] {
            let key: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
            let (mut ours, mut theirs) = (Xor::new(key.clone()), Xor::new(key));
            let plain: Vec<u8> = (0..500).map(|_| rng.u8(..)).collect();
            let (mut wire, mut back) = (Vec::new(), Vec::new());
            let mut rest = &plain[..];
            while !rest.is_empty() {
                let (part, others) = rest.split_at(rng.usize(1..=rest.len()));
                ours.send(part, &mut wire).unwrap();
                rest = others;
            }
            assert_ne!(wire, plain);
            for part in wire.chunks_mut(11) {
                flip(part, &theirs.key.clone(), &mut theirs.received);
                back.extend_from_slice(part);
            }
            assert_eq!(back, plain, "key of {length}");
        }
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn an_empty_key_is_refused() {
        let _ = Xor::new([]);
    }
}
