//! The laws that hold for a server as a whole.

use super::feed;
use super::ledger::{Book, Ledger, Record};
use super::plan::Plan;
use super::stage::Stage;
use mainspring_loop::{CloseReason, Handle, LoopStats};
use std::collections::BTreeMap;

/// After each round: what the loops buffer.
pub(super) fn buffers<S: Stage>(plan: &Plan, book: &Book, stage: &S) {
    let share = plan.limits.memory_max / plan.loops;
    for (index, buffered) in stage.buffered_bytes().enumerate() {
        if buffered <= share {
            continue;
        }
        let mut book = book.open();
        // Where the loops go on meanwhile, the figure may be older than the end of a connection:
        // those that have ended count too.
        let may_buffer = |record: &Record| !S::STANDS_STILL || !record.ended;
        let here = |record: &&Record| record.id.loop_index() == index && may_buffer(record);
        let conns = book.conns.iter().filter(here).count();
        // Over its share a loop cuts who buffers more output than the low mark, at the next visit.
        let each = plan.limits.output_low + plan.limits.input_max;
        let most = share + conns * each + plan.one_delivery();
        book.check(buffered <= most, || {
            format!("loop {index} buffers {buffered} bytes for {conns} connections, share {share}")
        });
    }
}

/// At the end, when no loop is left.
pub(super) fn end(plan: &Plan, book: &Book, handle: &Handle, heard: u64) {
    let total = handle.stats().total;
    let mut book = book.open();
    ends(&mut book);
    counts(&mut book, &total);
    bytes(plan, &mut book, &total);
    feed::end(&mut book);
    frames(&mut book);
    let completions = (book.completions, book.completions_owed);
    book.check(completions.0 == completions.1, || {
        format!("(called, owed) completions are {completions:?}")
    });
    let (sent, twice) = (total.datagrams_out, plan.faults.datagram_duplication > 0.0);
    book.check(heard <= sent || twice, || format!("{heard} datagrams heard, {sent} sent"));
    let replies = book.datagram_replies;
    book.check(sent <= replies, || format!("{sent} datagrams sent for {replies} replies"));
}

fn ends(book: &mut Ledger) {
    let open = |record: &&Record| record.has_state && !record.ended;
    let open: Vec<String> = book.conns.iter().filter(open).map(|r| format!("{r:?}")).collect();
    if let Some(first) = open.first() {
        book.fail(format!("{} connections were never told their end: {first}", open.len()));
    }
}

fn counts(book: &mut Ledger, total: &LoopStats) {
    let accepted = book.conns.iter().filter(|r| r.has_state && !r.dialled).count() as u64;
    let dialled = book.conns.iter().filter(|r| r.dialled && r.up).count() as u64;
    let panics = book.panics;
    let laws = [
        ("accepted, as handlers saw it", total.accepted, accepted),
        ("dialled, as handlers saw it", total.dialled, dialled),
        ("closed, of accepted and dialled", total.closed, total.accepted + total.dialled),
        ("open at the end", total.connections, 0),
        ("buffered at the end", total.buffered_bytes, 0),
        ("stale events", total.stale_events, 0),
        ("panics, of planned ones", total.panics, panics),
    ];
    for (what, counted, expected) in laws {
        book.check(counted == expected, || format!("{what}: {counted} counted, not {expected}"));
    }
}

/// What meters count is what handlers have seen.
fn frames(book: &mut Ledger) {
    let counted = book.frame_meters.iter().map(|meter| meter.snapshot());
    let counted =
        counted.fold((0, 0), |sum, stats| (sum.0 + stats.frames, sum.1 + stats.discarded));
    let seen = (book.frames, book.frames_discarded);
    book.check(counted == seen, || {
        format!("(frames, discarded frames) seen are {seen:?}, counted {counted:?}")
    });
}

/// Nothing is lost without being counted.
fn bytes(plan: &Plan, book: &mut Ledger, total: &LoopStats) {
    let late_sends = total.dropped_sends - book.shared_lost;
    let late = late_sends * plan.message_bytes as u64;
    let late = late + book.task_bytes_dropped;
    let dropped = total.dropped_slow_bytes + total.dropped_closed_bytes + late;
    let (offered, out) = (book.offered, total.bytes_out);
    let cast = feed::bytes(book);
    // Layers have made other bytes of some, which then were sent or dropped in their place.
    let (wrapped, wire) = (total.layer_plain_out, total.layer_wire_out);
    let (given, gone) = (offered + wire, out + dropped + wrapped);
    book.check((given + cast.0..=given + cast.1).contains(&gone), || {
        format!(
            "handlers gave {offered} bytes, broadcasters {cast:?}, layers made {wire} of {wrapped}; {out} sent, \
             {} dropped for slowness, {} at closing, {late} too late: {} are missing",
            total.dropped_slow_bytes,
            total.dropped_closed_bytes,
            (given + cast.0) as i64 - gone as i64,
        )
    });
}

/// What the world met.
pub(super) fn met(book: &Ledger, handle: &Handle) -> BTreeMap<String, u64> {
    let total = handle.stats().total;
    let mut met = BTreeMap::new();
    let mut add = |what: &str, count: u64| *met.entry(what.to_owned()).or_default() += count;
    for record in &book.conns {
        match record.reason {
            Some(CloseReason::Failed(_)) => add("closed: Failed", 1),
            Some(CloseReason::Layer(_)) => add("closed: Layer", 1),
            Some(reason) => add(&format!("closed: {reason:?}"), 1),
            None if record.detached => add("detached", 1),
            None => {}
        }
    }
    let figures = [
        ("callbacks", book.callbacks),
        ("ticks", book.ticks),
        ("refused", book.refused),
        ("full", book.full),
        ("drained", book.drained),
        ("completions sent", book.completions_sent),
        ("completions closed", book.completions - book.completions_sent),
        ("accepted", total.accepted),
        ("dialled", total.dialled),
        ("turned away", total.refused),
        ("bytes out", total.bytes_out),
        ("dropped as slow", total.dropped_slow_bytes),
        ("dropped at closing", total.dropped_closed_bytes),
        ("dropped sends", total.dropped_sends),
        ("dropped input", total.dropped_input_bytes),
        ("datagrams out", total.datagrams_out),
        ("datagrams over the limit", total.dropped_datagrams_full),
        ("panics", total.panics),
        ("accept errors", total.accept_errors),
        ("layered bytes in", total.layer_plain_in),
        ("layered bytes out", total.layer_plain_out),
        ("layered midway", book.layered),
        ("handshakes failed", total.handshakes_failed),
        ("frames", book.frames),
        ("frames discarded", book.frames_discarded),
        ("tasks", book.tasks),
        ("links: dials", book.links.iter().map(|link| link.watch.dials()).sum()),
        ("links: connected", book.links.iter().map(|link| link.watch.connected()).sum()),
        ("links: answered", book.links.iter().map(|link| link.answered).sum()),
        ("links: given up", book.links.iter().filter(|link| link.watch.gave_up()).count() as u64),
    ];
    figures.into_iter().chain(feed::met(book)).for_each(|(what, count)| add(what, count));
    met
}
