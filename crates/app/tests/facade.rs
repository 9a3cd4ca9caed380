//! What a recorder of the crate `metrics` gets: one for all servers of a process.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "sockets are waited for in real time")]

use mainspring_app::guard::{Guard, GuardLimits, Refusal};
use mainspring_app::metrics::Meter;
use mainspring_loop::{Action, Conn, Input, Loops, Server};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Keeps the last value of everything, and what it was described as.
#[derive(Clone, Debug, Default)]
struct Kept {
    values: Arc<Mutex<HashMap<String, f64>>>,
    kinds: Arc<Mutex<HashMap<String, &'static str>>>,
}

struct One {
    kept: Kept,
    key: String,
}

impl Kept {
    fn one(&self, key: &Key, kind: &'static str) -> Arc<One> {
        let described = self.kinds.lock().unwrap().get(key.name()).copied();
        assert_eq!(described, Some(kind), "{} is described as what it is", key.name());
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        let key = format!("{}[{}]", key.name(), labels.collect::<Vec<_>>().join(" "));
        Arc::new(One { kept: self.clone(), key })
    }

    fn value(&self, key: &str) -> Option<f64> {
        self.values.lock().unwrap().get(key).copied()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        assert!(!help.is_empty());
        self.kinds.lock().unwrap().insert(key.as_str().to_owned(), "counter");
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        assert!(!help.is_empty());
        self.kinds.lock().unwrap().insert(key.as_str().to_owned(), "gauge");
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("{key:?} is no histogram of ours");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key, "counter"))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key, "gauge"))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("{key:?} is no histogram of ours");
    }
}

impl CounterFn for One {
    fn increment(&self, _: u64) {
        panic!("{}: totals are set, not counted twice", self.key);
    }

    fn absolute(&self, value: u64) {
        let before = self.kept.values.lock().unwrap().insert(self.key.clone(), value as f64);
        assert!(before.is_none_or(|before| before <= value as f64), "{} has fallen", self.key);
    }
}

impl GaugeFn for One {
    fn increment(&self, _: f64) {
        panic!("{}: gauges are set", self.key);
    }

    fn decrement(&self, _: f64) {
        panic!("{}: gauges are set", self.key);
    }

    fn set(&self, value: f64) {
        self.kept.values.lock().unwrap().insert(self.key.clone(), value);
    }
}

#[test]
fn any_recorder_gets_every_figure_by_server_and_loop() {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).expect("the only one of this process");
    let guard = Guard::new(GuardLimits { deny: "::1".parse().unwrap(), ..GuardLimits::default() });
    let meter = Meter::every(Duration::from_millis(10)).record_as("echo").guard("door", &guard);
    let running = Server::builder().loops(Loops::Count(2)).start(move |shard| {
        meter.host(shard);
        let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
            conn.out().extend_from_slice(input.take());
            Action::Continue
        });
        shard.listen(echo, "tcp://127.0.0.1:0").map(drop)
    });
    let running = running.expect("the server starts");
    let mut client = TcpStream::connect(running.addrs()[0].to_string()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(&[7; 1234]).unwrap();
    client.read_exact(&mut [0; 1234]).unwrap();
    let refused =
        guard.admit(&mainspring_io::Addr::Inet("[::1]:1".parse().unwrap()), Instant::now());
    assert_eq!(refused.err(), Some(Refusal::Denied));
    let sum = |name: &str| -> Option<f64> {
        let of_loop = |index| kept.value(&format!("{name}[server=echo loop={index}]"));
        Some(of_loop(0)? + of_loop(1)?)
    };
    let denied = "mainspring_guard_refused_total[server=echo guard=door reason=denied]";
    let wanted = || {
        sum("mainspring_received_bytes_total") == Some(1234.0)
            && sum("mainspring_sent_bytes_total") == Some(1234.0)
            && sum("mainspring_connections") == Some(1.0)
            && kept.value(denied) == Some(1.0)
            && kept.value("mainspring_loops[server=echo]") == Some(2.0)
            && kept.value("mainspring_server_connections_peak[server=echo]") == Some(1.0)
    };
    let until = Instant::now() + Duration::from_secs(20);
    while !wanted() {
        let values = kept.values.lock().unwrap();
        assert!(Instant::now() < until, "not in time: {values:#?}");
        drop(values);
        std::thread::sleep(Duration::from_millis(2));
    }
    let dropped = "mainspring_dropped_bytes_total[server=echo loop=1 reason=input]";
    assert_eq!(kept.value(dropped), Some(0.0));
    running.handle().stop();
    running.join().unwrap();
}
