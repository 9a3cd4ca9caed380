//! `deflate_echo`, with Python's zlib on the other side.

use crate::client::Client;
use crate::process::on_free_port;
use std::process::Command;

const CLIENT: &str = "
import socket, sys, zlib
sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)
sock.sendall(zlib.compress(b'hello ' * 100000))
sock.shutdown(socket.SHUT_WR)
back = b''.join(iter(lambda: sock.recv(65536), b''))
assert zlib.decompress(back) == b'hello ' * 100000
print(len(back) < 10000)";

#[test]
fn a_compressed_stream_comes_back_compressed() {
    let (example, at) = on_free_port("deflate_echo");
    let port = at.port().to_string();
    let output = Command::new("python3").args(["-c", CLIENT, &port]).output().expect("python3");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True", "{complained}");
    let said = example.line();
    assert!(said.ends_with(" bytes were 600000: Peer"), "{said}");
    // Not compressed: closed, with the reason.
    let mut client = Client::connect(at);
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.rest(), b"");
    let said = example.line();
    assert!(said.contains("the bytes are not a deflate stream"), "{said}");
}
