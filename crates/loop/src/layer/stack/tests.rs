//! Stacks without a connection, fed in every cut.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use crate::layer::unwired::Unwired;
use crate::{Input, Layer, LayerFault, LayerIo, LayerState, Layers};
use mainspring_io::Addr;
use std::num::NonZeroUsize;
use std::time::Instant;

const WRONG: LayerFault = LayerFault::new("toy", "not that");
const CUT: LayerFault = LayerFault::new("toy", "cut");
const STUCK: LayerFault = LayerFault::new("toy", "cannot send");

/// Says and wants `greeting`; then records of one byte of length, 0 being the end, with its mark in
/// front of each. `done_after` records it is done; a record that says `!` is wrong.
struct Toy {
    mark: u8,
    greets: bool,
    agreed: bool,
    done_after: usize,
    asks: bool,
    stuck: bool,
}

impl Toy {
    fn new(mark: u8) -> Self {
        let done_after = usize::MAX;
        Self { mark, greets: true, agreed: false, done_after, asks: false, stuck: false }
    }
}

impl Layer for Toy {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        if !self.greets {
            self.agreed = true;
            return Ok(LayerState::Open);
        }
        io.wire.push(self.mark);
        Ok(LayerState::Handshake)
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        if !self.agreed && !input.is_empty() {
            if input.bytes()[0] != self.mark {
                return Err(&WRONG);
            }
            input.consume(1);
            self.agreed = true;
        }
        while io.room() > 0 && self.agreed {
            let Some(length) = input.bytes().get(1).map(|length| usize::from(*length)) else {
                break;
            };
            if input.bytes()[0] != self.mark {
                return Err(&WRONG);
            }
            if length == 0 {
                return Ok(LayerState::Ended);
            }
            if input.len() < 2 + length {
                if self.asks {
                    input.need(NonZeroUsize::new(2 + length - input.len()).unwrap());
                }
                break;
            }
            io.plain.extend_from_slice(&input.bytes()[2..2 + length]);
            input.consume(2 + length);
            self.done_after -= 1;
            if self.done_after == 0 {
                return Ok(LayerState::Done);
            }
        }
        Ok(if self.agreed { LayerState::Open } else { LayerState::Handshake })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        assert!(self.agreed, "output waits for the handshake");
        if self.stuck {
            return Err(&STUCK);
        }
        wrap(self.mark, plain, wire);
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        Err(&CUT)
    }

    fn finish(&mut self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(&[self.mark, 0]);
    }
}

fn wrap(mark: u8, plain: &[u8], wire: &mut Vec<u8>) {
    for chunk in plain.chunks(100) {
        wire.extend_from_slice(&[mark, chunk.len() as u8]);
        wire.extend_from_slice(chunk);
    }
}

fn wrapped(mark: u8, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    wrap(mark, plain, &mut wire);
    wire
}

fn alone(layers: Layers) -> Unwired {
    let anywhere = Addr::Inet("127.0.0.1:1".parse().unwrap());
    layers.unwired(anywhere.clone(), anywhere, Instant::now())
}

/// A peer of three layers says everything that can be said: what it sends, by hand.
fn three_deep() -> Vec<u8> {
    let top = [&b"c"[..], &wrapped(b'c', b"hello"), &wrapped(b'c', &[7; 250]), b"c\0"].concat();
    let middle = [&b"b"[..], &wrapped(b'b', &top), b"b\0"].concat();
    [&b"a"[..], &wrapped(b'a', &middle), b"a\0"].concat()
}

#[test]
fn three_layers_give_the_same_in_every_cut() {
    let wire = three_deep();
    for asks in [false, true] {
        let layers = || {
            let toy = |mark| Toy { asks, ..Toy::new(mark) };
            alone(Layers::new().above(toy(b'a')).above(toy(b'b')).above(toy(b'c')))
        };
        let check = |mut layers: Unwired, cut: &str| {
            let plain = [&b"hello"[..], &[7; 250]].concat();
            assert_eq!(*layers.plain(), plain, "{cut}");
            assert!(layers.is_open() && layers.has_ended(), "{cut}");
            assert_eq!((layers.held(), layers.eof()), (0, Ok(())), "{cut}");
            assert_eq!(*layers.wire(), b"aa\x01ba\x03b\x01c", "{cut}");
        };
        for at in 0..=wire.len() {
            let (mut layers, mut bytes) = (layers(), wire.clone());
            let (first, second) = bytes.split_at_mut(at);
            layers.receive(first).unwrap();
            layers.receive(second).unwrap();
            check(layers, &format!("cut at {at}"));
        }
        for size in 1..10 {
            let (mut layers, mut bytes) = (layers(), wire.clone());
            bytes.chunks_mut(size).for_each(|part| layers.receive(part).unwrap());
            check(layers, &format!("pieces of {size}"));
        }
    }
}

#[test]
fn bytes_pass_a_layer_that_is_done_in_the_middle() {
    let middle = [&b"b"[..], &wrapped(b'b', b"c"), &wrapped(b'c', b"after")].concat();
    let wire = [&b"a"[..], &wrapped(b'a', &middle)].concat();
    for at in 0..=wire.len() {
        let done = Toy { done_after: 1, ..Toy::new(b'b') };
        let mut layers =
            alone(Layers::new().above(Toy::new(b'a')).above(done).above(Toy::new(b'c')));
        let mut bytes = wire.clone();
        let (first, second) = bytes.split_at_mut(at);
        layers.receive(first).unwrap();
        layers.receive(second).unwrap();
        assert_eq!(layers.plain(), b"after", "cut at {at}");
        layers.wire().clear();
        layers.send(b"x").unwrap();
        layers.finish().unwrap();
        let end = [wrapped(b'a', b"c\x01x"), wrapped(b'a', b"c\0"), b"a\0".to_vec()].concat();
        assert_eq!(*layers.wire(), end, "what is done neither wraps nor ends anything");
    }
}

#[test]
fn what_the_last_layer_to_be_done_has_not_consumed_goes_on() {
    let mut wire = [&b"a"[..], &wrapped(b'a', b"one"), b"as it is"].concat();
    let mut layers = alone(Layers::new().above(Toy { done_after: 1, ..Toy::new(b'a') }));
    layers.receive(&mut wire).unwrap();
    layers.receive(&mut b", and more".to_vec()).unwrap();
    assert_eq!(layers.plain(), b"oneas it is, and more");
    layers.wire().clear();
    layers.send(b"bare").unwrap();
    assert_eq!(layers.wire(), b"bare");
    assert_eq!(layers.eof(), Ok(()), "a layer that is done has nothing to say about the end");
}

#[test]
fn what_comes_behind_the_end_is_dropped_and_counted() {
    let mut layers = alone(Layers::new().above(Toy::new(b'a')));
    layers.receive(&mut b"aa\x02hia\0rest".to_vec()).unwrap();
    layers.receive(&mut b"more".to_vec()).unwrap();
    assert_eq!(layers.plain(), b"hi");
    assert_eq!(layers.dropped(), 10);
}

#[test]
fn an_end_below_does_not_end_the_streams_above_it() {
    let layers = || alone(Layers::new().above(Toy::new(b'a')).above(Toy::new(b'b')));
    let mut cut = layers();
    cut.receive(&mut b"aa\x01ba\x04b\x02hia\0".to_vec()).unwrap();
    assert!(cut.has_ended());
    assert_eq!(cut.eof(), Err(&CUT), "the upper one lacks its end");
    let mut whole = layers();
    whole.receive(&mut b"aa\x01ba\x04b\x02hia\x02b\0".to_vec()).unwrap();
    assert_eq!(whole.eof(), Ok(()), "the upper one has its end, which is what counts");
}

#[test]
fn a_fault_comes_after_what_was_before_it() {
    for size in [1, 2, 100] {
        let mut layers = alone(Layers::new().above(Toy::new(b'a')).above(Toy::new(b'b')));
        let mut wire = b"aa\x01ba\x04b\x02hia\x04!\x02ho".to_vec();
        let results: Vec<_> = wire.chunks_mut(size).map(|part| layers.receive(part)).collect();
        assert!(results.contains(&Err(&WRONG)));
        assert_eq!(layers.plain(), b"hi", "pieces of {size}");
    }
}

#[test]
fn a_fault_of_a_layer_below_ends_a_send() {
    let stuck = Toy { stuck: true, greets: false, ..Toy::new(b'a') };
    let above = Toy { greets: false, ..Toy::new(b'b') };
    let mut layers = alone(Layers::new().above(stuck).above(above));
    layers.receive(&mut []).unwrap();
    assert_eq!(layers.send(b"x"), Err(&STUCK));
    assert_eq!(layers.finish(), Err(&STUCK));
}

#[test]
fn layers_put_on_while_others_agree_wait_and_what_was_said_before_goes_without_them() {
    let mut layers = alone(Layers::new().above(Toy::new(b'a')));
    layers.receive(&mut []).unwrap();
    layers.send(b"early").unwrap();
    layers.add_layer(Toy::new(b'b'));
    layers.send(b"late").unwrap();
    layers.add_layer(Toy::new(b'c'));
    layers.receive(&mut []).unwrap();
    assert_eq!(layers.wire(), b"a");
    layers.receive(&mut b"aa\x01ba\x03b\x01c".to_vec()).unwrap();
    let inner = [&b"b"[..], &wrapped(b'b', b"late"), &wrapped(b'b', b"c")];
    let wanted: Vec<u8> = inner.iter().flat_map(|bytes| wrapped(b'a', bytes)).collect();
    assert_eq!(*layers.wire(), [&b"a"[..], &wrapped(b'a', b"early"), &wanted].concat());
}

/// Makes `factor` bytes of each one, as far as there is room; owes the rest.
struct Expander {
    factor: usize,
    owed: usize,
    greets: bool,
}

impl Layer for Expander {
    fn start(&mut self, _: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        Ok(if self.greets { LayerState::Handshake } else { LayerState::Open })
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        while io.room() > 0 && (self.owed > 0 || !input.is_empty()) {
            if self.owed == 0 {
                input.consume(1);
                self.owed = self.factor;
            }
            let now = self.owed.min(io.room());
            io.plain.resize(io.plain.len() + now, b'x');
            self.owed -= now;
        }
        Ok(if self.greets { LayerState::Handshake } else { LayerState::Open })
    }

    fn send(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        Ok(())
    }
}

/// However much each layer makes of what it gets, none runs ahead of the one above it.
#[test]
fn a_stack_of_expanders_holds_a_bounded_amount() {
    let expander = |factor| Expander { factor, owed: 0, greets: false };
    let mut layers = alone(Layers::new().above(expander(1000)).above(expander(1000)));
    let (mut total, mut moved) = (0, layers.rise(&mut [0; 5000]).unwrap());
    for _ in 0..2_000 {
        assert!(moved);
        assert!(layers.plain().len() <= LayerIo::PLAIN_MAX);
        assert!(layers.held() <= 5000 + 2 * LayerIo::PLAIN_MAX, "{} held", layers.held());
        total += layers.plain().len();
        layers.plain().clear();
        moved = layers.rise(&mut []).unwrap();
    }
    assert!(total >= 1_500 * LayerIo::PLAIN_MAX, "{total} bytes came out");
    // A small one to its end: nothing is lost on the way.
    let mut small = alone(Layers::new().above(expander(700)).above(expander(900)));
    let mut total = 0;
    let mut moved = small.rise(&mut [0; 3]).unwrap();
    while moved {
        total += small.plain().len();
        small.plain().clear();
        moved = small.rise(&mut []).unwrap();
    }
    assert_eq!(total + small.plain().len(), 3 * 700 * 900);
}

/// What has not been taken from above does not count as having come in this call: a handler may
/// wait for a frame that is longer than the room.
#[test]
fn what_waits_above_does_not_take_the_room() {
    let mut layers = alone(Layers::new().above(Toy { greets: false, ..Toy::new(b'a') }));
    let plain = vec![9; 3 * LayerIo::PLAIN_MAX];
    let mut wire = wrapped(b'a', &plain);
    wire.chunks_mut(50_000).for_each(|part| layers.receive(part).unwrap());
    assert_eq!(layers.plain().len(), plain.len());
}
