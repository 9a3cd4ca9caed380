//! Limits on connections, refusals, and limits that contradict each other.

mod support;

use mainspring_loop::{Action, Error, Limits, LoopStats, Loops, Server};
use support::*;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[test]
fn one_connection_too_many_is_closed_at_once_and_counted() {
    let _bound = bound(30);
    for loops in [1, 3] {
        let log = Log::new();
        let probe = log.clone();
        let builder = Server::builder()
            .loops(Loops::Count(loops))
            .limits(limits(|limits| limits.connections_max = 2));
        let running = start_with(builder, &[TCP], move || Probe::echo(&probe));
        let handle = running.handle();
        let mut clients: Vec<Client> = (0..2).map(|_| Client::tcp(inet(&running))).collect();
        log.wait_for(2, "open");
        let mut third = Client::tcp(inet(&running));
        third.expect_end();
        eventually_stats(&handle, "refused", |stats| stats.total.refused == 1);
        for client in &mut clients {
            client.send(b"served");
            client.expect(b"served");
        }
        drop(clients.pop());
        log.wait_for(1, "close");
        let mut fourth = Client::tcp(inet(&running));
        fourth.send(b"room again");
        fourth.expect(b"room again");
        let figures = |total: &LoopStats| (total.accepted, total.refused, total.connections);
        eventually_total(&handle, figures, (3, 1, 2));
        assert_eq!(log.count("open"), 3);
        stop(running);
    }
}

#[test]
fn a_refusal_is_sent_with_its_banner_and_nobody_hears_of_a_close() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe).open(|conn| {
            conn.out().extend_from_slice(b"no room\r\n");
            None
        })
    });
    let handle = running.handle();
    for _ in 0..3 {
        let mut client = Client::tcp(inet(&running));
        client.send(b"what is sent to nobody");
        assert_eq!(client.receive_to_end(), b"no room\r\n");
    }
    let stats = eventually_stats(&handle, "closed", |stats| stats.total.connections == 0).total;
    assert_eq!((stats.refused, stats.accepted, stats.closed), (3, 0, 0));
    stop(running);
    assert_eq!((log.count("close"), log.count("data"), log.count("wake")), (0, 0, 0));
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_refusal_without_a_banner_is_an_end_at_once() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || Probe::new(&probe).open(|_| None));
    Client::tcp(inet(&running)).expect_end();
    stop(running);
    assert_eq!(log.count("close"), 0);
}

#[test]
fn limits_that_contradict_each_other_are_misuse_and_named() {
    let wrong = [
        (limits(|limits| limits.output_low = limits.output_high + 1), "output_low"),
        (limits(|limits| limits.output_max = limits.output_high - 1), "output_high"),
        (limits(|limits| limits.memory_max = limits.output_max - 1), "memory_max"),
        (limits(|limits| limits.inbox_max = 0), "inbox_max"),
        (limits(|limits| limits.inbox_max = usize::MAX), "inbox_max"),
        (limits(|limits| limits.offload_max = usize::MAX), "offload_max"),
        (limits(|limits| limits.posts_per_turn = 0), "posts_per_turn"),
        (limits(|limits| limits.offload_threads = 0), "offload_threads"),
        (limits(|limits| limits.driver.read_buffer = 0), "driver.read_buffer"),
    ];
    for (limits, name) in wrong {
        let error = Server::builder().limits(limits).start(|_| Ok(())).expect_err(name);
        assert!(matches!(error, Error::Misuse(_)), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn one_thread_cannot_run_two_loops() {
    let error = Server::builder().loops(Loops::Count(2)).run(|_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Misuse(_)), "{error:?}");
}

#[test]
fn an_error_of_the_set_up_is_the_error_of_the_start() {
    let _bound = bound(30);
    for loops in [1, 3] {
        let builder = Server::builder().loops(Loops::Count(loops));
        let last = loops - 1;
        let error = builder.start(move |shard| {
            if shard.loop_index() == last { Err(Error::Misuse("on purpose")) } else { Ok(()) }
        });
        assert_eq!(error.unwrap_err().to_string(), "on purpose");
        let builder = Server::builder().loops(Loops::Count(loops));
        let error = builder.start(|_| panic!("on purpose")).unwrap_err();
        assert!(matches!(error, Error::Panicked(_)), "{error:?}");
    }
}

#[test]
fn an_on_start_that_panics_ends_the_server_with_an_error() {
    let _bound = bound(30);
    let log = Log::new();
    let running = start_with(Server::builder().loops(Loops::Count(3)), &[TCP], move || {
        Probe::new(&log).start(|cx, _| {
            assert!(cx.loop_index() != 1, "on purpose");
            Action::Continue
        })
    });
    let error = running.join().unwrap_err();
    assert!(matches!(error, Error::Panicked("on_start")), "{error:?}");
}
