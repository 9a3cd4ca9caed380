//! TLS over a simulated network that reads and writes in parts, delays, and resets. The randomness
//! of the cryptography is not the seed's; what comes of it must be the same all the same.
#![forbid(unsafe_code)]

use mainspring_io::{Addr, Address};
use mainspring_loop::{
    Action, Balance, CloseReason, Conn, ConnId, Cx, Handler, Input, Layers, Opened, Server,
    ServerInfo, Shard,
};
use mainspring_sim::{Faults, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use mainspring_tls::{Identity, Roots, TlsClient, TlsServer};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CERTIFICATE: &str = include_str!("../src/fuzz/certificate.pem");
const KEY: &str = include_str!("../src/fuzz/key.pem");
const CONNECTIONS: usize = 12;
const SAID_MAX: usize = 200_000;

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// How a dialled connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    said: usize,
    heard: usize,
    /// What was heard is what was said, as far as it goes.
    same: bool,
    reason: CloseReason,
}

/// Dials, says something, ends its side, and hears it back.
struct Dialler {
    tls: TlsClient,
    rng: fastrand::Rng,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

struct Said {
    bytes: Vec<u8>,
    heard: usize,
    same: bool,
}

impl Handler for Dialler {
    type State = Said;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let Addr::Inet(at) = server.addrs[0] else { panic!("an inet address") };
        for _ in 0..CONNECTIONS {
            let bytes = (0..self.rng.usize(1..SAID_MAX)).map(|_| self.rng.u8(..)).collect();
            let said = Said { bytes, heard: 0, same: true };
            let layers = Layers::new().above(self.tls.layer("fuzz.example").unwrap());
            let this = cx.this::<Self>();
            cx.connect_layered(this, &Address::tcp(at), said, layers).expect("there is room");
        }
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<Said> {
        Opened::Refuse
    }

    fn on_connected(&mut self, said: &mut Said, conn: &mut Conn<'_>) -> Action {
        conn.out().extend_from_slice(&said.bytes);
        conn.finish();
        Action::Continue
    }

    fn on_data(&mut self, said: &mut Said, _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let heard = input.take();
        let wanted = said.bytes[said.heard..].get(..heard.len());
        said.same &= wanted == Some(&*heard);
        said.heard += heard.len();
        Action::Continue
    }

    fn on_close(&mut self, said: Said, _id: ConnId, _cx: &mut Cx<'_>, reason: CloseReason) {
        let Said { bytes, heard, same } = said;
        let outcome = Outcome { said: bytes.len(), heard, same, reason };
        self.outcomes.lock().unwrap().push(outcome);
    }
}

/// One loop that serves and one that dials, until every dialled connection has ended.
fn run(seed: u64, faults: Faults) -> Vec<Outcome> {
    let mut options = WorldOptions::default();
    options.faults = faults;
    let world = World::new(seed, options);
    let tls = TlsServer::builder().identity(Identity::pem(CERTIFICATE, KEY)).build().unwrap();
    let client = TlsClient::builder().roots(Roots::new().pem(CERTIFICATE)).build().unwrap();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let told = outcomes.clone();
    let setup = move |shard: &mut Shard<'_>| {
        let echo = shard.host(echo);
        tls.listen(shard, echo, "tcp://127.0.0.1:0")?;
        if shard.loop_index() == 1 {
            let (tls, rng) = (client.clone(), fastrand::Rng::with_seed(seed));
            shard.host(Dialler { tls, rng, outcomes: told.clone() });
        }
        Ok(())
    };
    let builder = Server::builder().seed(seed).balance(Balance::RoundRobin);
    let mut server = SimServer::start(&world, 2, builder, setup).unwrap();
    let all = |_: &SimServer| outcomes.lock().unwrap().len() == CONNECTIONS;
    let reached = server.run_until(Duration::from_secs(120), all);
    let outcomes = outcomes.lock().unwrap().clone();
    assert_eq!(reached, Reached::Condition, "seed {seed}: {outcomes:?}");
    outcomes
}

#[test]
fn every_byte_comes_back_under_faults_that_harm_nothing() {
    for seed in 0..12 {
        for attempt in 0..2 {
            for outcome in run(seed, Faults::harmless(seed)) {
                let Outcome { said, heard, same, reason } = outcome;
                assert!(same && heard == said, "seed {seed}, {attempt}: {heard} of {said}");
                assert_eq!(reason, CloseReason::Peer, "seed {seed}, {attempt}");
            }
        }
    }
}

#[test]
fn what_a_reset_leaves_is_a_part_and_the_end_is_told() {
    let (mut whole, mut cut) = (0, 0);
    for seed in 100..116 {
        let faults = Faults::all(seed);
        for Outcome { said, heard, same, reason } in run(seed, faults) {
            assert!(same, "seed {seed}: other bytes came back");
            match reason {
                CloseReason::Peer => {
                    assert_eq!(heard, said, "seed {seed}: a good end, and bytes are missing");
                    whole += 1;
                }
                _ => cut += 1,
            }
        }
    }
    assert!(whole > 20 && cut > 10, "{whole} whole, {cut} cut");
}
