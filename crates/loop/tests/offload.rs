//! Work beside the loop, on a loop that the test turns itself: jobs run at once there.

use mainspring_io::{DriverLimits, ReadyDriver};
use mainspring_loop::{
    Action, Conn, Cx, Handle, Handler, HostId, Input, Opened, Server, ServerInfo, SimLoop,
};

/// Calls `start` when the server starts.
struct Starter(fn(HostId<Self>, &mut Cx<'_>));

impl Handler for Starter {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.0(cx.this(), cx);
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }
}

fn turned_by_hand(start: fn(HostId<Starter>, &mut Cx<'_>)) -> (SimLoop<ReadyDriver>, Handle) {
    let driver = ReadyDriver::new(DriverLimits::default()).unwrap();
    let server = Server::builder().simulate([driver], |shard| {
        shard.host(Starter(start));
        Ok(())
    });
    let (mut loops, handle) = server.unwrap();
    (loops.pop().unwrap(), handle)
}

#[test]
fn work_that_offloads_more_work_does_not_keep_the_turn_from_ending() {
    fn again(this: HostId<Starter>, cx: &mut Cx<'_>) {
        cx.offload(this, || (), move |_, cx, ()| again(this, cx)).unwrap();
    }
    let (mut turning, handle) = turned_by_hand(again);
    for _ in 0..10 {
        assert!(turning.turn().unwrap());
    }
    handle.stop();
    while turning.turn().unwrap() {}
}

#[test]
fn a_job_that_panics_does_not_cost_the_callback_that_gave_it() {
    fn panicking(this: HostId<Starter>, cx: &mut Cx<'_>) {
        cx.offload(this, || panic!("in a job"), |_, _, ()| unreachable!()).unwrap();
        cx.shutdown();
    }
    let (mut turning, handle) = turned_by_hand(panicking);
    while turning.turn().unwrap() {}
    assert_eq!(handle.stats().total.panics, 0);
}
