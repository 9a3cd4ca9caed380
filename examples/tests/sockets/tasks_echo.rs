//! `tasks_echo`.

use crate::client::Client;
use crate::process::{fails, on_free_port};
use mainspring::Server;
use mainspring_examples::tasks_echo;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn every_byte_comes_back_in_order_on_many_connections() {
    let (_echo, at) = on_free_port("tasks_echo");
    let seed = 23;
    std::thread::scope(|scope| {
        for nth in 0..8 {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed + nth);
                let sent: Vec<u8> = (0..rng.usize(1..1 << 20)).map(|_| rng.u8(..)).collect();
                let mut client = Client::connect(at);
                let mut writer = client.0.try_clone().expect("a second owner");
                let mut got = vec![0; sent.len()];
                std::thread::scope(|both| {
                    both.spawn(|| writer.write_all(&sent).expect("sends"));
                    client.0.read_exact(&mut got).expect("receives");
                });
                assert!(got == sent, "seed {seed}, connection {nth}: other bytes came back");
                client.finish();
                assert_eq!(client.rest(), b"", "seed {seed}, connection {nth}");
            });
        }
    });
    let taken = format!("tcp://{at}");
    assert!(fails("tasks_echo", &[&taken]).starts_with("tasks_echo: cannot listen on"));
}

#[test]
fn connections_between_two_messages_do_not_hold_a_drain_up() {
    let server = Server::builder()
        .drain(Duration::from_secs(10))
        .start(|shard| tasks_echo::setup(shard, &["tcp://127.0.0.1:0".to_owned()]));
    let server = server.expect("starts");
    let at = server.addrs()[0].to_string().parse().expect("an address");
    let mut client = Client::connect(at);
    client.send(b"hello");
    client.expect(b"hello");
    let before = Instant::now();
    server.handle().drain();
    assert_eq!(client.rest(), b"");
    server.join().expect("ends in good order");
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}
