//! Tasks in seeded worlds: partial writes, late data, resets, half-closes, refused dials, slow
//! readers. Every failure names its seed.
#![forbid(unsafe_code)]

use futures_io::{AsyncBufRead, AsyncRead};
use mainspring_io::{Addr, Address};
use mainspring_loop::{Error, Handle, Limits, Server, Shard, SimLoop};
use mainspring_sim::{Faults, SimDriver, SimPeer, World, WorldOptions};
use mainspring_tasks::{ReadHalf, Stream, Tasks, WriteHalf, connect, sleep, spawn, timeout};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

const SERVER: &str = "tcp://10.0.0.1:5000";
const UPSTREAM: &str = "tcp://10.0.0.1:5001";
const TURNS_MAX: usize = 200_000;
const SEEDS: std::ops::Range<u64> = 0..24;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Calm,
    /// Every byte still arrives.
    Rough,
    Stormy,
}

const WEATHERS: [Weather; 3] = [Weather::Calm, Weather::Rough, Weather::Stormy];

/// The ways in which a connection can be served; its first byte chooses. In each, what goes in comes
/// out.
const WAYS: &[u8] = b"ecbsrfmx";

async fn served(mut stream: Stream) -> io::Result<()> {
    match stream.peek(1).await?.first() {
        None => Ok(()),
        Some(b'e') => echo(stream, 777).await,
        Some(b'c') => echo_impatiently(stream).await,
        Some(b'b') => echo_buffered(stream).await,
        Some(b's') => {
            let (read, write) = stream.split();
            let copied = spawn(copy(read, write));
            copied.await.map_err(io::Error::other)?
        }
        Some(b'f') => forward(stream).await,
        Some(b'm') => forward_mixed(stream).await,
        Some(b'x') => relay_whole(stream).await,
        Some(_) => relay(stream).await,
    }
}

async fn echo(mut stream: Stream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

/// Gives most reads up, and loses nothing by that.
async fn echo_impatiently(mut stream: Stream) -> io::Result<()> {
    let mut buffer = vec![0; 3_000];
    loop {
        match timeout(Duration::from_micros(300), stream.read(&mut buffer)).await {
            Err(_elapsed) => {}
            Ok(Ok(0)) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count?]).await?,
        }
    }
}

/// Takes its time between looking at bytes and consuming them.
async fn echo_buffered(mut stream: Stream) -> io::Result<()> {
    let mut rounds = 0;
    loop {
        let shown = poll_fn(|cx| Pin::new(&mut stream).poll_fill_buf(cx).map_ok(<[u8]>::to_vec));
        let shown = shown.await?;
        if shown.is_empty() {
            return Ok(());
        }
        rounds += 1;
        if rounds % 5 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let part = shown.len().div_ceil(2);
        stream.write_all(&shown[..part]).await?;
        Pin::new(&mut stream).consume(part);
    }
}

async fn copy(mut from: ReadHalf, mut to: WriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; 5_000];
    loop {
        match poll_fn(|cx| Pin::new(&mut from).poll_read(cx, &mut buffer)).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}

async fn relay(stream: Stream) -> io::Result<()> {
    let upstream = connect(UPSTREAM).await?;
    let (from_client, to_client) = stream.split();
    let (from_upstream, to_upstream) = upstream.split();
    let there = spawn(copy(from_client, to_upstream));
    let back = copy(from_upstream, to_client).await;
    // Dropping the handle cancels the other direction if this one broke.
    back?;
    there.await.map_err(io::Error::other)?
}

async fn forward(mut stream: Stream) -> io::Result<()> {
    while let Some(received) = stream.receive().await? {
        stream.forward(received).await?;
    }
    Ok(())
}

/// Peeks, takes a part of what it is given, holds on to the rest for a while, reads another part, and
/// gives up every third wait.
async fn forward_mixed(mut stream: Stream) -> io::Result<()> {
    let (mut buffer, mut rounds) = ([0; 333], 0);
    loop {
        rounds += 1;
        let patience = Duration::from_micros(if rounds % 3 == 0 { 200 } else { 1_000_000_000 });
        stream.peek(rounds % 700).await?;
        let Ok(received) = timeout(patience, stream.receive()).await else { continue };
        let Some(mut received) = received? else { return Ok(()) };
        let part = received.len() / 3;
        stream.write_all(&received[..part]).await?;
        received.advance(part);
        if rounds % 4 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        stream.forward(received).await?;
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

async fn relay_whole(stream: Stream) -> io::Result<()> {
    let (mut from_client, mut to_client) = stream.split();
    let (mut from_upstream, mut to_upstream) = connect(UPSTREAM).await?.split();
    let there = spawn(async move {
        // Its half of the stream ends here, and tells upstream that this was all.
        mainspring_tasks::copy(&mut from_client, &mut to_upstream).await
    });
    let back = mainspring_tasks::copy(&mut from_upstream, &mut to_client).await?;
    let there = there.await.map_err(io::Error::other)??;
    assert_eq!(there, back, "bytes copied");
    Ok(())
}

/// Counts the tasks of connections that live.
struct Living(Rc<Cell<usize>>);

impl Living {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn setup(shard: &mut Shard<'_>, living: &Rc<Cell<usize>>) -> Result<(), Error> {
    let count = living.clone();
    let host = shard.host(Tasks::serve(move |stream| {
        let living = Living::new(&count);
        async move {
            let _living = living;
            // What the weather does to it is its peer's affair.
            let _ = served(stream).await;
        }
    }));
    shard.listen(host, SERVER)?;
    let count = living.clone();
    let host = shard.host(Tasks::serve(move |stream| {
        let living = Living::new(&count);
        async move {
            let _living = living;
            let _ = echo(stream, 10_000).await;
        }
    }));
    shard.listen(host, UPSTREAM)?;
    Ok(())
}

struct Stage {
    world: World,
    loops: Vec<SimLoop<SimDriver>>,
    server: Handle,
    living: Rc<Cell<usize>>,
    run: String,
}

impl Stage {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut options = WorldOptions::default();
        options.faults = match weather {
            Weather::Calm => Faults::none(),
            Weather::Rough => Faults::harmless(seed),
            Weather::Stormy => Faults::all(seed),
        };
        let world = World::new(seed, options);
        let drivers = [world.driver("loop 0"), world.driver("loop 1")];
        let limits = Limits { output_high: 8_000, output_low: 4_000, ..Limits::default() };
        let living = Rc::new(Cell::new(0));
        let builder = Server::builder().seed(seed).limits(limits);
        let simulated = builder.simulate(drivers, |shard| setup(shard, &living));
        let (loops, server) = simulated.expect("starts");
        Self { world, loops, server, living, run: format!("seed {seed}, {weather:?}") }
    }

    /// Turns whatever is due until `done`, called after each round, says so.
    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            let due = self.world.due();
            if due.is_empty() && !self.world.advance_to_next() {
                // Only what the script does next can happen.
                self.world.advance(Duration::from_millis(1));
            }
            for index in due {
                self.loops[index].turn().expect("the poller is not lost");
            }
        }
        panic!("{}: {TURNS_MAX} turns were not enough for {what}", self.run);
    }
}

struct Talker {
    peer: SimPeer,
    text: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    has_reset: bool,
}

impl Talker {
    fn new(stage: &Stage, rng: &mut fastrand::Rng) -> Self {
        let address: Address = SERVER.parse().expect("an address");
        let at: Addr = address.resolve().expect("literal").remove(0);
        let mut text = vec![0; rng.usize(1..120_000)];
        rng.fill(&mut text);
        text[0] = WAYS[rng.usize(..WAYS.len())];
        let peer = stage.world.connect(&at).expect("an address to connect to");
        Self { peer, text, sent: 0, got: Vec::new(), has_reset: false }
    }

    fn talk(&mut self, rng: &mut fastrand::Rng, weather: Weather) {
        let until = self.text.len().min(self.sent + rng.usize(1..20_000));
        self.sent += self.peer.send(&self.text[self.sent..until]);
        match rng.u32(..200) {
            0 => self.peer.stop_reading(),
            1 if weather == Weather::Stormy && rng.u32(..20) == 0 => {
                self.peer.reset();
                self.has_reset = true;
            }
            2..12 => self.peer.resume_reading(),
            _ => {}
        }
        self.got.extend(self.peer.take_received());
        let done = self.sent == self.text.len();
        if done && !self.peer.write_ended() {
            self.peer.shutdown_write();
        }
        if done || self.is_broken() {
            self.peer.resume_reading();
        }
    }

    fn is_broken(&self) -> bool {
        self.has_reset || self.peer.reset_seen() || self.peer.connect_error().is_some()
    }
}

fn run(seed: u64, weather: Weather) -> u64 {
    let mut stage = Stage::new(seed, weather);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut talkers: Vec<Talker> =
        (0..rng.usize(1..8)).map(|_| Talker::new(&stage, &mut rng)).collect();
    let mut held = 0;
    stage.until("the last byte", |stage| {
        talkers.iter_mut().for_each(|talker| talker.talk(&mut rng, weather));
        held = held.max(stage.server.stats().total.buffered_bytes);
        let over = |talker: &Talker| talker.is_broken() || talker.peer.eof();
        talkers.iter().all(over)
    });
    let run = stage.run.clone();
    for (nth, talker) in talkers.iter().enumerate() {
        let (got, text) = (&talker.got, &talker.text);
        assert!(text.starts_with(got), "{run}: talker {nth} got other bytes");
        if weather != Weather::Stormy {
            assert_eq!(got.len(), text.len(), "{run}: talker {nth}, {}", char::from(text[0]));
        }
    }
    // Each connection: its output's mark, the delivery that is held back, and what came after it.
    let most = 2 * talkers.len() as u64 * (8_000 + (512 << 10));
    assert!(held <= most, "{run}: {held} bytes were held");
    drop(talkers);
    let living = stage.living.clone();
    stage.until("the end of all tasks", |_| living.get() == 0);
    stage.server.stop();
    stage.until("the end of the server", |stage| stage.loops.iter().all(SimLoop::is_over));
    let total = stage.server.stats().total;
    assert_eq!((total.panics, total.connections, total.buffered_bytes), (0, 0, 0), "{run}");
    assert_eq!(total.closed, total.accepted + total.dialled, "{run}");
    stage.world.trace_hash()
}

#[test]
fn what_goes_in_comes_out_in_every_way_and_weather() {
    for seed in SEEDS {
        for weather in WEATHERS {
            run(seed, weather);
        }
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let first: Vec<u64> = SEEDS.map(|seed| run(seed, Weather::Stormy)).collect();
    for (seed, hash) in SEEDS.zip(&first) {
        assert_eq!(run(seed, Weather::Stormy), *hash, "seed {seed} does not repeat");
    }
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
}

/// A server that is stopped while its tasks are at all kinds of things leaves none behind.
#[test]
fn a_stop_at_any_time_ends_every_task() {
    for seed in SEEDS {
        let mut stage = Stage::new(seed, Weather::Stormy);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut talkers: Vec<Talker> = (0..6).map(|_| Talker::new(&stage, &mut rng)).collect();
        let mut rounds = rng.usize(1..400);
        stage.until("the stop", |_| {
            talkers.iter_mut().for_each(|talker| talker.talk(&mut rng, Weather::Stormy));
            rounds -= 1;
            rounds == 0
        });
        stage.server.stop();
        stage.until("the end", |stage| {
            talkers.iter_mut().for_each(|talker| talker.talk(&mut rng, Weather::Stormy));
            stage.loops.iter().all(SimLoop::is_over)
        });
        assert_eq!(stage.living.get(), 0, "{}: tasks are left", stage.run);
        assert_eq!(stage.server.stats().total.panics, 0, "{}", stage.run);
    }
}

/// What was lent to a task and is not read is the loop's again: counted, and not the driver's memory.
#[test]
fn what_a_task_leaves_of_a_delivery_is_counted_by_the_loop() {
    const SENT: usize = 10_000;
    const READ: usize = 100;
    let world = World::new(7, WorldOptions::default());
    let simulated = Server::builder().seed(7).simulate([world.driver("loop 0")], |shard| {
        let host = shard.host(Tasks::serve(|mut stream: Stream| async move {
            let mut first = [0; READ];
            stream.read_exact(&mut first).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            stream.write_all(&first).await.unwrap();
            forward(stream).await.unwrap();
        }));
        shard.listen(host, SERVER).map(drop)
    });
    let (mut loops, server) = simulated.expect("starts");
    let mut peer = world.connect(&server.addrs()[0]).expect("connects");
    let text: Vec<u8> = (0..SENT).map(|at| at as u8).collect();
    let (mut sent, mut got, mut held) = (0, Vec::new(), 0);
    for _ in 0..TURNS_MAX {
        if peer.is_connected() && sent < SENT {
            sent += peer.send(&text[sent..]);
        }
        loops[0].turn().expect("the poller is not lost");
        held = held.max(server.stats().total.buffered_bytes as usize);
        got.extend(peer.take_received());
        if got.len() == SENT {
            break;
        }
        assert!(world.advance_to_next(), "nothing will ever happen again");
    }
    assert!(got == text, "{} other bytes came back", got.len());
    assert_eq!(held, SENT - READ);
}
