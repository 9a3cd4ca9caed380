//! Runs without signals; those are sent to processes, in `tests/runner.rs`.

use super::*;
use std::sync::{Arc, Mutex};

type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, what: &str) {
    log.lock().unwrap().push(what.to_owned());
}

fn noted(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

/// Waits to be stopped.
fn patient(
    log: &Log,
    name: &'static str,
) -> impl FnOnce(&Stopping) -> Result<(), BoxError> + use<> {
    let log = log.clone();
    move |stopping| {
        stopping.wait();
        note(&log, name);
        Ok(())
    }
}

#[test]
fn a_start_that_fails_stops_what_had_been_started_and_is_the_result() {
    let log = Log::default();
    let hook = log.clone();
    let runner = Runner::new()
        .job("first", patient(&log, "first stopped"))
        .service("second", || Err::<Running, _>("no port"))
        .service("third", || -> Result<Running, BoxError> { panic!("must not be started") })
        .on_start(move || note(&hook, "on_start"));
    let error = runner.run().unwrap_err();
    assert_eq!(error.to_string(), "second cannot start: no port");
    assert_eq!(error.exit_code(), 1);
    assert_eq!(noted(&log), ["first stopped"]);
}

#[test]
fn the_first_failure_stops_all_and_later_ones_do_not_take_its_place() {
    let log = Log::default();
    let runner = Runner::new()
        .job("patient", patient(&log, "patient stopped"))
        .job("bad loser", |stopping: &Stopping| {
            stopping.wait();
            Err("failed while stopping")
        })
        .job("weak", |_: &Stopping| Err("gave up"));
    assert_eq!(runner.run().unwrap_err().to_string(), "weak failed: gave up");
    assert_eq!(noted(&log), ["patient stopped"]);
}

#[test]
fn failures_that_come_before_anybody_waits_are_not_lost() {
    for _ in 0..200 {
        let mut runner = Runner::new();
        for _ in 0..4 {
            runner = runner.job("early", |_: &Stopping| Err("at once"));
        }
        assert_eq!(runner.run().unwrap_err().to_string(), "early failed: at once");
    }
}

#[test]
fn a_panic_is_a_failure_wherever_it_happens() {
    let never = |_: &Stopping| -> Result<(), BoxError> { panic!("in a job") };
    let error = Runner::new().job("a", never).run().unwrap_err();
    assert_eq!(error.to_string(), "a panicked: in a job");
    let start = || -> Result<Running, BoxError> { panic!("in a {}", "start") };
    let error = Runner::new().service("b", start).run().unwrap_err();
    assert_eq!(error.to_string(), "b panicked: in a start");
    let log = Log::default();
    let runner = Runner::new().job("c", patient(&log, "stopped"));
    let error = runner.on_start(|| panic!("in a hook")).run().unwrap_err();
    assert_eq!(error.to_string(), "on_start panicked: in a hook");
    assert_eq!(noted(&log), ["stopped"]);
}

#[test]
fn services_that_end_in_good_order_leave_the_others_running() {
    let log = Log::default();
    let (ended, hooks) = (log.clone(), [log.clone(), log.clone()]);
    let [start, stop] = hooks;
    let (go, may_end) = channel::<()>();
    let runner = Runner::new()
        .job("short", move |_: &Stopping| {
            drop(go);
            Ok::<_, BoxError>(())
        })
        .job("long", move |stopping: &Stopping| {
            let _ = may_end.recv();
            assert!(!stopping.wait_for(Duration::from_millis(50)), "nobody said stop");
            note(&ended, "long");
            Ok::<_, BoxError>(())
        })
        .on_start(move || note(&start, "on_start"))
        .on_stop(move || note(&stop, "on_stop"));
    runner.run().unwrap();
    let mut noted = noted(&log);
    assert_eq!(noted.pop().unwrap(), "on_stop");
    noted.sort();
    assert_eq!(noted, ["long", "on_start"]);
}

#[test]
fn the_deadline_names_who_did_not_stop() {
    let (_hold, held) = channel::<()>();
    let runner = Runner::new()
        .job("stubborn", move |_: &Stopping| {
            let _ = held.recv();
            Ok::<_, BoxError>(())
        })
        .on_start(|| panic!("stop everything"))
        .on_stop(|| unreachable!("it did not stop"))
        .deadline(Some(Duration::from_millis(100)));
    let error = runner.run().unwrap_err();
    assert_eq!(error.to_string(), "on_start panicked: stop everything", "the first failure stays");
    let (_hold, held) = channel::<()>();
    let (tell, events) = channel();
    let mut run = Run::new(tell, events);
    run.spawn(
        "stubborn".to_owned(),
        Box::new(Job::new(move |_: &Stopping| {
            let _ = held.recv();
            Ok::<_, BoxError>(())
        })),
    )
    .unwrap();
    run.stop();
    let error = run.until_ended(Some(Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.to_string(), "still running after the deadline to stop: stubborn");
}
