//! The simulated network as a stage: virtual time, faults, and a trace that repeats.

use super::ledger::Book;
use super::life::set_up;
use super::plan::Plan;
use super::planted::Planted;
use super::service::DetachedSockets;
use super::stage::{Played, PlayedDatagrams, Stage};
use crate::SimServer;
use fastrand::Rng;
use mainspring_io::Addr;
use mainspring_loop::{Handle, Shard};
use mainspring_sim::{Faults, SimDatagramPeer, SimDriver, SimPeer, World, WorldOptions};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A server whose loops are turned one after the other.
pub(super) struct Simulated {
    world: World,
    server: SimServer<Planted<SimDriver>>,
}

impl Simulated {
    pub(super) fn new(
        world: &World,
        plan: &Arc<Plan>,
        book: &Book,
        detached: &DetachedSockets,
    ) -> Self {
        let setup = |shard: &mut Shard<'_>| set_up(shard, plan, book, detached);
        let wrap = |driver| Planted::new(driver, &plan.trap);
        let server = SimServer::start_over(world, plan.loops, wrap, plan.builder(), setup)
            .expect("the world has free ports");
        Self { world: world.clone(), server }
    }

    pub(super) fn world_options(plan: &Plan, log: bool) -> WorldOptions {
        let mut options = WorldOptions::default();
        options.pipe_bytes = plan.pipe_bytes;
        options.limits = plan.limits.driver.clone();
        options.faults = plan.faults.clone();
        options.datagrams_leaving = 4;
        options.log = log;
        options
    }
}

impl Stage for Simulated {
    type Peer = SimPeer;
    type Datagrams = SimDatagramPeer;

    const STANDS_STILL: bool = true;

    fn now(&self) -> Duration {
        self.world.elapsed()
    }

    fn handle(&self) -> &Handle {
        self.server.handle()
    }

    fn is_over(&mut self) -> bool {
        self.server.is_over()
    }

    fn connect(&mut self, to: &Addr) -> SimPeer {
        self.world.connect(to).expect("an address to connect to")
    }

    fn bind(&mut self) -> SimDatagramPeer {
        let at = Addr::Inet("127.0.0.1:0".parse().expect("an address"));
        self.world.bind(&at).expect("a free port")
    }

    fn turn(&mut self) -> bool {
        self.server.turn_due()
    }

    fn wait(&mut self, latest: Option<Duration>) {
        self.world.advance_to_next_by(latest);
    }

    fn jog(&mut self, rng: &mut Rng) {
        if rng.u16(..2048) == 0 {
            let driver = rng.usize(..self.server.handle().stats().loops.len());
            self.world.wake_later(driver, Duration::from_micros(rng.u64(..10_000)));
        }
    }

    fn calm(&mut self) {
        self.world.set_faults(Faults::none());
    }

    fn buffered_bytes(&self) -> impl Iterator<Item = usize> {
        self.server.buffered_bytes()
    }
}

impl Played for SimPeer {
    fn send(&mut self, bytes: &[u8]) -> usize {
        SimPeer::send(self, bytes)
    }

    fn take_received(&mut self) -> Vec<u8> {
        SimPeer::take_received(self)
    }

    fn stop_reading(&mut self) {
        SimPeer::stop_reading(self);
    }

    fn resume_reading(&mut self) {
        SimPeer::resume_reading(self);
    }

    fn shutdown_write(&mut self) {
        SimPeer::shutdown_write(self);
    }

    fn reset(&mut self) {
        SimPeer::reset(self);
    }

    fn close(&mut self) {
        SimPeer::close(self);
    }

    fn is_connected(&mut self) -> bool {
        SimPeer::is_connected(self)
    }

    fn connect_error(&mut self) -> Option<io::ErrorKind> {
        SimPeer::connect_error(self)
    }

    fn eof(&mut self) -> bool {
        SimPeer::eof(self)
    }

    fn reset_seen(&mut self) -> bool {
        SimPeer::reset_seen(self)
    }

    fn write_ended(&mut self) -> bool {
        SimPeer::write_ended(self)
    }

    fn local_addr(&self) -> Addr {
        SimPeer::local_addr(self).expect("an open peer")
    }
}

impl PlayedDatagrams for SimDatagramPeer {
    fn send_to(&mut self, to: &Addr, payload: &[u8]) {
        SimDatagramPeer::send_to(self, to, payload);
    }

    fn receive(&mut self) -> Option<(Addr, Vec<u8>)> {
        SimDatagramPeer::receive(self)
    }
}
