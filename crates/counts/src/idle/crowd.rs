//! Scripted peers that each ask once and then stay.

use mainspring::Addr;
use mainspring::sim::{SimPeer, World};
use std::net::{Ipv4Addr, SocketAddr};

/// Where whoever serves listens. The peers connect to many addresses behind it, as a simulated peer
/// comes from the address that it connects to, which has but 16,384 ports.
pub(super) const LISTEN_AT: &str = "0.0.0.0:5000";

/// Whoever serves the crowd on the first driver of its world.
pub(super) trait Party {
    /// Does what is to be done, and polls its driver once.
    fn turn(&mut self) -> Result<(), String>;
    /// How many connections are open.
    fn connections(&self) -> usize;
}

/// Peers of one world, all connected and idle.
pub(super) struct Crowd {
    world: World,
    rng: fastrand::Rng,
    len: usize,
}

impl Crowd {
    /// How many connect at a time. Few, as everywhere: what many at once need for a moment is not
    /// what idle ones need.
    pub(super) const WAVE: usize = 512;

    pub(super) fn new(world: World, seed: u64) -> Self {
        Self { world, rng: fastrand::Rng::with_seed(seed), len: 0 }
    }

    /// Adds `count` peers, each of which has 64 bytes echoed.
    pub(super) fn grow(&mut self, count: usize, party: &mut impl Party) -> Result<(), String> {
        let whole = self.len + count;
        while self.len < whole {
            let wave = (whole - self.len).min(Self::WAVE);
            self.add_wave(wave, party)?;
        }
        Ok(())
    }

    fn add_wave(&mut self, count: usize, party: &mut impl Party) -> Result<(), String> {
        let mut peers = Vec::with_capacity(count);
        for _ in 0..count {
            peers.push(self.connect()?);
        }
        self.rest(party)?;
        let mut requests = vec![[0; REQUEST_BYTES]; count];
        for (peer, request) in peers.iter_mut().zip(&mut requests) {
            self.rng.fill(request);
            if peer.send(request) != request.len() {
                return Err("a peer could not send its request".to_owned());
            }
        }
        self.rest(party)?;
        for (mut peer, request) in peers.into_iter().zip(&requests) {
            let answer = peer.take_received();
            if answer != request {
                return Err(format!("sent {request:?}, got {answer:?}"));
            }
            // Dropping it would close it.
            std::mem::forget(peer);
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<SimPeer, String> {
        let network = (self.len / PEERS_PER_ADDRESS) as u32;
        let ip = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + network);
        let to = Addr::Inet(SocketAddr::new(ip.into(), PORT));
        self.len += 1;
        self.world.connect(&to).map_err(|error| format!("connect to {to}: {error}"))
    }

    /// Lets everything happen that happens by itself.
    fn rest(&self, party: &mut impl Party) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.world.is_due(0) {
                party.turn()?;
            } else if !self.world.advance_to_next() {
                return Ok(());
            }
        }
        Err(format!("the world does not come to rest in {STEPS_MAX} steps"))
    }
}

const REQUEST_BYTES: usize = 64;
const PORT: u16 = 5000;
const PEERS_PER_ADDRESS: usize = 16_000;
/// A wave needs a few for each of its peers.
const STEPS_MAX: usize = 100 * Crowd::WAVE;
