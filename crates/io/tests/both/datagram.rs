//! Datagrams: every test runs with the batched system calls and with the portable ones.

use super::recorder::{PATIENCE, Recorder, Rig, Told};
use crate::under_test;
use mainspring_io::{
    Addr, DatagramOutbox, Driver, DriverLimits, Key, ListenOptions, SendState, SocketOptions,
};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The longest UDP payload over IPv4: 65,535 bytes less the IP and UDP headers.
const LONGEST: usize = 65_507;

fn localhost() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn large_buffers() -> SocketOptions {
    SocketOptions { recv_buffer: Some(4 << 20), send_buffer: Some(4 << 20), ..Default::default() }
}

fn options(gso: bool, gro: bool) -> ListenOptions {
    ListenOptions { gso, gro, socket: large_buffers(), ..Default::default() }
}

fn bind(rig: &mut Rig, at: SocketAddr, options: &ListenOptions) -> (Key, SocketAddr) {
    let key = rig.key();
    let Addr::Inet(bound) = rig.driver.bind(key, &at.into(), options).unwrap() else {
        panic!("a UDP socket has an internet address");
    };
    rig.driver.recv_start(key);
    (key, bound)
}

/// A peer that sends datagrams of any length: some systems refuse those longer than this buffer.
fn long_sender() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    SockRef::from(&peer).set_send_buffer_size(128 << 10).unwrap();
    peer
}

fn send_all(rig: &mut Rig, key: Key, outbox: &mut DatagramOutbox) {
    while rig.driver.send_datagrams(key, outbox) == SendState::Waiting {
        let before = rig.sents(key);
        rig.until("sent", |seen| {
            seen.history(key).iter().filter(|told| **told == Told::Sent).count() > before
        });
    }
    assert!(outbox.is_empty());
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + len) as u8).collect()
}

fn payloads(seen: &Recorder, key: Key) -> Vec<&[u8]> {
    let of_key = seen.datagrams.iter().filter(|(of, ..)| *of == key);
    of_key.map(|(_, _, bytes)| &bytes[..]).collect()
}

#[test]
fn echoes_every_size_from_the_true_sender() {
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, localhost(), &options(false, false));
        let peer = long_sender();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for len in [0, 1, 2, 1472, 1473, 9000, 65_506, LONGEST] {
            peer.send_to(&payload(len), at).unwrap();
            rig.until("the datagram", |seen| !seen.datagrams.is_empty());
            let (of, from, bytes) = rig.seen.datagrams.remove(0);
            assert_eq!((of, &from), (key, &peer.local_addr().unwrap().into()));
            assert!(bytes == payload(len), "{len} bytes came as {}", bytes.len());

            let mut outbox = DatagramOutbox::new();
            outbox.push(Some(from), &bytes);
            send_all(&mut rig, key, &mut outbox);
            let mut answer = vec![0; LONGEST + 1];
            let (count, answerer) = peer.recv_from(&mut answer).unwrap();
            assert_eq!((count, answerer), (len, at));
            assert!(answer[..count] == bytes);
        }
        rig.assert_sleeps();
    }
}

#[test]
fn a_small_stream_buffer_does_not_cut_datagrams_off() {
    for open in under_test::OPENERS {
        let limits = DriverLimits { read_buffer: 1024, ..DriverLimits::default() };
        let mut rig = Rig::on(open(limits).unwrap());
        let (key, at) = bind(&mut rig, localhost(), &options(false, false));
        let peer = long_sender();
        peer.send_to(&payload(LONGEST), at).unwrap();
        rig.until("the datagram", |seen| !seen.datagrams.is_empty());
        assert!(payloads(&rig.seen, key)[0] == payload(LONGEST));
    }
}

#[test]
fn a_dual_stack_socket_speaks_ipv4_plainly() {
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, "[::]:0".parse().unwrap(), &options(true, true));
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"four", ("127.0.0.1", at.port())).unwrap();
        rig.until("the datagram", |seen| !seen.datagrams.is_empty());
        let (_, from, _) = rig.seen.datagrams.remove(0);
        assert_eq!(from, peer.local_addr().unwrap().into());
        let mut outbox = DatagramOutbox::new();
        outbox.push(Some(from), b"answer");
        send_all(&mut rig, key, &mut outbox);
        let mut answer = [0; 16];
        let (count, answerer) = peer.recv_from(&mut answer).unwrap();
        assert_eq!(&answer[..count], b"answer");
        assert_eq!(answerer, SocketAddr::from(([127, 0, 0, 1], at.port())));
    }
}

/// The same datagrams with the same boundaries, whatever cuts up or coalesces on the way.
#[test]
fn boundaries_survive_every_combination_of_batching() {
    for (gso, gro) in [(false, false), (false, true), (true, false), (true, true)] {
        for mut from in Rig::both() {
            for mut to in Rig::both() {
                let seed = 0x5EED_0001 + u64::from(gso) * 2 + u64::from(gro);
                exchange(&mut from, gso, &mut to, gro, seed);
            }
        }
    }
}

fn exchange(from: &mut Rig, gso: bool, to: &mut Rig, gro: bool, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (sender, _) = bind(from, localhost(), &options(gso, false));
    let (receiver, at) = bind(to, localhost(), &options(false, gro));
    let mut sent = Vec::new();
    for _ in 0..6 {
        let mut outbox = DatagramOutbox::new();
        let start = sent.len();
        for _ in 0..rng.usize(1..6) {
            let len = [0, 1, 40, 1200, 1400, 20_000][rng.usize(..6)];
            for _ in 0..[1, 2, 5, 70][rng.usize(..if len > 2000 { 2 } else { 4 })] {
                sent.push(payload(len));
                outbox.push(Some(at.into()), sent.last().unwrap());
            }
        }
        send_all(from, sender, &mut outbox);
        let upto = sent.len();
        to.until("the batch", |seen| payloads(seen, receiver).len() >= upto);
        let got = &payloads(&to.seen, receiver)[start..];
        assert!(
            got == &sent[start..],
            "gso {gso}, gro {gro}, seed {seed:#x}: lengths {:?} came as {:?}",
            sent[start..].iter().map(Vec::len).collect::<Vec<_>>(),
            got.iter().map(|bytes| bytes.len()).collect::<Vec<_>>()
        );
    }
    assert!(from.seen.dropped.is_empty(), "{:?}", from.seen.dropped);
    from.driver.close(sender);
    to.driver.close(receiver);
}

#[test]
fn one_batch_goes_to_many() {
    for mut rig in Rig::both() {
        let (key, _) = bind(&mut rig, localhost(), &options(true, true));
        let peers: Vec<_> = (0..5).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut outbox = DatagramOutbox::new();
        for round in 0..40u8 {
            for peer in &peers {
                outbox.push(Some(peer.local_addr().unwrap().into()), &[round; 100]);
            }
        }
        send_all(&mut rig, key, &mut outbox);
        for peer in &peers {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            for round in 0..40u8 {
                let mut bytes = [0; 200];
                assert_eq!(peer.recv(&mut bytes).unwrap(), 100);
                assert_eq!(bytes[..100], [round; 100]);
            }
        }
    }
}

#[test]
fn a_datagram_too_long_is_dropped_alone() {
    for mut rig in Rig::both() {
        let (key, _) = bind(&mut rig, localhost(), &options(true, false));
        let (receiver, at) = bind(&mut rig, localhost(), &options(false, false));
        let mut outbox = DatagramOutbox::new();
        for len in [10, LONGEST + 1, LONGEST + 1, 20, LONGEST + 1, 30] {
            outbox.push(Some(at.into()), &payload(len));
        }
        send_all(&mut rig, key, &mut outbox);
        rig.until("the rest", |seen| payloads(seen, receiver).len() == 3);
        let lengths: Vec<_> = payloads(&rig.seen, receiver).iter().map(|b| b.len()).collect();
        assert_eq!(lengths, [10, 20, 30]);
        let dropped: usize = rig.seen.dropped.iter().map(|(_, count, _)| count).sum();
        assert_eq!(dropped, 3, "{:?}", rig.seen.dropped);
        #[cfg(unix)]
        assert_eq!(rig.seen.dropped[0].2.raw_os_error(), Some(libc::EMSGSIZE));
        assert!(rig.seen.dropped.iter().all(|(of, ..)| *of == key));
    }
}

#[test]
fn a_connected_socket_hears_only_its_peer_and_survives_its_absence() {
    for mut rig in Rig::both() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        let key = rig.key();
        let at = rig.driver.connect_datagram(key, &to.into(), &options(true, true)).unwrap();
        let Addr::Inet(at) = at else { panic!("a UDP socket has an internet address") };
        assert!(at.ip().is_loopback(), "{at}");
        rig.driver.recv_start(key);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"stranger", at).unwrap();
        peer.send_to(b"friend", at).unwrap();
        rig.until("the friend", |seen| !seen.datagrams.is_empty());
        assert_eq!(payloads(&rig.seen, key), [b"friend"]);

        drop(peer);
        let mut outbox = DatagramOutbox::new();
        for _ in 0..3 {
            outbox.push(None, b"anyone?");
            send_all(&mut rig, key, &mut outbox);
            rig.turn(Duration::from_millis(5));
        }
        let peer = UdpSocket::bind(to).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        outbox.push(None, b"again");
        // One datagram may pay for the error of an earlier one.
        outbox.push(None, b"again");
        send_all(&mut rig, key, &mut outbox);
        let mut bytes = [0; 16];
        let count = peer.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"again");
        peer.send_to(b"welcome back", at).unwrap();
        rig.until("the answer", |seen| payloads(seen, key).len() == 2);
        assert!(rig.seen.history(key).iter().all(|told| *told == Told::Sent));
        rig.assert_sleeps();
    }
}

#[test]
fn stopped_sockets_deliver_nothing_and_lose_nothing() {
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, localhost(), &options(false, false));
        rig.driver.recv_stop(key);
        // A kernel that receives by itself has to hear of it.
        rig.turn(Duration::ZERO);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..100u8 {
            peer.send_to(&[number], at).unwrap();
        }
        for _ in 0..3 {
            rig.turn(Duration::from_millis(5));
        }
        assert!(rig.seen.datagrams.is_empty());
        rig.driver.recv_start(key);
        rig.until("all of them", |seen| seen.datagrams.len() == 100);
        let numbers: Vec<u8> = rig.seen.datagrams.iter().map(|(_, _, bytes)| bytes[0]).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    }
}

#[test]
fn a_pause_stops_further_reads() {
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, localhost(), &options(false, false));
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        rig.seen.pause = true;
        for number in 0..200u8 {
            peer.send_to(&[number], at).unwrap();
        }
        rig.until("the first", |seen| !seen.datagrams.is_empty());
        let held = rig.seen.datagrams.len();
        assert!(held <= 64, "{held} came before the pause");
        rig.turn(Duration::from_millis(5));
        assert_eq!(rig.seen.datagrams.len(), held);
        rig.seen.pause = false;
        rig.driver.recv_start(key);
        rig.until("the rest", |seen| seen.datagrams.len() == 200);
    }
}

#[test]
fn closes_with_one_event() {
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, localhost(), &options(false, false));
        rig.driver.close(key);
        rig.until("closed", |seen| seen.has(key, Told::Closed));
        assert_eq!(rig.seen.history(key), [Told::Closed]);
        UdpSocket::bind(at).unwrap();
    }
}

#[test]
fn reuseport_lets_two_sockets_share_a_port() {
    for mut rig in Rig::both() {
        let shared = ListenOptions { reuseport: Some(true), ..Default::default() };
        let (_, at) = bind(&mut rig, localhost(), &shared);
        bind(&mut rig, at, &shared);
        let key = rig.key();
        let error = rig.driver.bind(key, &at.into(), &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn multicast_reaches_members_only() {
    let group: IpAddr = "239.255.77.1".parse().unwrap();
    for mut rig in Rig::both() {
        let (key, at) = bind(&mut rig, "0.0.0.0:0".parse().unwrap(), &options(false, false));
        let unknown = Key::new(77, 77);
        let error = rig.driver.multicast(unknown, group, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = rig.driver.multicast(key, "127.0.0.1".parse().unwrap(), true).unwrap_err();
        assert!(error.raw_os_error().is_some(), "no group: {error}");

        let joined = rig.driver.multicast(key, group, true);
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        let sent = sender.send_to(b"all", SocketAddr::new(group, at.port()));
        let (Ok(()), Ok(_)) = (&joined, &sent) else {
            // A machine without a multicast route says so, in both places.
            assert!(joined.is_err() && sent.is_err(), "joined {joined:?}, sent {sent:?}");
            continue;
        };
        rig.until("the datagram", |seen| !seen.datagrams.is_empty());
        assert_eq!(payloads(&rig.seen, key), [b"all"]);
        rig.driver.multicast(key, group, false).unwrap();
        sender.send_to(b"gone", SocketAddr::new(group, at.port())).unwrap();
        for _ in 0..4 {
            rig.turn(Duration::from_millis(10));
        }
        assert_eq!(rig.seen.datagrams.len(), 1);
    }
}

#[test]
fn unix_datagrams_are_refused_with_a_reason() {
    #[cfg(unix)]
    {
        let mut rig = Rig::new();
        let key = rig.key();
        let at = Addr::Unix(mainspring_io::UnixAddr::Unnamed);
        let error = rig.driver.bind(key, &at, &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
