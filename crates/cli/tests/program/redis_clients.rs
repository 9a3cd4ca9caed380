//! Redis clients that were not written here: three languages, and the tools of Redis itself.

use crate::process::{Folder, Program, content, peers};
use redis::Commands;
use std::process::Command;

fn start(more: &[&str]) -> Program {
    let mut arguments = vec!["redis", "--listen", "tcp://127.0.0.1:0"];
    arguments.extend(more);
    Program::start(&arguments)
}

fn redis_cli(program: &Program, arguments: &[&str]) -> String {
    content(Command::new("redis-cli").args(["-p", &program.port()]).args(arguments))
}

#[test]
fn redis_cli_over_tcp_and_unix() {
    let folder = Folder::new("redis-cli");
    let socket = folder.join("redis.sock");
    let program = start(&["--unix", &socket]);
    assert_eq!(redis_cli(&program, &["set", "key", "a value"]), "OK\n");
    assert_eq!(redis_cli(&program, &["get", "key"]), "a value\n");
    assert_eq!(redis_cli(&program, &["get", "none"]), "\n");
    assert_eq!(redis_cli(&program, &["incrby", "n", "5"]), "5\n");
    assert_eq!(redis_cli(&program, &["mget", "key", "n"]), "a value\n5\n");
    assert_eq!(redis_cli(&program, &["config", "get", "save"]), "save\n\n");
    assert!(redis_cli(&program, &["info", "server"]).contains("redis_version:7."));
    assert!(redis_cli(&program, &["nope"]).starts_with("ERR unknown command 'nope'"));
    let unix = content(Command::new("redis-cli").args(["-s", &socket, "get", "key"]));
    assert_eq!(unix, "a value\n");
    assert_eq!(redis_cli(&program, &["-3", "get", "none"]), "\n");
    assert_eq!(redis_cli(&program, &["-3", "--json", "get", "none"]), "null\n");
    assert_eq!(
        redis_cli(&program, &["-3", "--json", "config", "get", "save"]),
        "{\"save\":\"\"}\n"
    );
    assert_eq!(redis_cli(&program, &["-3", "--json", "mget", "n", "x"]), "[\"5\",null]\n");
    assert!(
        redis_cli(&program, &["-3", "info", "server"]).starts_with("# Server\r\nredis_version:7.")
    );
    assert!(redis_cli(&program, &["-3", "hello"]).contains("\nproto 3\n"));
    program.stop();
}

#[test]
fn redis_cli_pipes_ten_thousand_commands() {
    let folder = Folder::new("pipe");
    let file = folder.join("commands");
    let commands: String = (0..10_000).map(|n| format!("SET key:{n} {n}\r\n")).collect();
    std::fs::write(&file, commands).unwrap();
    let program = start(&["--loops", "2"]);
    let mut pipe = Command::new("redis-cli");
    pipe.args(["-p", &program.port(), "--pipe"]).stdin(std::fs::File::open(&file).unwrap());
    let seen = content(&mut pipe);
    assert!(seen.contains("errors: 0, replies: 10000"), "{seen}");
    assert_eq!(redis_cli(&program, &["dbsize"]), "10000\n");
    assert_eq!(redis_cli(&program, &["--scan", "--pattern", "key:1??"]).lines().count(), 100);
    program.stop();
}

/// What `redis-benchmark -t incr` counts in.
const COUNTER: &str = "counter:__rand_int__";

#[test]
fn redis_benchmark_with_short_and_long_pipelines() {
    for loops in ["1", "2"] {
        let program = start(&["--loops", loops]);
        for pipeline in ["1", "16", "128"] {
            let mut benchmark = Command::new("redis-benchmark");
            benchmark.args(["-p", &program.port(), "-n", "20000", "-P", pipeline]);
            let seen = content(benchmark.args(["-t", "ping,set,get,incr,mset", "--csv"]));
            // A headline, PING twice, SET, GET, INCR, MSET.
            assert_eq!(seen.lines().count(), 7, "{seen}");
        }
        let mut in_resp3 = Command::new("redis-benchmark");
        in_resp3.args(["-3", "-p", &program.port(), "-n", "20000", "-P", "16"]);
        let seen = content(in_resp3.args(["-t", "ping,set,get", "--csv"]));
        assert_eq!(seen.lines().count(), 5, "{seen}");
        // It may send some more than it was told to, to fill its pipelines.
        let count: u64 = redis_cli(&program, &["get", COUNTER]).trim().parse().unwrap();
        assert!((60_000..60_000 + 50 * 128).contains(&count), "{count}");
        program.stop();
    }
}

#[test]
fn the_client_for_rust() {
    for protocol in ["", "?protocol=resp3"] {
        let program = start(&[]);
        the_client_for_rust_with(&format!("redis://{}/{protocol}", program.addr()));
        program.stop();
    }
}

fn the_client_for_rust_with(url: &str) {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_connection().unwrap();
    let () = connection.set("key", &b"\0\r\n"[..]).unwrap();
    assert_eq!(connection.get::<_, Vec<u8>>("key").unwrap(), b"\0\r\n");
    assert_eq!(connection.get::<_, Option<String>>("none").unwrap(), None);
    assert_eq!(connection.incr::<_, _, i64>("n", 41).unwrap(), 41);
    assert_eq!(connection.del::<_, i64>(&["key", "none"]).unwrap(), 1);
    let mut pipe = redis::pipe();
    (0..1000).for_each(|n| {
        pipe.cmd("SET").arg(n).arg(n).ignore();
    });
    let seen: Vec<i64> = pipe.cmd("GET").arg(999).cmd("DBSIZE").query(&mut connection).unwrap();
    assert_eq!(seen, [999, 1001]);
    let error = redis::cmd("NOPE").query::<()>(&mut connection).unwrap_err();
    assert!(error.to_string().contains("unknown command"), "{error}");
}

const PYTHON: &str = r#"
import sys, threading, redis
port, protocol = map(int, sys.argv[1:])
options = {} if protocol == 3 else {"protocol": protocol}
r = redis.Redis(port=port, client_name="tester", **options)
hello = r.execute_command("HELLO")
proto = hello[b"proto"] if protocol == 3 else hello[hello.index(b"proto") + 1]
assert proto == protocol, f"{hello}"
assert r.ping() and r.set("k", b"\0\r\n") and r.get("k") == b"\0\r\n" and r.get("none") is None
assert r.client_getname() == "tester" or r.client_getname() == b"tester"
assert r.mset({"a": 1, "b": 2}) and r.mget("a", "b", "c") == [b"1", b"2", None]
assert r.set("k", "x", nx=True) is None and r.set("k", "y", get=True) == b"\0\r\n"
assert r.incr("n", 5) == 5 and r.decr("n") == 4 and r.append("s", "abc") == 3 and r.strlen("s") == 3
assert r.getrange("s", 1, -1) == b"bc" and r.delete("a", "b", "c") == 2 and r.exists("k", "k") == 2
assert r.type("k") == b"string" and r.ttl("k") == -1 and sorted(r.keys("[kn]")) == [b"k", b"n"]
assert r.config_get("*")["save"] == "" and r.info()["redis_version"].startswith("7.")
assert r.execute_command("SELECT", 0) and r.command_count() > 40 and "get" in r.command()
try:
    r.set("k", "v", ex=10)
    raise SystemExit("EX was taken")
except redis.ResponseError as error:
    assert "syntax error" in str(error)
pipe = r.pipeline(transaction=False)
for n in range(1000): pipe.set(f"p{n}", n)
pipe.get("p999")
assert pipe.execute()[-1] == b"999"
def add():
    for _ in range(200): r.incr("shared")
threads = [threading.Thread(target=add) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert r.get("shared") == b"1600"
assert r.flushall() and r.dbsize() == 0
"#;

#[test]
fn the_client_for_python() {
    // It speaks RESP3 unless told otherwise.
    for protocol in ["3", "2"] {
        let program = start(&["--loops", "2"]);
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", peers().join("python"));
        content(python.args(["-c", PYTHON, &program.port(), protocol]));
        program.stop();
    }
}

const NODE: &str = r#"
const assert = require("node:assert");
const { createClient } = require("redis");
(async () => {
  const [port, protocol] = process.argv.slice(1).map(Number);
  const options = protocol === 3 ? {} : { RESP: protocol };
  const url = `redis://127.0.0.1:${port}`;
  const c = createClient({ url, name: "tester", socket: { reconnectStrategy: false }, ...options });
  c.on("error", (error) => { console.error(error); process.exit(1); });
  await c.connect();
  assert.equal((await c.hello()).proto, protocol);
  assert.equal(await c.set("k", "v"), "OK");
  assert.equal(await c.get("k"), "v");
  assert.equal(await c.get("none"), null);
  assert.equal(await c.clientGetName(), "tester");
  const many = Array.from({ length: 1000 }, (_, n) => c.incr("n"));
  assert.equal((await Promise.all(many)).pop(), 1000);
  assert.deepEqual(await c.mGet(["k", "n", "x"]), ["v", "1000", null]);
  const big = "x".repeat(1 << 20);
  await c.set("big", big);
  assert.equal(await c.get("big"), big);
  assert.equal(await c.del(["k", "x"]), 1);
  await assert.rejects(c.sendCommand(["NOPE", "a"]), /unknown command 'NOPE'/);
  await c.close();
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn the_client_for_node() {
    // It speaks RESP3 unless told otherwise.
    for protocol in ["3", "2"] {
        let program = start(&["--loops", "2"]);
        let mut node = Command::new("node");
        node.env("NODE_PATH", peers().join("node").join("node_modules"));
        content(node.args(["-e", NODE, &program.port(), protocol]));
        program.stop();
    }
}
