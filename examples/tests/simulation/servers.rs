//! What goes in comes out.

use crate::seeds;
use crate::stage::{Stage, Talker, WEATHERS, Weather};
use mainspring::wire::resp::{reply, request};
use mainspring::{Addr, Address, Limits};
use mainspring_examples::{chat, echo, proxy, redis, ticker};
use std::collections::HashMap;
use std::time::Duration;

const SERVER: &str = "tcp://10.0.0.1:5000";
const RELAY: &str = "tcp://10.0.0.1:5001";

fn at(address: &str) -> Addr {
    let address: Address = address.parse().expect("an address");
    address.resolve().expect("literal").remove(0)
}

fn noise(rng: &mut fastrand::Rng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(1..bytes_max)];
    rng.fill(&mut bytes);
    bytes
}

fn echo_run(seed: u64, weather: Weather) -> u64 {
    let mut stage = Stage::new("echo", seed, weather);
    stage.serve(2, Limits::default(), |shard| echo::setup(shard, &[SERVER.to_owned()]));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut clients: Vec<Talker> = (0..rng.usize(1..8))
        .map(|_| Talker::new(stage.connect(&at(SERVER)), noise(&mut rng, 200_000)))
        .collect();
    stage.until("the last echo", |_| {
        for client in &mut clients {
            client.talk(rng.usize(1..20_000));
            if client.is_done_sending() && !client.peer.write_ended() {
                client.peer.shutdown_write();
            }
        }
        clients.iter().all(|client| client.is_broken() || client.peer.eof())
    });
    for (nth, client) in clients.iter_mut().enumerate() {
        client.talk(0);
        let run = &stage.run;
        assert!(client.said().starts_with(&client.got), "{run}: client {nth} got other bytes");
        if !client.is_broken() {
            assert_eq!(client.got.len(), client.said().len(), "{run}: client {nth}");
        }
        assert!(weather == Weather::Stormy || !client.is_broken(), "{run}: client {nth} broke");
    }
    drop(clients);
    stage.end()
}

#[test]
fn echo_gives_back_every_byte_in_order() {
    for seed in seeds() {
        for weather in WEATHERS {
            echo_run(seed, weather);
        }
    }
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let hashes: Vec<u64> = seeds().map(|seed| echo_run(seed, Weather::Stormy)).collect();
    let again: Vec<u64> = seeds().map(|seed| echo_run(seed, Weather::Stormy)).collect();
    assert_eq!(hashes, again);
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:?}");
}

/// Random commands, and where in the answers each one's is.
fn redis_script(rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for _ in 0..rng.usize(100..600) {
        let key = vec![b'a' + rng.u8(..6)];
        match rng.u8(..4) {
            0 => {
                let value = noise(rng, 900);
                request(&mut sent, &[b"SET", &key, &value]);
                reply::simple(&mut wanted, b"OK");
                model.insert(key, value);
            }
            1 => {
                request(&mut sent, &[b"DEL", &key]);
                reply::integer(&mut wanted, model.remove(&key).map_or(0, |_| 1));
            }
            2 => {
                sent.extend_from_slice(b"PING\r\n");
                reply::simple(&mut wanted, b"PONG");
            }
            _ => {
                request(&mut sent, &[b"GET", &key]);
                match model.get(&key) {
                    Some(value) => reply::bulk(&mut wanted, value),
                    None => reply::null(&mut wanted),
                }
            }
        }
    }
    (sent, wanted)
}

#[test]
fn redis_answers_as_its_model_does() {
    for (seed, weather) in seeds().flat_map(|seed| WEATHERS.map(|weather| (seed, weather))) {
        let mut stage = Stage::new("redis", seed, weather);
        let mut limits = Limits::default();
        // So low that a pipeline is stopped and taken up again.
        (limits.output_high, limits.output_low) = (2000, 500);
        stage.serve(1, limits, |shard| redis::setup(shard, &[SERVER.to_owned()]).map(drop));
        let mut rng = fastrand::Rng::with_seed(seed);
        let (sent, wanted) = redis_script(&mut rng);
        let mut client = Talker::new(stage.connect(&at(SERVER)), sent.clone());
        stage.until("the last answer", |_| {
            client.talk(rng.usize(1..3000));
            let cut_short = client.is_broken() || client.peer.eof();
            cut_short || client.got.len() >= wanted.len()
        });
        let run = &stage.run;
        assert!(wanted.starts_with(&client.got), "{run}: other answers");
        if weather != Weather::Stormy {
            assert_eq!(client.got.len(), wanted.len(), "{run}");
        }
        drop(client);
        stage.end();
    }
}

#[test]
fn proxy_relays_every_byte_and_holds_few() {
    for (seed, weather) in seeds().flat_map(|seed| WEATHERS.map(|weather| (seed, weather))) {
        let mut stage = Stage::new("proxy", seed, weather);
        // The upstream stops reading while its answers wait: a relay that did the same could wait
        // for it.
        let limits = Limits { output_high: 8000, output_low: 2000, ..Limits::default() };
        stage.serve(1, limits.clone(), |shard| echo::setup(shard, &[SERVER.to_owned()]));
        let upstream: Address = SERVER.parse().expect("an address");
        let relay = stage.serve(1, limits, |shard| proxy::setup(shard, RELAY, &upstream));
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut client = Talker::new(stage.connect(&at(RELAY)), noise(&mut rng, 600_000));
        let (mut rounds, mut held, mut reads_from) = (0, 0, Duration::ZERO);
        stage.until("the last byte", |stage| {
            rounds += 1;
            let now = stage.world.elapsed();
            if rounds % 400 == 0 && !client.is_done_sending() {
                // Long enough for everything in between to fill up, and too short for a write
                // timeout.
                client.peer.stop_reading();
                reads_from = now + Duration::from_millis(20);
                stage.world.wake_later(0, Duration::from_millis(20));
            } else if now >= reads_from {
                client.peer.resume_reading();
            }
            client.talk(rng.usize(1..30_000));
            held = held.max(relay.stats().total.buffered_bytes);
            let cut_short = client.is_broken() || client.peer.eof() || client.peer.write_ended();
            cut_short || client.got.len() == client.said().len() && client.is_done_sending()
        });
        let run = &stage.run;
        assert!(client.said().starts_with(&client.got), "{run}: other bytes");
        if weather != Weather::Stormy {
            let (got, said) = (client.got.len(), client.said().len());
            assert!(client.is_done_sending() && got == said, "{run}: {got} bytes of {said}");
        }
        // Two ends, each with its high mark and the one delivery that passed it.
        assert!(held <= 2 * (8000 + (64 << 10)), "{run}: {held} bytes were held");
        drop(client);
        stage.end();
    }
}

/// The numbers of the lines that `guest` said, in the order heard; a line cut short does not count.
fn heard(text: &[u8], guest: usize) -> Vec<usize> {
    let prefix = format!("guest{guest}: line ");
    let text = String::from_utf8_lossy(text);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

#[test]
fn chat_tells_everybody_every_line_once() {
    const LINES: usize = 30;
    for (seed, weather) in seeds().flat_map(|seed| WEATHERS.map(|weather| (seed, weather))) {
        let mut stage = Stage::new("chat", seed, weather);
        let room = chat::Room::default();
        let addresses = [SERVER.to_owned()];
        stage.serve(3, Limits::default(), |shard| chat::setup(shard, &room, &addresses));
        let mut rng = fastrand::Rng::with_seed(seed);
        let lines: String = (0..LINES).map(|nth| format!("line {nth}\n")).collect();
        let new = |_| Talker::new(stage.connect(&at(SERVER)), lines.clone().into_bytes());
        let mut guests: Vec<Talker> = (0..rng.usize(2..7)).map(new).collect();
        stage.until("everybody is in", |_| {
            guests.iter_mut().for_each(|guest| guest.talk(0));
            let in_or_out =
                |guest: &Talker| guest.got.starts_with(b"* you are ") || guest.is_broken();
            guests.iter().all(in_or_out)
        });
        let present = guests.len();
        let complete =
            |guest: &Talker| (1..=present).all(|who| heard(&guest.got, who).len() == LINES);
        let all = stage.until_or_quiet("every line", |_| {
            guests.iter_mut().for_each(|guest| guest.talk(rng.usize(1..40)));
            guests.iter().all(complete)
        });
        // In a storm some guests are lost with what they had to say.
        assert!(all || weather == Weather::Stormy, "{}: not everybody heard all", stage.run);
        for (nth, guest) in guests.iter().enumerate() {
            for who in 1..=present {
                let numbers = heard(&guest.got, who);
                let run = &stage.run;
                let from_the_first = numbers.iter().copied().eq(0..numbers.len());
                assert!(from_the_first, "{run}: guest {nth} heard {numbers:?} of guest{who}");
            }
        }
        drop(guests);
        stage.end();
    }
}

#[test]
fn ticks_are_counted_and_never_early() {
    const EVERY: Duration = Duration::from_millis(10);
    for (seed, weather) in seeds().flat_map(|seed| WEATHERS.map(|weather| (seed, weather))) {
        let mut stage = Stage::new("ticker", seed, weather);
        stage.serve(1, Limits::default(), |shard| ticker::setup(shard, SERVER, EVERY).map(drop));
        let mut client = Talker::new(stage.connect(&at(SERVER)), Vec::new());
        stage.until("tick 25", |stage| {
            client.talk(0);
            let text = String::from_utf8_lossy(&client.got).into_owned();
            let mut last = None;
            let ended = text.rfind('\n').unwrap_or(0);
            let ticks = text[..ended].lines().filter_map(|line| line.strip_prefix("tick "));
            for number in ticks.map(|number| number.parse::<u32>().expect("a number")) {
                let run = &stage.run;
                assert!(last.is_none_or(|last| number == last + 1), "{run}: {text}");
                assert!(EVERY * (number - 1) <= stage.world.elapsed(), "{run}: {number} is early");
                last = Some(number);
            }
            last.is_some_and(|last| last >= 25) || client.is_broken() || client.peer.eof()
        });
        if weather == Weather::Calm {
            let elapsed = stage.world.elapsed();
            // Timers go in steps of 1 ms.
            assert!(
                elapsed < EVERY * 25 + Duration::from_millis(25),
                "{}: 25 ticks took {elapsed:?}",
                stage.run
            );
        }
        drop(client);
        stage.end();
    }
}
