//! `multi_address`.

use crate::PATIENCE;
use crate::client::Client;
use crate::process::Example;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;

#[test]
fn each_listener_is_told_apart() {
    let path = std::env::temp_dir().join(format!("mainspring-multi-{}.sock", std::process::id()));
    let unix = format!("unix://{}", path.display());
    let arguments = ["tcp://127.0.0.1:0", &unix, "udp://127.0.0.1:0", "tcp://127.0.0.1:0"];
    let server = Example::start("multi_address", &arguments);
    let addrs = [server.ready(), server.ready(), server.ready(), server.ready()];

    for index in [0, 3] {
        let at: SocketAddr = addrs[index].parse().expect("an address and a port");
        let mut client = Client::connect(at);
        assert_eq!(client.line(), format!("listener {index}, {at}\n"));
        client.send(b"over tcp\n");
        assert_eq!(client.line(), "over tcp\n");
    }

    let mut stream = UnixStream::connect(&addrs[1]).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    stream.write_all(b"over unix\n").expect("sends");
    let wanted = format!("listener 1, {}\nover unix\n", path.display());
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).expect("receives");
    assert_eq!(String::from_utf8_lossy(&got), wanted);

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("above zero");
    socket.send_to(b"over udp\n", &addrs[2]).expect("sends");
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).expect("an answer");
    let wanted = format!("listener 2, {}\nover udp\n", addrs[2]);
    assert_eq!(String::from_utf8_lossy(&buffer[..count]), wanted);
    drop(server);
    let _ = std::fs::remove_file(&path);
}
