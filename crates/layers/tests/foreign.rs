//! Python's zlib on the other side of the layer.
#![allow(clippy::disallowed_methods, reason = "tests over sockets run by the clock")]

use mainspring_io::{Addr, Address};
use mainspring_layers::Deflate;
use mainspring_loop::{Action, Conn, Input, Layers, Server};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Sends each line of its input as one turn, waits for as much to come back, and compares; then
/// ends its stream and reads to the end of the other.
const CLIENT: &str = r"
import random, socket, sys, zlib
port, bits, level = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sock = socket.create_connection(('127.0.0.1', port), timeout=20)
pack = zlib.compressobj(level, zlib.DEFLATED, bits)
unpack = zlib.decompressobj(bits)
dice = random.Random(bits * 10 + level)
words = [b'spring', b'wheel', b'pallet', bytes(range(256)), b'\0' * 3000]
total = 0
for size in [1, 2, 10, 500, 1, 20000, 300000, 3]:
    message = b''.join(dice.choice(words) for _ in range(size))[:size]
    if dice.random() < 0.3:
        message = dice.randbytes(size)
    sock.sendall(pack.compress(message) + pack.flush(zlib.Z_SYNC_FLUSH))
    back = b''
    while len(back) < len(message):
        chunk = sock.recv(65536)
        assert chunk, 'the server ended'
        back += unpack.decompress(chunk)
    assert back == message, 'other bytes came back'
    total += size
sock.sendall(pack.flush())
rest = b''
while chunk := sock.recv(65536):
    rest += unpack.decompress(chunk)
rest += unpack.flush()
assert rest == b'', 'more came back'
assert unpack.eof, 'the stream has no end'
assert unpack.unused_data == b'', 'something is behind the end'
print(total)
";

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

fn python(arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    let child = command.arg("-").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::piped()).spawn().expect("python3 is there");
    child.stdin.take().unwrap().write_all(CLIENT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (said, complained) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{arguments:?}: {complained}");
    String::from_utf8(said).unwrap()
}

/// Raw and framed, small and large windows, levels: each side unpacks what the other has packed.
#[test]
fn pythons_zlib_and_the_layer_understand_each_other() {
    for (framed, bits, level) in [(false, 15, 6), (true, 15, 9), (false, 9, 1), (true, 12, 0)] {
        let running = Server::builder().start(move |shard| {
            let host = shard.host(echo);
            let address: Address = "tcp://127.0.0.1:0".try_into()?;
            let layers = move || {
                let layer = if framed { Deflate::zlib() } else { Deflate::raw() };
                Layers::new().above(layer.window_bits(bits).level(level))
            };
            shard.listen_layered(host, &address, &Default::default(), layers).map(drop)
        });
        let running = running.unwrap();
        let Addr::Inet(at) = running.addrs()[0].clone() else { panic!("an internet address") };
        // For Python a bare stream has the negative of its window.
        let bits = if framed { i32::from(bits) } else { -i32::from(bits) };
        let arguments = [at.port().to_string(), bits.to_string(), level.to_string()];
        let said = python(&arguments.each_ref().map(String::as_str));
        assert_eq!(said.trim(), "320517");
        running.handle().stop();
        let stats = running.handle().stats().total;
        running.join().unwrap();
        assert_eq!((stats.layer_plain_in, stats.layer_plain_out), (320_517, 320_517));
        assert!(level == 0 || stats.layer_wire_in < stats.layer_plain_in, "{stats:?}");
    }
}

/// What the layer makes in one piece is what Python takes for a whole file.
#[test]
fn a_whole_stream_is_a_file_to_python() {
    const CHECK: &str = "import sys, zlib; \
        data = zlib.decompress(sys.stdin.buffer.read()); print(len(data), zlib.crc32(data))";
    let anywhere = Addr::Inet("127.0.0.1:1".parse().unwrap());
    let now = std::time::Instant::now();
    let mut layers = Layers::new().above(Deflate::zlib()).unwired(anywhere.clone(), anywhere, now);
    layers.receive(&mut []).unwrap();
    for _ in 0..10 {
        layers.send(b"123456789").unwrap();
    }
    layers.finish().unwrap();
    let mut child = Command::new("python3")
        .args(["-c", CHECK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    child.stdin.take().unwrap().write_all(layers.wire()).unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.starts_with("90 "), "{said}");
}
