//! What both sides of a connection keep whatever the peer sends, as functions over bytes.
//!
//! A fuzzer calls one of [`TARGETS`] with bytes of its own; [`run`] makes inputs from a seed. A body
//! panics when a property fails:
//!
//! * No bytes make a side panic, before, in, or after the handshake, however they are split.
//! * What a side keeps and says is bounded: unconsumed input by a handshake message of the largest
//!   kind, output by some records, decrypted bytes by the bytes received.
//! * After an error nothing more is said.
//! * Bytes that were not tampered with come out as they went in.
//!
//! The certificate and its key stand in this crate for everyone to read: they are for this alone.

mod side;

use crate::engine::Engine;
use crate::{Identity, Roots, TlsClient, TlsServer};
pub(crate) use side::Side;
#[cfg(test)]
pub(crate) use side::shake;
use std::sync::LazyLock;

/// A fuzz body: it panics when a property fails.
pub type Target = fn(&[u8]);

/// Every fuzz body with its name.
pub const TARGETS: &[(&str, Target)] =
    &[("tls_server", server), ("tls_client", client), ("tls_tampered", tampered)];

const CERTIFICATE: &str = include_str!("fuzz/certificate.pem");
const KEY: &str = include_str!("fuzz/key.pem");
const NAME: &str = "fuzz.example";

static SERVER: LazyLock<TlsServer> = LazyLock::new(|| {
    let server = TlsServer::builder().identity(Identity::pem(CERTIFICATE, KEY));
    server.alpn(["h2"]).build().expect("the certificate in this crate is good")
});
static CLIENT: LazyLock<TlsClient> = LazyLock::new(|| {
    let client = TlsClient::builder().roots(Roots::new().pem(CERTIFICATE));
    client.alpn(["h2"]).build().expect("the certificate in this crate is good")
});

/// The two sides of a connection that nobody has disturbed yet.
pub(crate) fn sides() -> [Side; 2] {
    [Side::new(server_engine()), Side::new(client_engine())]
}

fn server_engine() -> Engine {
    SERVER.engine().expect("a server needs nothing but its configuration")
}

fn client_engine() -> Engine {
    CLIENT.engine(NAME).expect("the name is good")
}

/// Arbitrary bytes in place of a client.
pub fn server(bytes: &[u8]) {
    scribbled(Side::new(server_engine()), bytes);
}

/// Arbitrary bytes in place of a server.
pub fn client(bytes: &[u8]) {
    let mut side = Side::new(client_engine());
    side.turn();
    scribbled(side, bytes);
}

/// A connection on which a byte here and there is changed, dropped or repeated: the first bytes
/// say where, the rest is said by both applications.
pub fn tampered(bytes: &[u8]) {
    let (plan, said) = bytes.split_at(bytes.len().min(16));
    let mut sides = sides();
    let mut tamper = Tamper { plan, passed: 0 };
    let mut is_said = false;
    for turn in 0..32 {
        let [server, client] = &mut sides;
        let (from, to) = if turn % 2 == 0 { (client, server) } else { (server, client) };
        from.turn();
        if from.is_open() && !is_said {
            from.say(said);
            is_said = !said.is_empty() && turn % 2 == 1;
        }
        let mut wire = from.take_wire();
        tamper.apply(&mut wire);
        to.receive(&wire);
    }
    for side in &mut sides {
        side.turn();
        side.close();
        if plan.is_empty() {
            assert!(!side.has_failed() && side.is_open());
        }
    }
}

/// Feeds bytes to a side in pieces whose sizes the bytes themselves give.
fn scribbled(mut side: Side, bytes: &[u8]) {
    let mut rest = bytes;
    while let [size, ..] = rest {
        let (piece, after) = rest.split_at(usize::from(*size).clamp(1, rest.len()));
        side.receive(piece);
        side.turn();
        rest = after;
    }
    side.close();
}

/// Where a stream of bytes is disturbed.
struct Tamper<'a> {
    /// Pairs: after how many bytes, and what happens there.
    plan: &'a [u8],
    passed: usize,
}

impl Tamper<'_> {
    fn apply(&mut self, wire: &mut Vec<u8>) {
        while let [after, what, rest @ ..] = self.plan {
            // Handshakes are some kilobytes: steps that reach into all of it.
            let at = usize::from(*after) * 16;
            let Some(at) = at.checked_sub(self.passed).filter(|at| *at < wire.len()) else { break };
            match what % 4 {
                0 => wire[at] ^= what | 1,
                1 => drop(wire.remove(at)),
                2 => wire.insert(at, *what),
                _ => wire.truncate(at),
            }
            self.plan = rest;
        }
        self.passed += wire.len();
    }
}

/// Runs the target called `name` over `iterations` inputs made from `seed`: the same ones each time,
/// though the randomness of the cryptography is another.
///
/// Returns `false`, without running anything, when [`TARGETS`] has no such name.
///
/// # Panics
///
/// When a property fails. Seed and iteration are printed on standard error first.
pub fn run(name: &str, seed: u64, iterations: u64) -> bool {
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        return false;
    };
    let mut random = Xorshift(seed.wrapping_mul(2).wrapping_add(1));
    let mut witness = Witness { name, seed, iteration: 0 };
    while witness.iteration < iterations {
        target(&input(&mut random));
        witness.iteration += 1;
    }
    true
}

fn input(random: &mut Xorshift) -> Vec<u8> {
    let len = random.next() % 600;
    let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
    if random.next().is_multiple_of(2) {
        // The head of a record, so that more than the first byte is looked at.
        let kind = 20 + (random.next() % 5) as u8;
        let head = [64, kind, 3, 3, 0, (random.next() % 200) as u8];
        let from = bytes.len().min(head.len());
        bytes.splice(..from, head);
    }
    bytes
}

/// Says on panic what to call again.
struct Witness<'a> {
    name: &'a str,
    seed: u64,
    iteration: u64,
}

impl Drop for Witness<'_> {
    #[expect(clippy::print_stderr, reason = "the panic that follows says nothing of the input")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed, iteration } = self;
            eprintln!("{name}: seed {seed}, iteration {iteration}");
        }
    }
}

/// Marsaglia, "Xorshift RNGs", 2003: enough to spread inputs, and no dependency.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_holds_on_inputs_of_a_seed() {
        for (name, _) in TARGETS {
            for seed in 1..=4 {
                assert!(run(name, seed, 150));
            }
        }
        assert!(!run("no such body", 1, 1));
    }

    #[test]
    fn without_tampering_what_was_said_arrives() {
        tampered(b"");
        let [mut server, mut client] = sides();
        shake(&mut server, &mut client);
        client.say(b"hello");
        server.receive(&client.take_wire());
        server.turn();
        assert_eq!(server.take_plain(), b"hello");
    }
}
