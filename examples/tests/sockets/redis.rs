//! `redis`.

use crate::client::Client;
use crate::process::on_free_port;
use mainspring::wire::resp::request;

fn commands(of: &[&[&[u8]]]) -> Vec<u8> {
    let mut out = Vec::new();
    of.iter().for_each(|arguments| request(&mut out, arguments));
    out
}

#[test]
fn a_pipeline_is_answered_in_order_however_it_is_cut() {
    let (_redis, at) = on_free_port("redis");
    let sent = commands(&[
        &[b"PING"],
        &[b"ping", b"hi"],
        &[b"GET", b"spring"],
        &[b"SET", b"spring", b"wo\r\nund"],
        &[b"get", b"spring"],
        &[b"SET", b"other", b""],
        &[b"DEL", b"spring", b"other", b"third"],
        &[b"GET", b"spring"],
        &[b"SET", b"spring"],
        &[b"BREW", b"tea"],
    ]);
    let answers = b"+PONG\r\n$2\r\nhi\r\n$-1\r\n+OK\r\n$7\r\nwo\r\nund\r\n+OK\r\n:2\r\n$-1\r\n\
        -ERR wrong number of arguments for 'set' command\r\n-ERR unknown command 'BREW'\r\n";
    for size in [1, 7, sent.len()] {
        let mut client = Client::connect(at);
        sent.chunks(size).for_each(|chunk| client.send(chunk));
        client.send(b"PING inline\r\n");
        client.expect(answers);
        client.expect(b"$6\r\ninline\r\n");
        client.send(b"QUIT\r\nPING\r\n");
        assert_eq!(client.rest(), b"+OK\r\n");
    }
}

#[test]
fn a_value_too_long_and_a_broken_frame_are_answered_before_the_end() {
    let (_redis, at) = on_free_port("redis");
    let mut client = Client::connect(at);
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$524289\r\n");
    assert!(client.rest().starts_with(b"-ERR Protocol error"));
    let mut client = Client::connect(at);
    client.send(b"*1\r\n!oops\r\n");
    assert!(client.rest().starts_with(b"-ERR Protocol error"));
}

#[test]
fn a_client_that_sends_and_reads_later_gets_every_answer() {
    let (_redis, at) = on_free_port("redis");
    let mut client = Client::connect(at);
    let value = vec![b'v'; 1000];
    client.send(&commands(&[&[b"SET", b"k", &value]]));
    client.expect(b"+OK\r\n");
    let count = 20_000;
    // 20 MB of answers, far over what the server holds for one connection.
    let mut writer = Client(client.0.try_clone().expect("a second owner"));
    let sender = std::thread::spawn(move || {
        let get = commands(&[&[b"GET", b"k"]]);
        let batch = get.repeat(1000);
        (0..count / 1000).for_each(|_| writer.send(&batch));
        writer.finish();
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let answer = [b"$1000\r\n".as_slice(), &value, b"\r\n"].concat();
    let got = client.rest();
    sender.join().expect("sent everything");
    assert_eq!(got.len(), answer.len() * count);
    assert!(got.chunks(answer.len()).all(|chunk| chunk == answer));
}

#[cfg(unix)]
#[test]
fn redis_serves_a_unix_socket_beside_tcp() {
    let path = std::env::temp_dir().join(format!("mainspring-redis-{}.sock", std::process::id()));
    let unix = format!("unix://{}", path.display());
    let redis = crate::process::Example::start("redis", &["tcp://127.0.0.1:0", &unix]);
    let at = redis.ready_inet();
    assert_eq!(redis.ready(), path.display().to_string());
    let mut client = Client::connect(at);
    client.send(b"SET k v\r\n");
    client.expect(b"+OK\r\n");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("connects");
    stream.set_read_timeout(Some(crate::PATIENCE)).expect("above zero");
    std::io::Write::write_all(&mut stream, b"GET k\r\n").expect("sends");
    let mut got = [0; 7];
    std::io::Read::read_exact(&mut stream, &mut got).expect("receives");
    assert_eq!(&got, b"$1\r\nv\r\n");
    drop(redis);
    let _ = std::fs::remove_file(&path);
}
