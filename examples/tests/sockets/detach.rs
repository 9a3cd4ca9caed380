//! `detach`.

use crate::client::Client;
use crate::process::on_free_port;

#[test]
fn the_connection_goes_on_in_a_thread_with_what_was_unread() {
    let (_detach, at) = on_free_port("detach");
    let mut client = Client::connect(at);
    client.send(b"on the loop\n");
    client.expect(b"on the loop\n");
    // What comes in the same segment behind the word is for the thread.
    client.send(b"still\nupper\nin the thr");
    client.expect(b"still\nin capitals from here on\n");
    client.send(b"ead\nupper\n");
    client.expect(b"IN THE THREAD\nUPPER\n");
    client.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn megabytes_pass_before_and_after() {
    let (_detach, at) = on_free_port("detach");
    let mut client = Client::connect(at);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let upper = line.to_ascii_uppercase();
    for _ in 0..1000 {
        client.send(&line);
        client.expect(&line);
    }
    client.send(b"upper\n");
    client.expect(b"in capitals from here on\n");
    for _ in 0..1000 {
        client.send(&line);
        client.expect(&upper);
    }
}
