//! `hello`.

use crate::client::Client;
use crate::process::on_free_port;

#[test]
fn everybody_is_greeted_and_left() {
    let (_hello, at) = on_free_port("hello");
    for _ in 0..50 {
        assert_eq!(Client::connect(at).rest(), b"Hello world!");
    }
    // What one has to say keeps nobody from hearing.
    let mut talker = Client::connect(at);
    talker.send(b"me first");
    assert_eq!(talker.rest(), b"Hello world!");
}
