//! What many timers cost in time: arming, cancelling, and how late they fire.

use clap::Args;
use mainspring::{
    Action, Addr, Address, Conn, ConnId, Cx, DriverKind, Handler, Input, Opened, Server,
    ServerInfo, Tick, TimerId,
};
use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many timers are armed
    #[arg(long, default_value_t = 1_000_000)]
    timers: usize,
    /// The connections that share them; half of them dial the other half
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// For how long firing is watched
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// The driver: auto, ready, portable, ring
    #[arg(long, default_value_t)]
    driver: DriverKind,
    /// The seed of deadlines and orders
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Deadlines are spread over this time.
const SPREAD_MS: u64 = 60_000;
/// While arming and cancelling is timed, nothing fires.
const QUIET_MS: u64 = 60_000;
/// What fires this soon after a million timers were armed at once is not watched.
const SETTLING: Duration = Duration::from_secs(2);

/// Runs a server of one loop that does it, and returns one line of JSON.
pub(crate) fn measure(arguments: &Arguments) -> Result<String, String> {
    let (tell, told) = channel();
    let arguments = arguments.clone();
    let builder = Server::builder().driver(arguments.driver).seed(arguments.seed);
    builder
        .run(|shard| {
            let host = shard.host(Timers::new(arguments, tell));
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .map_err(|error| error.to_string())?;
    told.recv().map_err(|_| "the server ended too early".to_owned())
}

struct Timers {
    arguments: Arguments,
    tell: Sender<String>,
    rng: fastrand::Rng,
    conns: Vec<ConnId>,
    fields: Vec<String>,
    /// When each timer is due; filled only while firing is watched.
    due: HashMap<TimerId, Instant>,
    late_us: Vec<u64>,
    watch_from: Option<Instant>,
}

impl Timers {
    fn new(arguments: Arguments, tell: Sender<String>) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(arguments.seed),
            arguments,
            tell,
            conns: Vec::new(),
            fields: Vec::new(),
            due: HashMap::new(),
            late_us: Vec::new(),
            watch_from: None,
        }
    }

    /// Times `each` over all items, in nanoseconds an item.
    fn time<T, U>(
        &mut self,
        name: &str,
        cx: &mut Cx<'_>,
        items: &[T],
        mut each: impl FnMut(&mut Cx<'_>, &T) -> U,
    ) -> Vec<U> {
        let mut results = Vec::with_capacity(items.len());
        let started = now();
        for item in items {
            results.push(each(cx, item));
        }
        let nanoseconds = (now() - started).as_nanos() as f64 / items.len() as f64;
        self.fields.push(format!("\"{name}_ns\":{nanoseconds:.1}"));
        results
    }

    /// Arms and cancels all timers in the orders that matter to the memory.
    fn arm_and_cancel(&mut self, cx: &mut Cx<'_>) {
        let mut plan: Vec<(ConnId, Duration)> = (0..self.arguments.timers)
            .map(|number| {
                let after = Duration::from_millis(QUIET_MS + self.rng.u64(0..SPREAD_MS));
                (self.conns[number % self.conns.len()], after)
            })
            .collect();
        let arm = |cx: &mut Cx<'_>, (id, after): &(ConnId, Duration)| {
            (*id, cx.conn(*id).expect("it is open").set_timer(*after))
        };
        let cancel = |cx: &mut Cx<'_>, (id, timer): &(ConnId, TimerId)| {
            assert!(cx.conn(*id).expect("it is open").cancel_timer(*timer), "it has not fired");
        };
        let armed = self.time("arm_first", cx, &plan, arm);
        self.time("cancel_in_order", cx, &armed, cancel);
        let mut armed = self.time("arm", cx, &plan, arm);
        self.rng.shuffle(&mut armed);
        self.time("cancel", cx, &armed, cancel);
        self.rng.shuffle(&mut plan);
        let mut armed = self.time("arm_shuffled", cx, &plan, arm);
        self.rng.shuffle(&mut armed);
        let pairs: Vec<_> = armed.iter().copied().zip(plan.iter().copied()).collect();
        // Arming takes the entry that was freed just now, while all others stay armed.
        let armed = self.time("cancel_and_arm", cx, &pairs, |cx, (timer, plan)| {
            cancel(cx, timer);
            arm(cx, plan)
        });
        for timer in &armed {
            cancel(cx, timer);
        }
    }

    fn watch_one(&mut self, conn: &mut Conn<'_>) {
        let after = Duration::from_millis(self.rng.u64(0..SPREAD_MS));
        let due = conn.now() + after;
        self.due.insert(conn.set_timer(after), due);
    }

    fn report(&mut self) {
        self.late_us.sort_unstable();
        let late = &self.late_us;
        let at = |share: f64| late.get((late.len() as f64 * share) as usize).copied().unwrap_or(0);
        let Arguments { timers, connections, driver, .. } = &self.arguments;
        let line = format!(
            "{{\"timers\":{timers},\"connections\":{connections},\"driver\":\"{driver}\",{},\
             \"fired\":{},\"lateness_p50_us\":{},\"lateness_p99_us\":{},\"lateness_p999_us\":{},\
             \"lateness_max_us\":{}}}",
            self.fields.join(","),
            late.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            late.last().copied().unwrap_or(0),
        );
        let _ = self.tell.send(line);
    }
}

impl Handler for Timers {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let Addr::Inet(addr) = &server.addrs[0] else { unreachable!("it listens on tcp") };
        let address: Address = format!("tcp://{addr}").parse().expect("a bound address");
        for _ in 0..self.arguments.connections.div_ceil(2) {
            let this = cx.this::<Self>();
            cx.connect(this, &address, ()).expect("no limit on connections");
        }
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        self.conns.push(conn.id());
        Opened::Accept(())
    }

    fn on_connected(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        self.conns.push(conn.id());
        Action::Continue
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        unreachable!("nobody sends")
    }

    fn on_timer(&mut self, (): &mut (), conn: &mut Conn<'_>, id: TimerId) -> Action {
        let due = self.due.remove(&id).expect("it was armed while firing is watched");
        let fired = now();
        assert!(fired >= due, "a timer is never early");
        if self.watch_from.is_some_and(|from| due >= from) {
            self.late_us.push((fired - due).as_micros() as u64);
        }
        self.watch_one(conn);
        Action::Continue
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        if self.watch_from.is_some() {
            self.report();
            cx.shutdown();
            return Tick::Stop;
        }
        if self.conns.len() < self.arguments.connections {
            return Tick::After(Duration::from_millis(10));
        }
        self.arm_and_cancel(cx);
        for number in 0..self.arguments.timers {
            let id = self.conns[number % self.conns.len()];
            self.watch_one(&mut cx.conn(id).expect("it is open"));
        }
        let from = now() + SETTLING;
        self.watch_from = Some(from);
        // A tick counts from the beginning of this turn, which has taken seconds.
        Tick::After(from - cx.now() + Duration::from_secs(self.arguments.seconds))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the loop by a clock that is not the loop's"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_timers_are_measured() {
        let driver = DriverKind::Auto;
        let few = Arguments { timers: 2_000, connections: 4, seconds: 1, driver, seed: 1 };
        let json = measure(&few).unwrap();
        for field in ["\"timers\":2000", "\"arm_ns\":", "\"cancel_ns\":", "\"lateness_p99_us\":"] {
            assert!(json.contains(field), "{field} is not in {json}");
        }
        assert!(!json.contains("\"fired\":0,"), "{json}");
    }
}
