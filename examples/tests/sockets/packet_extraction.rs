//! `packet_extraction`.

use crate::client::Client;
use crate::process::on_free_port;

#[test]
fn packets_come_back_without_their_line_feed_however_they_are_cut() {
    let (_server, at) = on_free_port("packet_extraction");
    let mut client = Client::connect(at);
    client.send(b"one\ntwo\n\nth");
    client.expect(b"onetwo");
    client.send(b"ree\r\n");
    client.expect(b"three\r");
    let long = [vec![b'x'; 16 * 1024], b"\n".to_vec()].concat();
    client.send(&long);
    client.expect(&long[..16 * 1024]);
    client.send(b"no end");
    client.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_packet_over_the_maximum_ends_its_connection_only() {
    let (_server, at) = on_free_port("packet_extraction");
    let mut other = Client::connect(at);
    let mut client = Client::connect(at);
    client.send(&[b"first\n", &vec![b'x'; 16 * 1024 + 1][..]].concat());
    assert_eq!(client.rest(), b"first");
    other.send(b"still here\n");
    other.expect(b"still here");
}
