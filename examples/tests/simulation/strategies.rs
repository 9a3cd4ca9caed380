//! `hello`, `packet_extraction` and `in_turn`.

use crate::seeds;
use crate::stage::{Stage, Talker, WEATHERS, Weather};
use mainspring::{Addr, Address, Limits};
use mainspring_examples::{hello, in_turn, packet_extraction};

const SERVER: &str = "tcp://10.0.0.1:7000";

fn at() -> Addr {
    let address: Address = SERVER.parse().expect("an address");
    address.resolve().expect("literal").remove(0)
}

fn addresses() -> Vec<String> {
    vec![SERVER.to_owned()]
}

/// Has all clients talk until the server has ended their connections, or they have broken.
fn talk_to_the_end(stage: &mut Stage, rng: &mut fastrand::Rng, clients: &mut [Talker]) {
    stage.until("the last answer", |_| {
        for client in clients.iter_mut() {
            client.talk(rng.usize(1..5_000));
            if client.is_done_sending() && !client.peer.write_ended() {
                client.peer.shutdown_write();
            }
        }
        clients.iter().all(|client| client.is_broken() || client.peer.eof())
    });
    clients.iter_mut().for_each(|client| client.talk(0));
}

#[test]
fn hello_greets_everybody() {
    for seed in seeds() {
        for weather in WEATHERS {
            let mut stage = Stage::new("hello", seed, weather);
            stage.serve(1, Limits::default(), |shard| hello::setup(shard, &addresses()));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clients: Vec<Talker> = (0..rng.usize(1..8))
                .map(|_| Talker::new(stage.connect(&at()), b"hello too".to_vec()))
                .collect();
            talk_to_the_end(&mut stage, &mut rng, &mut clients);
            for client in &clients {
                let run = &stage.run;
                assert!(hello::GREETING.starts_with(&client.got), "{run}: {:?}", client.got);
                assert!(client.is_broken() || client.got == hello::GREETING, "{run}");
            }
            drop(clients);
            stage.end();
        }
    }
}

#[test]
fn packets_come_back_without_what_was_between_them() {
    for seed in seeds() {
        for weather in WEATHERS {
            let mut stage = Stage::new("packet_extraction", seed, weather);
            stage
                .serve(2, Limits::default(), |shard| packet_extraction::setup(shard, &addresses()));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clients: Vec<Talker> = (0..rng.usize(1..6))
                .map(|_| {
                    let mut text = Vec::new();
                    for _ in 0..rng.usize(1..40) {
                        text.extend((0..rng.usize(..2_000)).map(|_| rng.alphanumeric() as u8));
                        text.push(b'\n');
                    }
                    Talker::new(stage.connect(&at()), text)
                })
                .collect();
            talk_to_the_end(&mut stage, &mut rng, &mut clients);
            for client in &clients {
                let mut wanted = client.said().to_vec();
                wanted.retain(|byte| *byte != b'\n');
                let run = &stage.run;
                assert!(wanted.starts_with(&client.got), "{run}: other bytes");
                // The last packet may lack its end where the connection lacks one.
                assert!(client.is_broken() || client.got.len() <= wanted.len(), "{run}");
                if weather != Weather::Stormy {
                    assert_eq!(client.got.len(), wanted.len(), "{run}");
                }
            }
            drop(clients);
            stage.end();
        }
    }
}

#[test]
fn everybody_in_line_has_a_turn() {
    for seed in seeds() {
        for weather in WEATHERS {
            let mut stage = Stage::new("in_turn", seed, weather);
            stage.serve(1, Limits::default(), |shard| in_turn::setup(shard, 1, &addresses()));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clients: Vec<Talker> = (0..rng.usize(2..8))
                .map(|_| Talker::new(stage.connect(&at()), vec![b'x'; rng.usize(1..20_000)]))
                .collect();
            talk_to_the_end(&mut stage, &mut rng, &mut clients);
            for client in &clients {
                let echo = client.got.split(|byte| *byte == b'\n').next_back().unwrap_or(&[]);
                let (got, said) = (echo.len(), client.said().len());
                let run = &stage.run;
                assert!(got == said || weather == Weather::Stormy, "{run}: {got} of {said}");
            }
            drop(clients);
            stage.end();
        }
    }
}
