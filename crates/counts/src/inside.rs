//! Scenes inside of this program: timers in a simulated world, posts to a loop over the real driver,
//! and a server of one thread.

use mainspring::io::{Address, ReadyDriver};
use mainspring::sim::{World, WorldOptions};
use mainspring::tasks::{Stream, Tasks};
use mainspring::wire::LengthPrefix;
use mainspring::{
    Action, CloseReason, Conn, ConnId, Cx, DriverKind, DriverLimits, FrameHandler, Framed,
    FramedConn, Handler, Input, Layer, LayerFault, LayerIo, LayerState, Layers, Opened, Remote,
    Server, SimLoop, TimerId,
};
use std::sync::OnceLock;
use std::time::Duration;

const SEED: u64 = 1;
/// Timers that one connection has at a time while it arms and cancels.
const PENDING: usize = 64;
/// Within so many milliseconds all timers fire. The same for few and for many, so that both take
/// as many turns, and the simulation's share of them cancels out.
const FIRE_WITHIN_MS: u64 = 8_192;

/// One connection arms a timer and cancels its oldest.
pub(crate) fn arm_and_cancel(repetitions: u64) -> Result<(), String> {
    simulate(Timers { repetitions, fires: false, left: 1 })
}

/// One connection arms all timers at once; they fire over eight seconds.
pub(crate) fn arm_and_fire(repetitions: u64) -> Result<(), String> {
    simulate(Timers { repetitions, fires: true, left: repetitions })
}

/// One post at a time wakes the loop.
pub(crate) fn post_one(repetitions: u64) -> Result<(), String> {
    post(repetitions, 1)
}

/// The loop finds 64 posts.
pub(crate) fn post_many(repetitions: u64) -> Result<(), String> {
    post(repetitions, 64)
}

/// Echoes for one connection, and prints where.
pub(crate) fn echo(driver: DriverKind, framed: bool, layers: u8) -> Result<(), String> {
    let builder = Server::builder().driver(driver).seed(SEED);
    let served = builder.run(|shard| {
        let addr = if framed {
            let host = shard.host(Framed::with(LengthPrefix::varint(), Echo));
            shard.listen(host, "tcp://127.0.0.1:0")?
        } else {
            let host = shard.host(Echo);
            let address: Address = "tcp://127.0.0.1:0".try_into()?;
            let stack = move || (0..layers).fold(Layers::new(), |under, _| under.above(Flip(0x5a)));
            shard.listen_layered(host, &address, address.listen_options(), stack)?
        };
        println!("counts echo: ready on tcp://{addr}");
        Ok(())
    });
    served.map_err(|error| error.to_string())
}

/// As [`echo`], by a task.
pub(crate) fn echo_by_task(driver: DriverKind) -> Result<(), String> {
    let served = Server::builder().driver(driver).seed(SEED).run(|shard| {
        let callbacks = shard.host(Echo);
        let remote = shard.remote(callbacks);
        let host = shard.host(Tasks::serve(move |stream| {
            let remote = remote.clone();
            async move {
                // How it ends makes no difference to what is counted.
                let _ = forward_all(stream).await;
                let _ = remote.post(|_, cx| cx.shutdown());
            }
        }));
        let addr = shard.listen(host, "tcp://127.0.0.1:0")?;
        println!("counts echo: ready on tcp://{addr}");
        Ok(())
    });
    served.map_err(|error| error.to_string())
}

async fn forward_all(mut stream: Stream) -> std::io::Result<()> {
    while let Some(received) = stream.receive().await? {
        stream.forward(received).await?;
    }
    Ok(())
}

/// A cipher of as few instructions as one can have: what is counted is what the loop does for it.
struct Flip(u8);

impl Layer for Flip {
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        io.plain.extend(input.take().iter().map(|byte| byte ^ self.0));
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend(plain.iter().map(|byte| byte ^ self.0));
        Ok(())
    }
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _id: ConnId, cx: &mut Cx<'_>, _reason: CloseReason) {
        cx.shutdown();
    }
}

impl FrameHandler<LengthPrefix> for Echo {
    type State = ();

    fn on_open(&mut self, _conn: &mut FramedConn<'_, LengthPrefix>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_frame(
        &mut self,
        (): &mut (),
        conn: &mut FramedConn<'_, LengthPrefix>,
        frame: &mut [u8],
    ) -> Action {
        conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
    }

    fn on_close(&mut self, (): (), _id: ConnId, cx: &mut Cx<'_>, _reason: CloseReason) {
        cx.shutdown();
    }
}

struct Timers {
    repetitions: u64,
    /// Whether timers are left to fire, or cancelled.
    fires: bool,
    /// What has to happen before the server stops.
    left: u64,
}

impl Timers {
    fn done_one(&mut self) -> Action {
        self.left -= 1;
        if self.left == 0 { Action::Shutdown } else { Action::Continue }
    }
}

impl Handler for Timers {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut after = |within_ms| Duration::from_millis(1 + rng.u64(0..within_ms));
        if self.fires {
            for _ in 0..self.repetitions {
                conn.set_timer(after(FIRE_WITHIN_MS));
            }
            return Action::Continue;
        }
        let mut pending: Vec<TimerId> =
            (0..PENDING).map(|_| conn.set_timer(after(60_000))).collect();
        for repetition in 0..self.repetitions {
            let oldest = &mut pending[repetition as usize % PENDING];
            let newest = conn.set_timer(after(60_000));
            assert!(conn.cancel_timer(std::mem::replace(oldest, newest)), "no timer has fired");
        }
        self.done_one()
    }

    fn on_timer(&mut self, (): &mut (), _conn: &mut Conn<'_>, _id: TimerId) -> Action {
        self.done_one()
    }
}

/// Runs a handler in a world until it has shut its server down. One byte starts it.
fn simulate(handler: Timers) -> Result<(), String> {
    let world = World::new(SEED, WorldOptions::default());
    let driver = world.driver("loop");
    let handler = std::cell::Cell::new(Some(handler));
    let builder = Server::builder().seed(SEED);
    let (mut loops, handle) = builder
        .simulate([driver], |shard| {
            let host = shard.host(handler.take().expect("one loop"));
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .map_err(|error| error.to_string())?;
    let mut peer = world.connect(&handle.addrs()[0]).map_err(|error| error.to_string())?;
    let mut has_asked = false;
    loop {
        has_asked = has_asked || peer.send(b"x") > 0;
        if !turn(&mut loops[0])? {
            return Ok(());
        }
        if !world.advance_to_next() {
            return Err("nothing will ever happen again".to_owned());
        }
    }
}

struct Counter(u64);

impl Handler for Counter {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        unreachable!("nobody listens")
    }
}

/// Posts as another thread would, and turns the loop; one thread does both, so that each turn finds
/// the same in every run. The wake goes through the kernel.
fn post(repetitions: u64, per_turn: u64) -> Result<(), String> {
    let driver = ReadyDriver::new(DriverLimits::default()).map_err(|error| error.to_string())?;
    let told: OnceLock<Remote<Counter>> = OnceLock::new();
    let (mut loops, _handle) = Server::builder()
        .seed(SEED)
        .simulate([driver], |shard| {
            let host = shard.host(Counter(0));
            let _ = told.set(shard.remote(host));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
    let remote = told.get().ok_or("the set-up did not run")?;
    for number in 0..repetitions {
        remote
            .post(move |counter, cx| {
                counter.0 += 1;
                if counter.0 == repetitions {
                    cx.shutdown();
                }
                assert_eq!(counter.0, number + 1, "posts of one thread keep their order");
            })
            .map_err(|full| full.to_string())?;
        if (number + 1) % per_turn == 0 {
            turn(&mut loops[0])?;
        }
    }
    while turn(&mut loops[0])? {}
    Ok(())
}

fn turn<D: mainspring::io::Driver>(sim: &mut SimLoop<D>) -> Result<bool, String> {
    sim.turn().map_err(|error| error.to_string())
}
