//! `chat`, on two loops whatever the processors are.

use crate::client::Client;
use crate::process::on_free_port;
use mainspring::{Addr, Balance, Loops, Server};
use mainspring_examples::chat::{Room, setup};

#[test]
fn every_line_reaches_every_loop_and_who_comes_and_goes_is_told() {
    let room = Room::default();
    let addresses = ["tcp://127.0.0.1:0".to_owned()];
    let builder = Server::builder().loops(Loops::Count(2)).balance(Balance::RoundRobin);
    let running = builder.start(move |shard| setup(shard, &room, &addresses)).expect("starts");
    let Addr::Inet(at) = running.addrs()[0] else { panic!("not an IP address") };

    let mut guests: Vec<Client> = Vec::new();
    for number in 1..=4 {
        let mut guest = Client::connect(at);
        assert_eq!(guest.line(), format!("* you are guest{number}\n"));
        for earlier in &mut guests {
            assert_eq!(earlier.line(), format!("* guest{number} joined\n"));
        }
        guests.push(guest);
    }
    let by_loop = running.handle().stats().loops;
    assert_eq!(by_loop.iter().map(|counted| counted.accepted).collect::<Vec<_>>(), [2, 2]);

    guests[1].send(b"good mor");
    guests[1].send(b"ning\r\nto all\n");
    for guest in &mut guests {
        assert_eq!(guest.line(), "guest2: good morning\n");
        assert_eq!(guest.line(), "guest2: to all\n");
    }
    drop(guests.remove(0));
    for guest in &mut guests {
        assert_eq!(guest.line(), "* guest1 left\n");
    }
    running.handle().stop();
    running.join().expect("ends in good order");
}

#[test]
fn a_line_without_an_end_ends_the_guest() {
    let (_chat, at) = on_free_port("chat");
    let mut guest = Client::connect(at);
    assert_eq!(guest.line(), "* you are guest1\n");
    guest.send(&[b'a'; 2000]);
    let said = String::from_utf8(guest.rest()).expect("text");
    assert!(said.starts_with("* ") && said.contains("1024"), "{said}");
}
