//! Figures against what has really passed.

use crate::stage::{
    TCP, connect, echo, eventually, eventually_sim, inet, say, simulated, start, stop,
};
use mainspring_app::metrics::{ConnMetrics, Meter, Metrics};
use mainspring_loop::{Loops, Server};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Samples = Arc<Mutex<Vec<Metrics>>>;

fn collecting(samples: &Samples) -> impl Fn(&Metrics) + Send + Sync + 'static + use<> {
    let samples = samples.clone();
    move |metrics| samples.lock().unwrap().push(metrics.clone())
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-6 * one.abs().max(1.0)
}

/// Timers are in steps of a millisecond and never early.
fn is_about_a_second(time: Duration) -> bool {
    (SECOND..SECOND + Duration::from_millis(3)).contains(&time)
}

/// A rate of what passed within one interval of about a second.
fn is_about(count: f64, rate: f64) -> bool {
    (count * 0.997..=count).contains(&rate)
}

/// A mebibyte is echoed; in whatever seconds it passed, the rates add up to it.
#[test]
fn rates_add_up_to_the_totals_and_samples_come_once_an_interval() {
    let samples = Samples::default();
    let meter = Meter::every(SECOND).on_metrics(collecting(&samples));
    let for_loop = meter.clone();
    let mut server = simulated(move |shard| {
        for_loop.host(shard);
        let host = shard.host(echo);
        shard.listen(host, TCP).map(drop)
    });
    assert_eq!(meter.read().stats.loops.len(), 1);
    let mut peer = server.world().connect(&server.addr(0)).unwrap();
    let (mut unsent, mut got) = (vec![7; 1 << 20], 0);
    eventually_sim(&mut server, 100 * SECOND, || {
        let sent = peer.send(&unsent);
        unsent.drain(..sent);
        got += peer.take_received().len();
        got == 1 << 20
    });
    let count = samples.lock().unwrap().len() + 3;
    eventually_sim(&mut server, 10 * SECOND, || samples.lock().unwrap().len() == count);
    let samples = samples.lock().unwrap();
    let first = samples[0].stats.total.clone();
    let (mut received, mut sent, mut accepted, mut peak) = (0.0, 0.0, 0.0, 0.0_f64);
    for pair in samples.windows(2) {
        let [earlier, later] = pair else { unreachable!() };
        let interval = later.uptime - earlier.uptime;
        assert!(is_about_a_second(interval), "{interval:?}");
        received += later.rates.received_bytes * interval.as_secs_f64();
        sent += later.rates.sent_bytes * interval.as_secs_f64();
        accepted += later.rates.accepted * interval.as_secs_f64();
        peak = peak.max(later.rates.received_bytes);
        assert_eq!(later.peaks.rates.received_bytes, peak);
    }
    let last = samples.last().unwrap();
    assert!(close(received, (last.stats.total.bytes_in - first.bytes_in) as f64), "{received}");
    assert!(close(sent, (last.stats.total.bytes_out - first.bytes_out) as f64), "{sent}");
    assert!(close(accepted, (last.stats.total.accepted - first.accepted) as f64), "{accepted}");
    assert_eq!((last.stats.total.bytes_in, last.stats.total.bytes_out), (1 << 20, 1 << 20));
    assert_eq!(last.rates.received_bytes, 0.0, "a second without traffic");
    assert!(last.peaks.rates.received_bytes > 0.0);
}

#[test]
fn single_connections_have_totals_rates_and_peaks() {
    let seen: Arc<Mutex<Vec<Vec<ConnMetrics>>>> = Arc::default();
    let collect = seen.clone();
    let meter = Meter::every(SECOND).on_connections(move |loop_index, connections| {
        assert_eq!(loop_index, 0);
        collect.lock().unwrap().push(connections.to_vec());
    });
    let mut server = simulated(move |shard| {
        meter.host(shard);
        let host = shard.host(echo);
        shard.listen(host, TCP).map(drop)
    });
    let (mut busy, mut idle) = {
        let connect = || server.world().connect(&server.addr(0)).unwrap();
        (connect(), connect())
    };
    eventually_sim(&mut server, 5 * SECOND, || {
        seen.lock().unwrap().last().is_some_and(|sample| sample.len() == 2)
    });
    say(&mut server, &mut busy, &[7; 1000]);
    let samples = seen.lock().unwrap().len();
    eventually_sim(&mut server, 5 * SECOND, || seen.lock().unwrap().len() == samples + 3);
    let of = |sample: &[ConnMetrics], bytes: u64| {
        let is_it = |metrics: &&ConnMetrics| metrics.info.stats.bytes_in == bytes;
        sample.iter().find(is_it).cloned().expect("a connection with these bytes")
    };
    {
        let seen = seen.lock().unwrap();
        let after = of(&seen[samples], 1000);
        let (received, sent) = (after.received_bytes_per_second, after.sent_bytes_per_second);
        assert!(is_about(1000.0, received) && is_about(1000.0, sent), "{after:?}");
        let later = of(&seen[samples + 2], 1000);
        assert_eq!(later.received_bytes_per_second, 0.0);
        assert_eq!(later.received_bytes_per_second_peak, received);
        assert_eq!(of(&seen[samples + 2], 0).sent_bytes_per_second_peak, 0.0);
    }
    idle.close();
    eventually_sim(&mut server, 5 * SECOND, || seen.lock().unwrap().last().unwrap().len() == 1);
}

#[test]
fn the_peak_of_connections_stays_and_every_loop_is_counted() {
    for loops in [1, 2] {
        let meter = Meter::every(Duration::from_millis(20));
        let for_loops = meter.clone();
        let running = start(Server::builder().loops(Loops::Count(loops)), move |shard| {
            for_loops.host(shard);
            let host = shard.host(echo);
            shard.listen(host, TCP).map(drop)
        });
        let addr = inet(&running.addrs()[0]);
        let mut clients: Vec<_> = (0..5).map(|_| connect(addr)).collect();
        for client in &mut clients {
            client.write_all(b"here").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
        eventually("five", || meter.read().stats.total.connections == 5);
        drop(clients);
        eventually("none", || meter.read().stats.total.connections == 0);
        let metrics = meter.read();
        assert_eq!((metrics.peaks.connections, metrics.stats.loops.len()), (5, loops));
        assert_eq!((metrics.stats.total.bytes_in, metrics.stats.total.closed), (20, 5));
        stop(running);
        assert_eq!(meter.read().stats.total.closed, 5, "a meter outlives its server");
    }
}

#[test]
fn a_callback_that_panics_is_called_again() {
    let calls: Arc<Mutex<u32>> = Arc::default();
    let counted = calls.clone();
    let meter = Meter::every(Duration::from_millis(5)).on_metrics(move |_| {
        *counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        panic!("in a callback");
    });
    let running = start(Server::builder(), move |shard| {
        meter.host(shard);
        Ok(())
    });
    eventually("three calls", || {
        *calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner) >= 3
    });
    stop(running);
}
