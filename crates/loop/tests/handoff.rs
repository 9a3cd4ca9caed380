//! Connections that change their handler on the same loop.

mod support;

use mainspring_loop::{Action, Conn, HostId, Input, Running, Server};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use support::*;

/// Gives a server two handlers: the first listens, and learns the id of the second.
fn two_handlers(
    first: &Log,
    second: &Log,
    make_first: impl Fn(&Log, HostId<Probe>, &Log) -> Probe + Send + Sync + 'static,
    make_second: impl Fn(&Log) -> Probe + Send + Sync + 'static,
) -> Running {
    let (first, second) = (first.clone(), second.clone());
    let running = Server::builder().start(move |shard| {
        let to = shard.host(make_second(&second));
        let host = shard.host(make_first(&first, to, &second));
        shard.listen(host, TCP)?;
        Ok(())
    });
    running.unwrap()
}

/// Answers with brackets around it, so that one sees who did.
fn bracket(log: &Log) -> Probe {
    Probe::new(log).data(|conn, input| {
        let reply = [b"[", &*input.take(), b"]"].concat();
        conn.out().extend_from_slice(&reply);
        Action::Continue
    })
}

#[test]
fn unread_input_goes_to_the_new_handler_and_the_old_state_is_dropped() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let upgrade = |log: &Log, to, second: &Log| {
        let second = second.clone();
        Probe::new(log).data(move |conn, input| {
            let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else {
                return Action::Continue;
            };
            input.consume(end + 1);
            conn.out().extend_from_slice(b"101 ");
            // What the giver still asks for is not what the taker needs.
            input.need(NonZeroUsize::new(1000).unwrap());
            conn.handoff(to, Tag::new(&second));
            Action::Continue
        })
    };
    let running = two_handlers(&first, &second, upgrade, bracket);
    let mut client = Client::tcp(inet(&running));
    client.send(b"upgrade\nearly");
    client.expect(b"101 [early]");
    assert_eq!((first.tags(), second.tags()), (0, 1));
    client.send(b"late");
    client.expect(b"[late]");
    // Without anything unread there is no empty delivery.
    let mut other = Client::tcp(inet(&running));
    other.send(b"upgrade\n");
    other.expect(b"101 ");
    other.send(b"x");
    other.expect(b"[x]");
    drop(client);
    second.wait_for(1, "close 1 Peer");
    stop(running);
    assert_eq!((first.count("close"), second.count("close")), (0, 2));
    assert_eq!((first.tags(), second.tags()), (0, 0));
    assert_eq!(second.count("data"), 3);
}

#[test]
fn a_connection_may_be_handed_off_as_it_opens() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let dispatch = |log: &Log, to, second: &Log| {
        let second = second.clone();
        Probe::new(log).open(move |conn| {
            conn.out().extend_from_slice(b"hello ");
            conn.handoff(to, Tag::new(&second));
            Some(Action::Continue)
        })
    };
    let running = two_handlers(&first, &second, dispatch, bracket);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::tcp(inet(&running))).collect();
    for client in &mut clients {
        client.send(b"x");
        client.expect(b"hello [x]");
    }
    assert_eq!((first.tags(), second.tags()), (0, 3));
    drop(clients);
    second.wait_for(3, "close");
    stop(running);
    assert_eq!((first.count("close"), first.tags(), second.tags()), (0, 0, 0));
}

#[test]
fn an_action_returned_with_a_handoff_still_holds() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let bounce = |log: &Log, to, second: &Log| {
        let second = second.clone();
        Probe::new(log).data(move |conn, input| {
            input.take();
            conn.out().extend_from_slice(b"bye");
            conn.handoff(to, Tag::new(&second));
            Action::Close
        })
    };
    let running = two_handlers(&first, &second, bounce, bracket);
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    assert_eq!(client.receive_to_end(), b"bye");
    drop(client);
    assert_eq!(second.wait_for(1, "close")[0], "close 1 Local");
    stop(running);
    assert_eq!((first.count("close"), first.tags(), second.tags()), (0, 0, 0));
}

#[test]
fn a_handoff_from_a_wake_or_to_the_same_handler_changes_the_state() {
    let _bound = bound(30);
    let log = Log::new();
    let ids = Arc::new(Mutex::new(None));
    let (probe, noted) = (log.clone(), ids.clone());
    let running = start(move || {
        let (tags, noted) = (probe.clone(), noted.clone());
        Probe::echo(&probe)
            .start(move |cx, _| {
                *noted.lock().unwrap() = Some(cx.this::<Probe>());
                Action::Continue
            })
            .data(|conn, input| {
                conn.out().extend_from_slice(input.take());
                let id = conn.id();
                conn.cx().wake(id);
                Action::Continue
            })
            .wake(move |conn| {
                let this = conn.cx().this::<Probe>();
                conn.handoff(this, Tag::new(&tags));
                Action::Continue
            })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"1");
    client.expect(b"1");
    log.wait_for(1, "wake 1");
    client.send(b"2");
    client.expect(b"2");
    log.wait_for(1, "wake 2");
    assert_eq!(log.tags(), 1);
    drop(client);
    log.wait_for(1, "close 3 Peer");
    stop(running);
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_taker_that_pauses_at_what_it_is_handed_gets_no_more() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let later = |log: &Log, to, second: &Log| {
        let second = second.clone();
        Probe::new(log)
            .data(|conn, _| {
                let id = conn.id();
                conn.cx().wake(id);
                Action::Continue
            })
            .wake(move |conn| {
                conn.handoff(to, Tag::new(&second));
                Action::Continue
            })
    };
    let running = two_handlers(&first, &second, later, |log| {
        Probe::new(log).data(|_, input| {
            input.take();
            Action::Pause
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"123");
    second.wait_for(1, "data");
    client.send(b"45");
    assert!(client.is_silent_for(std::time::Duration::from_millis(100)));
    assert_eq!(running.handle().stats().total.bytes_in, 3, "nothing is read that must be held");
    stop(running);
}

#[test]
fn of_several_handoffs_in_one_callback_the_last_counts() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let undecided = |log: &Log, to, second: &Log| {
        let (own, second) = (log.clone(), second.clone());
        Probe::new(log).open(move |conn| {
            let this = conn.cx().this::<Probe>();
            conn.handoff(this, Tag::new(&own));
            conn.handoff(to, Tag::new(&second));
            Some(Action::Continue)
        })
    };
    let running = two_handlers(&first, &second, undecided, bracket);
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    client.expect(b"[x]");
    assert_eq!((first.tags(), second.tags()), (0, 1));
    stop(running);
    assert_eq!((first.count("close"), second.count("close"), second.tags()), (0, 1, 0));
}

#[test]
fn the_id_of_another_servers_handler_is_a_panic_of_the_callback_only() {
    let _bound = bound(30);
    let (first, second) = (Log::new(), Log::new());
    let (give, given) = std::sync::mpsc::channel();
    let other = Server::builder().start(move |shard| {
        shard.host(|_: &mut Conn<'_>, _: &mut Input<'_>| Action::Close);
        give.send(shard.host(|_: &mut Conn<'_>, _: &mut Input<'_>| Action::Close)).unwrap();
        Ok(())
    });
    let foreign = given.recv().unwrap();
    let mistaken = move |log: &Log, _, _: &Log| {
        Probe::echo(log).eof(move |conn| {
            conn.handoff(foreign, ());
            Action::Continue
        })
    };
    let running = two_handlers(&first, &second, mistaken, bracket);
    let (mut bystander, mut client) = (Client::tcp(inet(&running)), Client::tcp(inet(&running)));
    client.finish();
    client.expect_gone();
    first.wait_for(1, "close 2 Panicked");
    bystander.send(b"x");
    bystander.expect(b"x");
    stop(running);
    stop(other.unwrap());
}
