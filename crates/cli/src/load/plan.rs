//! What is to be sent, decided before the first connection.

use super::framing::Framing;
use crate::args::{FramingName, LoadArguments};
use crate::service::Failure;
use mainspring::{Address, Limits};
use std::time::Duration;

/// Messages are cut out of one block of random bytes, at places this far apart at most: as many
/// different messages, at the price of none.
const PLACES: u64 = 65_521;
/// What may be under way on one connection when nobody says how much.
const UNDER_WAY_BYTES: usize = 16 << 20;

/// What all loops do, the same for all of them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: Address,
    pub(super) clients: usize,
    pub(super) until: Until,
    pub(super) payload: usize,
    pub(super) framing_name: FramingName,
    pub(super) framing: Framing,
    pub(super) answers: Framing,
    pub(super) depth: usize,
    /// Messages per second of all clients; `None`: as fast as the answers come.
    pub(super) rate: Option<f64>,
    pub(super) spin: bool,
    pub(super) timeout: Option<Duration>,
    block: Vec<u8>,
}

/// When enough has been sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Until {
    /// So many by each client.
    Sends(u64),
    /// When the time is over.
    Over(Duration),
}

impl Plan {
    pub(super) fn new(arguments: &LoadArguments) -> Result<Self, Failure> {
        let (address, payload) = (arguments.address.clone(), arguments.payload.0);
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if address.is_datagram() {
            return usage("load is for byte streams: allowed are tcp, tcp4, tcp6, tls, unix");
        }
        if payload == 0 && arguments.framing == FramingName::Raw {
            return usage("a message without framing has at least one byte");
        }
        if arguments.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
            return usage("--rate is over 0 and at most 1000000000");
        }
        let until = match arguments.duration {
            Some(time) => match time.0 {
                Some(time) => Until::Over(time),
                None => return usage("--duration is a time: off would never end"),
            },
            None => Until::Sends(arguments.sends),
        };
        let answers = arguments.answers.unwrap_or(arguments.framing);
        let lines = FramingName::Newline;
        let mut plan = Self {
            address,
            clients: arguments.clients as usize,
            until,
            payload,
            framing_name: arguments.framing,
            framing: Framing::new(arguments.framing, payload),
            answers: Framing::new(answers, payload),
            depth: depth(arguments),
            rate: arguments.rate,
            spin: arguments.spin,
            timeout: arguments.timeout.0,
            block: block(arguments.seed, payload, arguments.framing == lines || answers == lines),
        };
        let message = plan.message(0, 0).to_vec();
        let fits = plan.framing.encode(&message, &mut Vec::new());
        fits.map_err(|error| Failure::Usage(format!("--payload: {error}")))?;
        Ok(plan)
    }

    /// The bytes of a client's message, counted from 0.
    pub(super) fn message(&self, client: usize, number: u64) -> &[u8] {
        let place = (client as u64).wrapping_mul(7919).wrapping_add(number.wrapping_mul(31));
        let place = (place % PLACES) as usize;
        &self.block[place..place + self.payload]
    }

    /// Limits under which all that may be under way has room.
    pub(super) fn limits(&self) -> Limits {
        let limits = Limits::default();
        let under_way = self.depth.saturating_mul(self.payload + 16).saturating_mul(2);
        Limits {
            output_max: limits.output_max.max(under_way),
            input_max: limits.input_max.max(self.payload.saturating_mul(2).saturating_add(1 << 17)),
            memory_max: usize::MAX,
            dial_timeout: self.timeout.unwrap_or(Duration::MAX),
            write_timeout: self.timeout,
            linger: Duration::from_millis(200),
            ..limits
        }
    }
}

fn depth(arguments: &LoadArguments) -> usize {
    let default = match arguments.rate {
        Some(_) => (UNDER_WAY_BYTES / arguments.payload.0.max(1)).clamp(1, 1024),
        None => 1,
    };
    arguments.depth.map_or(default, |depth| depth as usize)
}

fn block(seed: u64, payload: usize, of_lines: bool) -> Vec<u8> {
    let mut block = vec![0; payload.saturating_add(PLACES as usize)];
    fastrand::Rng::with_seed(seed).fill(&mut block);
    if of_lines {
        block.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
    block
}
