//! A feed: every message goes to everyone, through broadcasters with limits of their own; and the
//! accounts that they keep.

use super::ledger::{Book, Ledger, Record};
use super::plan::{Kind, Plan};
use super::planted::Bug;
use super::service::Service;
use bytes::Bytes;
use fastrand::Rng;
use mainspring_loop::{
    Action, BroadcastLimits, BroadcastStats, Broadcaster, CloseReason, ConnId, Input, SlowPolicy,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// One broadcaster, and what is known of it beside its own account.
pub(super) struct Feed {
    pub(super) broadcaster: Broadcaster,
    /// Messages to targets that it was given.
    sent: u64,
    /// Messages that clients have got, whole.
    heard: u64,
}

impl Feed {
    pub(super) fn new(broadcaster: Broadcaster) -> Self {
        Self { broadcaster, sent: 0, heard: 0 }
    }
}

/// The limits of one to three broadcasters.
pub(super) fn limits(rng: &mut Rng) -> Vec<BroadcastLimits> {
    let one = |rng: &mut Rng| BroadcastLimits {
        outbox_bytes: rng.usize(0..=2_000),
        queue_bytes: if rng.bool() { rng.usize(..4_000) } else { 1 << 20 },
        queue_messages: if rng.bool() { rng.usize(..20) } else { 1 << 20 },
        deadline: rng.bool().then(|| Duration::from_millis(rng.u64(..30))),
        policy: [SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Disconnect]
            [rng.usize(..3)],
    };
    (0..rng.usize(1..=3)).map(|_| one(rng)).collect()
}

/// Which broadcaster takes the messages of a client.
pub(super) fn feed_of(plan: &Plan, sender: u16) -> usize {
    usize::from(sender) % plan.feeds.len()
}

impl Service {
    /// Gives each whole message to the sender's broadcaster, for almost every member.
    pub(super) fn tell_feed(&mut self, input: &mut Input<'_>) -> Action {
        let size = self.plan.message_bytes;
        while input.len() >= size {
            let message = Bytes::copy_from_slice(&input.bytes()[..size]);
            input.consume(size);
            let feed = feed_of(&self.plan, u16::from_le_bytes([message[0], message[1]]));
            let mut targets = self.book.open().hall.clone();
            targets.retain(|_| self.rng.u8(..10) > 0);
            let broadcaster = self.note_cast(feed, &targets);
            if !targets.is_empty() && self.plan.trap.strikes(Bug::LostCast) {
                targets.pop();
            }
            let taken = match self.rng.bool() {
                true => broadcaster.send(message, &targets),
                false => broadcaster.send_to(message, &broadcaster.targets(&targets)),
            };
            // Where a loop has refused it, the broadcaster has counted that.
            self.book.open().full += u64::from(taken.is_err());
        }
        Action::Continue
    }

    fn note_cast(&self, feed: usize, targets: &[ConnId]) -> Broadcaster {
        let mut book = self.book.open();
        targets.iter().for_each(|id| book.cast(*id, self.plan.message_bytes));
        let feed = &mut book.feeds[feed];
        feed.sent += targets.len() as u64;
        feed.broadcaster.clone()
    }
}

/// Clients have got so many whole messages.
pub(super) fn heard(book: &mut Ledger, by_sender: &BTreeMap<u16, u64>) {
    let plan = book.plan.clone();
    for (sender, count) in by_sender {
        book.feeds[feed_of(&plan, *sender)].heard += count;
    }
}

/// Between two turns every message to every target is accounted for.
pub(super) fn balances(book: &Book) {
    let mut book = book.open();
    let mut accounts = book.feeds.iter().map(|feed| feed.broadcaster.stats());
    let broken = accounts.find(|stats| !stats.is_balanced() || stats.waiting > stats.queued);
    if let Some(stats) = broken {
        book.fail(format!("a broadcaster's account is not balanced: {stats:?}"));
    }
}

/// At the end nothing is under way, and the account agrees with what was sent and what was heard.
pub(super) fn end(book: &mut Ledger) {
    let plan = book.plan.clone();
    let is_whole = is_whole(book);
    for index in 0..book.feeds.len() {
        let Feed { ref broadcaster, sent, heard } = book.feeds[index];
        let stats = broadcaster.stats();
        let about = format!("broadcaster {index} of {:?}: {stats:?}", plan.feeds[index]);
        let cut_short = stats.dropped.closed + stats.dropped.disconnected;
        let BroadcastLimits { deadline, policy, .. } = plan.feeds[index];
        let has_oldest = stats.dropped.oldest > 0 && policy != SlowPolicy::DropOldest;
        let laws = [
            (stats.is_balanced(), "is not balanced at the end"),
            ((stats.queued, stats.waiting) == (0, 0), "has messages under way at the end"),
            (stats.sent == sent, "has not counted what it was given"),
            (heard <= stats.delivered + cut_short, "delivered less than was heard"),
            (!is_whole || heard == stats.delivered, "delivered more than was heard"),
            (stats.dropped.late == 0 || deadline.is_some(), "drops for a deadline it has not"),
            (!has_oldest, "drops the oldest against its policy"),
        ];
        for (holds, why) in laws {
            book.check(holds, || format!("{about}, {why}: {sent} given, {heard} heard"));
        }
    }
}

/// Whether everybody who was in the hall has been there to the end of what was sent.
fn is_whole(book: &Ledger) -> bool {
    let here = |record: &&Record| record.kind == Kind::Feed;
    let ended = |record: &Record| record.reason == Some(CloseReason::Peer) && record.read_to_end;
    book.conns.iter().filter(here).all(ended)
}

/// Bytes of broadcasters that have entered an outbox: at least, and at most.
pub(super) fn bytes(book: &Ledger) -> (u64, u64) {
    let size = book.plan.message_bytes as u64;
    let all = book.feeds.iter().map(|feed| feed.broadcaster.stats());
    all.fold((0, 0), |(least, most), BroadcastStats { delivered, dropped, .. }| {
        let cut_short = dropped.closed + dropped.disconnected;
        (least + delivered * size, most + (delivered + cut_short) * size)
    })
}

/// What the broadcasters met.
pub(super) fn met(book: &Ledger) -> Vec<(&'static str, u64)> {
    let sum = |of: fn(&BroadcastStats) -> u64| {
        book.feeds.iter().map(|feed| of(&feed.broadcaster.stats())).sum()
    };
    let is_whole = is_whole(book) && book.feeds.iter().any(|feed| feed.heard > 0);
    vec![
        ("cast: sent", sum(|stats| stats.sent)),
        ("cast: delivered", sum(|stats| stats.delivered)),
        ("cast: newest", sum(|stats| stats.dropped.newest)),
        ("cast: oldest", sum(|stats| stats.dropped.oldest)),
        ("cast: late", sum(|stats| stats.dropped.late)),
        ("cast: closed", sum(|stats| stats.dropped.closed)),
        ("cast: disconnected", sum(|stats| stats.dropped.disconnected)),
        ("cast: unknown", sum(|stats| stats.dropped.unknown)),
        ("cast: refused", sum(|stats| stats.dropped.refused)),
        ("cast: all heard", u64::from(is_whole)),
    ]
}
