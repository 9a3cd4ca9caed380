//! `ticker`.

use crate::client::Client;
use crate::process::{Example, fails};
use std::time::{Duration, Instant};

#[test]
fn ticks_come_in_their_order_and_not_early() {
    let before = Instant::now();
    let ticker = Example::start("ticker", &["20", "tcp://127.0.0.1:0"]);
    let mut client = Client::connect(ticker.ready_inet());
    assert!(client.line().starts_with("every 20 ms, so far "));
    let number = |line: String| -> u32 {
        line.trim_end().strip_prefix("tick ").expect(&line).parse().expect(&line)
    };
    let first = number(client.line());
    for nth in 1..=25 {
        assert_eq!(number(client.line()), first + nth);
    }
    // Tick 1 is at the start, and each comes 20 ms after the one before returned, at the earliest.
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(20) * (first + 24), "{first} and 25 ticks took {took:?}");
    assert!(took < Duration::from_secs(10), "{first} and 25 ticks took {took:?}");
}

#[test]
fn an_interval_that_is_none_is_refused() {
    assert!(fails("ticker", &["often"]).contains("'often'"));
    assert!(fails("ticker", &["0"]).contains("'0'"));
}
