//! The guard against a model, and its limits one by one.

use super::*;
use mainspring_io::UnixAddr;
use std::collections::HashMap;
use std::time::Duration;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    Instant::now()
}

fn peer(text: &str) -> Addr {
    Addr::Inet(std::net::SocketAddr::new(text.parse().unwrap(), 4711))
}

fn refusal(guard: &Guard, peer: &Addr, now: Instant) -> Option<Refusal> {
    guard.admit(peer, now).err()
}

#[test]
fn networks_decide_and_may_be_replaced() {
    let guard = Guard::new(GuardLimits {
        allow: Some("10.0.0.0/8, 2001:db8::/32".parse().unwrap()),
        deny: "10.6.6.0/24".parse().unwrap(),
        ..GuardLimits::default()
    });
    let now = start();
    for (address, wanted) in [
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8::5", None),
        ("10.6.6.6", Some(Refusal::Denied)),
        ("::ffff:10.6.6.6", Some(Refusal::Denied)),
        ("192.0.2.1", Some(Refusal::NotAllowed)),
        ("::1", Some(Refusal::NotAllowed)),
    ] {
        assert_eq!(refusal(&guard, &peer(address), now), wanted, "{address}");
    }
    assert_eq!(refusal(&guard, &Addr::Unix(UnixAddr::Unnamed), now), None);
    guard.set_networks(None, "::/0".parse().unwrap());
    assert_eq!(refusal(&guard, &peer("192.0.2.1"), now), None);
    assert_eq!(refusal(&guard, &peer("::1"), now), Some(Refusal::Denied));
    let stats = guard.stats();
    assert_eq!((stats.admitted, stats.open, stats.clients), (5, 0, 0));
    assert_eq!((stats.refused(Refusal::Denied), stats.refused(Refusal::NotAllowed)), (3, 2));
    assert_eq!(stats.refused_total(), 5);
}

#[test]
fn a_full_table_of_open_clients_refuses_and_gives_way_when_one_has_gone() {
    let guard = Guard::new(GuardLimits {
        client_connections_max: Some(NonZeroU32::MIN),
        clients_max: 2,
        ..GuardLimits::default()
    });
    let now = start();
    let first = guard.admit(&peer("192.0.2.1"), now).unwrap();
    let _second = guard.admit(&peer("2001:db8::1"), now).unwrap();
    assert_eq!(refusal(&guard, &peer("192.0.2.3"), now), Some(Refusal::TableFull));
    assert_eq!(refusal(&guard, &peer("2001:db8::2"), now), Some(Refusal::ClientConnections));
    assert_eq!(guard.admit(&Addr::Unix(UnixAddr::Unnamed), now).err(), None, "no client");
    drop(first);
    assert_eq!(refusal(&guard, &peer("192.0.2.3"), now), None);
    assert_eq!(guard.stats().clients, 2);
}

#[test]
fn who_is_refused_by_one_limit_uses_nothing_of_the_others() {
    let guard = Guard::new(GuardLimits {
        client_rate: Some(Rate::per_minute(1)),
        rate: Some(Rate::per_minute(2)),
        ..GuardLimits::default()
    });
    let now = start();
    let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(peer);
    assert_eq!(refusal(&guard, &a, now), None);
    for _ in 0..10 {
        assert_eq!(refusal(&guard, &a, now), Some(Refusal::ClientRate));
    }
    assert_eq!(refusal(&guard, &b, now), None);
    assert_eq!(refusal(&guard, &c, now), Some(Refusal::Rate));
    assert_eq!(guard.stats().clients, 2, "c was not remembered");
    let later = now + Duration::from_secs(30);
    assert_eq!(refusal(&guard, &c, later), None);
    assert_eq!(refusal(&guard, &a, later), Some(Refusal::ClientRate));
    let last = now + Duration::from_secs(61);
    assert_eq!(refusal(&guard, &a, last), None);
}

/// What one client has used, in the model: when its connections came, and how many are open.
#[derive(Default)]
struct Used {
    open: u32,
    came: Vec<Duration>,
}

/// No client has ever more connections, and in no stretch of time come more, than the limits say;
/// and nobody is refused whom they allow. The table is larger than the number of clients.
#[test]
fn no_limit_is_passed_and_none_refuses_early() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let open_max = rng.u32(1..4);
        let (interval_ms, burst) = (rng.u32(1..40), rng.u32(1..6));
        let guard = Guard::new(GuardLimits {
            client_connections_max: NonZeroU32::new(open_max),
            client_rate: Some(Rate::per_second(1000 / interval_ms).burst(burst)),
            ..GuardLimits::default()
        });
        let interval = Duration::from_secs(1) / (1000 / interval_ms);
        let mut used: HashMap<u8, Used> = HashMap::new();
        let mut permits: Vec<(u8, Permit)> = Vec::new();
        let (start, mut time) = (start(), Duration::ZERO);
        for step in 0..2_000 {
            let about = format!("seed {seed} step {step}");
            time += Duration::from_micros(rng.u64(0..10_000));
            if rng.bool() && !permits.is_empty() {
                let (client, permit) = permits.swap_remove(rng.usize(0..permits.len()));
                drop(permit);
                used.get_mut(&client).unwrap().open -= 1;
                continue;
            }
            let client = rng.u8(0..5);
            let (v6, host) =
                (format!("2001:db8:0:{client}::{step:x}"), format!("192.0.2.{client}"));
            let address = if client < 3 { host } else { v6 };
            let verdict = guard.admit(&peer(&address), start + time);
            let of_client = used.entry(client).or_default();
            let wanted = if of_client.open == open_max {
                Some(Refusal::ClientConnections)
            } else if !of_client.has_token(time, interval, burst) {
                Some(Refusal::ClientRate)
            } else {
                None
            };
            assert_eq!(verdict.as_ref().err().copied(), wanted, "{about}");
            if let Ok(permit) = verdict {
                permits.push((client, permit));
                of_client.open += 1;
                of_client.came.push(time);
            }
        }
        assert_eq!(guard.stats().open, permits.len() as u64);
    }
}

impl Used {
    /// Whether for every past connection there was time enough for all since it and one more.
    fn has_token(&self, now: Duration, interval: Duration, burst: u32) -> bool {
        self.came.iter().rev().enumerate().all(|(later, came)| {
            let with_this = later as u32 + 2;
            let to_wait = interval * with_this.saturating_sub(burst);
            now >= *came + to_wait
        })
    }
}
