use super::Progress;
use crate::fuzz::{Side, shake, sides};

#[test]
fn both_sides_talk_after_the_handshake() {
    let [mut server, mut client] = sides();
    shake(&mut server, &mut client);
    assert!(server.is_open() && client.is_open());
    assert_eq!(server.engine.server_name(), Some("fuzz.example"));
    for len in [0, 1, 1024, 16_384, 16_385, 300_000] {
        let said: Vec<u8> = (0..len).map(|i: usize| (i * 7) as u8).collect();
        client.say(&said);
        shake(&mut server, &mut client);
        assert!(server.take_plain() == said, "{len} bytes to the server");
        server.say(&said);
        shake(&mut server, &mut client);
        assert!(client.take_plain() == said, "{len} bytes to the client");
    }
    assert_eq!((server.unread(), client.unread()), (0, 0));
}

#[test]
fn one_byte_at_a_time() {
    let [mut server, mut client] = sides();
    let dribble = |from: &mut Side, to: &mut Side| {
        from.turn();
        for byte in from.take_wire() {
            to.receive(&[byte]);
            to.turn();
        }
    };
    for _ in 0..4 {
        dribble(&mut client, &mut server);
        dribble(&mut server, &mut client);
    }
    client.say(b"one by one");
    dribble(&mut client, &mut server);
    assert_eq!(server.take_plain(), b"one by one");
}

/// RFC 8446, 6.1: each direction is closed by itself.
#[test]
fn a_close_notify_ends_one_direction_only() {
    let [mut server, mut client] = sides();
    shake(&mut server, &mut client);
    client.say(b"last words");
    client.close();
    shake(&mut server, &mut client);
    assert!(server.has_ended() && !client.has_ended());
    assert_eq!(server.take_plain(), b"last words");
    server.say(b"an answer");
    shake(&mut server, &mut client);
    assert_eq!(client.take_plain(), b"an answer");
    server.close();
    shake(&mut server, &mut client);
    assert!(client.has_ended() && !client.has_failed());
}

#[test]
fn what_follows_a_close_notify_is_ignored() {
    let [mut server, mut client] = sides();
    shake(&mut server, &mut client);
    client.close();
    server.receive(&client.take_wire());
    server.receive(b"anything");
    server.turn();
    server.receive(b"and more");
    server.turn();
    assert!(server.has_ended() && !server.has_failed());
    assert_eq!((server.unread(), server.take_plain()), (0, Vec::new()));
}

#[test]
fn garbage_is_answered_by_an_alert() {
    let [mut server, _] = sides();
    server.receive(b"GET / HTTP/1.1\r\n\r\n");
    server.turn();
    assert!(matches!(server.error, Some(rustls::Error::InvalidMessage(_))), "{:?}", server.error);
    let alert = server.take_wire();
    // Alert, of a version, two bytes long: fatal, decode_error.
    assert!(matches!(alert[..], [21, 3, _, 0, 2, 2, 50]), "{alert:?}");
}

#[test]
fn a_changed_byte_is_answered_by_an_encrypted_alert() {
    let [mut server, mut client] = sides();
    shake(&mut server, &mut client);
    client.say(b"pay 10 to Alice");
    let mut wire = client.take_wire();
    *wire.last_mut().unwrap() ^= 1;
    server.receive(&wire);
    server.turn();
    assert_eq!(server.error, Some(rustls::Error::DecryptError));
    assert_eq!(server.take_plain(), b"");
    client.receive(&server.take_wire());
    client.turn();
    let bad_record = rustls::AlertDescription::BadRecordMac;
    assert_eq!(client.error, Some(rustls::Error::AlertReceived(bad_record)));
}

/// The connection of rustls 0.23 indexes into what it has not consumed, also when it sends.
#[test]
fn a_side_sends_while_a_part_of_a_handshake_message_waits() {
    let [mut server, mut client] = sides();
    client.turn();
    let hello = client.take_wire();
    // The hello in two records: the first is whole and waits for the second.
    let (head, body) = hello.split_at(5);
    let (one, two) = body.split_at(100);
    let record = |part: &[u8]| [&head[..3], &(part.len() as u16).to_be_bytes(), part].concat();
    server.receive(&record(one));
    server.turn();
    assert_eq!(server.unread(), 105);
    server.close();
    server.receive(&record(two)[..50]);
    server.turn();
    server.close();
    server.receive(&record(two)[50..]);
    shake(&mut server, &mut client);
    assert!(server.is_open() && client.is_open());
}

#[test]
fn decryption_stops_where_there_is_no_room() {
    use super::Output;
    use mainspring_loop::Input;
    let [mut server, mut client] = sides();
    shake(&mut server, &mut client);
    for _ in 0..10 {
        client.say(&[7; 1000]);
    }
    let mut wire = client.take_wire();
    let (mut plain, mut answer, mut left) = (Vec::new(), Vec::new(), wire.len());
    let mut calls = 0;
    while left > 0 {
        let from = wire.len() - left;
        let mut input = Input::over(&mut wire[from..]);
        let mut output = Output { plain: &mut plain, plain_max: 2500, wire: &mut answer };
        let progress = server.engine.process(&mut input, &mut output).unwrap();
        assert_eq!(progress, Progress::Open);
        left = input.len();
        assert!(plain.len() <= 3000, "{}", plain.len());
        server.engine.encrypt(&plain, &mut answer).unwrap();
        plain.clear();
        calls += 1;
    }
    assert_eq!(calls, 4);
    client.receive(&answer);
    client.turn();
    assert!(client.take_plain() == [7; 10_000]);
}
