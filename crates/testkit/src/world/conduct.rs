//! What each kind of handler does with what it gets.

use super::client::BUSY;
use super::plan::Kind;
use super::planted::Bug;
use super::service::{Service, Tracked};
use crate::coat::put_on;
use bytes::Bytes;
use mainspring_loop::{Action, Conn, ConnId, Cx, Input, Opened, SendOutcome};
use mainspring_wire::{Decode, Encode, Step};
use std::num::NonZeroUsize;
use std::time::Duration;

impl Service {
    pub(super) fn opened(&mut self, state: Tracked, conn: &mut Conn<'_>) -> Opened<Tracked> {
        match self.kind {
            Kind::Proxy => {
                if self.dial(conn) {
                    return Opened::Accept(state);
                }
                self.book.open().conns[state.token].excused = true;
                Opened::AcceptThen(state, Action::Abort)
            }
            Kind::Chaos => self.open_in_chaos(state, conn),
            Kind::Pausing => {
                self.arm(&state, conn, Duration::from_millis(3));
                Opened::AcceptThen(state, Action::Pause)
            }
            _ => Opened::Accept(state),
        }
    }

    fn open_in_chaos(&mut self, state: Tracked, conn: &mut Conn<'_>) -> Opened<Tracked> {
        match self.rng.u8(..12) {
            0 => {
                self.say(conn, BUSY);
                Opened::Refuse
            }
            1 => Opened::Refuse,
            2 => Opened::AcceptThen(state, Action::Close),
            3 => Opened::AcceptThen(state, Action::Abort),
            4 => Opened::AcceptThen(state, Action::Detach),
            5 if self.plan.panics => {
                self.book.open().stateless(state.token);
                self.panic()
            }
            6 => {
                self.hand_off(&state, conn);
                Opened::Accept(state)
            }
            7 => {
                let idle = Duration::from_millis(self.rng.u64(1..=100));
                conn.set_idle_timeout(Some(idle));
                self.book.open().set_idle(state.token, Some(idle));
                Opened::Accept(state)
            }
            _ => Opened::Accept(state),
        }
    }

    pub(super) fn data(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        match state.kind {
            Kind::Echo => self.echo(conn, input),
            Kind::Lines => self.lines(conn, input),
            Kind::Pausing => self.pause(state, conn, input),
            Kind::Shared => self.share(conn, input),
            Kind::Room => self.tell_room(conn, input),
            Kind::Proxy => self.relay(state, conn, input),
            Kind::Frames => self.frames(state, conn, input),
            Kind::Handoff => {
                input.consume(1);
                self.hand_off(state, conn);
                Action::Continue
            }
            Kind::Detach => self.detach(state, conn, input),
            Kind::Worker => self.work(state, conn, input),
            Kind::Chaos => self.riot(state, conn, input),
            Kind::Pool => self.echo_portion(state, conn, input),
            Kind::Feed => self.tell_feed(input),
            Kind::Upgrade => self.upgrade(state, conn, input),
            Kind::Link => self.hear_on_link(state, conn, input),
            Kind::Framed | Kind::Tasks => unreachable!("others see to its bytes"),
        }
    }

    fn echo(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let bytes = input.take();
        self.say(conn, bytes);
        Action::Continue
    }

    /// Echo of what a pool gives at a time, which has bounds.
    fn echo_portion(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let turn = conn.cx().turn();
        let fresh = input.len() - state.left.min(input.len());
        let taken = if state.portions.0 == turn { state.portions.1 + fresh } else { fresh };
        state.portions = (turn, taken);
        let limits = &self.plan.pool;
        let is_fair = fresh <= limits.read_chunk && taken <= limits.fair_quantum;
        self.book.open().check(is_fair, || {
            format!("{} has {fresh} fresh bytes, {taken} in a turn: {limits:?}", conn.id())
        });
        let count =
            if self.rng.u8(..4) == 0 { input.len() } else { self.rng.usize(0..=input.len()) };
        let bytes = &input.bytes()[..count];
        match self.stray_answer(conn) {
            Some(other) if !bytes.is_empty() => drop(self.say_to(&mut conn.cx(), other, bytes)),
            _ => self.say(conn, bytes),
        }
        input.consume(count);
        state.left = input.len();
        // What is left comes again, by itself.
        if state.left > 0 { Action::Yield } else { Action::Continue }
    }

    /// Another connection of this worker, if the bug strikes that gives it the answer.
    fn stray_answer(&self, conn: &Conn<'_>) -> Option<ConnId> {
        let book = self.book.open();
        let is_other = |id: ConnId| id != conn.id() && id.loop_index() == self.loop_index;
        let mut others = book.conns.iter().rev();
        let other = others.find(|r| r.kind == Kind::Pool && !r.ended && is_other(r.id))?;
        self.plan.trap.strikes(Bug::StrayAnswer).then_some(other.id)
    }

    /// Answers a byte, and puts layers on behind it; from then on an echo.
    fn upgrade(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        if state.seen > 0 {
            return self.echo(conn, input);
        }
        state.seen = 1;
        self.say(conn, &input.bytes()[..1]);
        input.consume(1);
        let trap = self.plan.trap.clone();
        let strikes = move |flaw| trap.strikes(Bug::Seam(flaw));
        put_on(conn, self.plan.coat(Kind::Upgrade), true, strikes);
        Action::Continue
    }

    fn lines(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        while !conn.is_choked() {
            let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else {
                input.need(NonZeroUsize::MIN);
                break;
            };
            self.say(conn, &input.bytes()[..=end]);
            input.consume(end + 1);
            if self.rng.u8(..8) == 0 {
                // The others first.
                return Action::Yield;
            }
        }
        Action::Continue
    }

    fn pause(&mut self, state: &Tracked, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let count = input.len() - self.rng.usize(0..=input.len().min(100));
        self.say(conn, &input.bytes()[..count]);
        input.consume(count);
        let after = Duration::from_micros(self.rng.u64(0..=5_000));
        self.arm(state, conn, after);
        Action::Pause
    }

    fn share(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        while !input.is_empty() {
            let count = self.rng.usize(1..=input.len().min(512));
            let part = &input.bytes()[..count];
            if self.rng.bool() {
                self.say(conn, part)
            } else {
                self.say_shared(conn, part)
            }
            input.consume(count);
        }
        Action::Continue
    }

    fn frames(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let mut answer = Vec::new();
        while conn.out_bytes() + answer.len() <= self.plan.limits.output_high {
            match state.codec.decode(input.bytes()) {
                Ok(Step::Frame { frame, used }) => {
                    let frame = frame.to_vec();
                    state.codec.encode(&frame[..], &mut answer).expect("it came in that length");
                    input.consume(used);
                }
                Ok(Step::Need(count)) => {
                    input.need(count);
                    break;
                }
                Err(error) => {
                    self.book.open().fail(format!("a frame is broken: {error:?}"));
                    return Action::Abort;
                }
            }
        }
        self.say(conn, &answer);
        Action::Continue
    }

    fn detach(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let missing = DETACHED_AFTER - state.seen.min(DETACHED_AFTER);
        let count = self.rng.usize(missing.min(input.len())..=input.len());
        self.say(conn, &input.bytes()[..count]);
        input.consume(count);
        state.seen += count;
        if state.seen < DETACHED_AFTER { Action::Continue } else { Action::Detach }
    }

    pub(super) fn hand_off(&mut self, state: &Tracked, conn: &mut Conn<'_>) {
        let echo = self.echo.expect("hosted first");
        self.book.open().conns[state.token].kind = Kind::Echo;
        conn.handoff(echo, Tracked::new(state.token, Kind::Echo));
    }

    /// Sends each whole message to every member, of this loop and of others.
    fn tell_room(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let size = self.plan.message_bytes;
        while input.len() >= size {
            let message = Bytes::copy_from_slice(&input.bytes()[..size]);
            input.consume(size);
            let members = self.book.open().room.clone();
            for home in 0..self.plan.loops {
                let there: Vec<ConnId> =
                    members.iter().copied().filter(|id| id.loop_index() == home).collect();
                self.tell_loop(home, &there, &message, &mut conn.cx());
            }
        }
        Action::Continue
    }

    fn tell_loop(&mut self, home: usize, there: &[ConnId], message: &Bytes, cx: &mut Cx<'_>) {
        if there.is_empty() {
            return;
        }
        let offer = |to: &[ConnId]| {
            let mut book = self.book.open();
            to.iter().for_each(|id| book.offer_later(*id, message.len()));
        };
        if home == self.loop_index {
            let open: Vec<ConnId> =
                there.iter().copied().filter(|id| cx.conn(*id).is_some()).collect();
            let count = cx.broadcast(message, there);
            let same = count == open.len();
            self.book.open().check(same, || "a broadcast skipped open connections".to_owned());
            offer(&open);
            return;
        }
        // Another thread may be done with it before `broadcast` returns.
        offer(there);
        if self.remote().broadcast(message, there).is_err() {
            let mut book = self.book.open();
            book.full += 1;
            book.offered -= (there.len() * message.len()) as u64;
        }
    }

    /// Answers in messages that come back to the loop as work of others does.
    fn work(&mut self, state: &Tracked, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let size = self.plan.message_bytes;
        conn.set_busy(true);
        while input.len() >= size {
            let message = Bytes::copy_from_slice(&input.bytes()[..size]);
            input.consume(size);
            let taken = match state.way {
                0 => self.send_back(state.token, conn.id(), message),
                1 => self.post_back(conn.id(), message),
                _ => self.offload_back(conn, message),
            };
            if !taken {
                let mut book = self.book.open();
                book.full += 1;
                book.conns[state.token].excused = true;
                let tight = book.plan.tight;
                book.check(tight, || "a worker's post was refused without a limit".to_owned());
                return Action::Abort;
            }
        }
        if let Some(more) = NonZeroUsize::new(size - input.len()) {
            input.need(more);
        }
        Action::Continue
    }

    fn send_back(&mut self, token: usize, id: ConnId, message: Bytes) -> bool {
        let len = message.len();
        let book = self.book.clone();
        let done = move |outcome| {
            let mut book = book.open();
            book.completions += 1;
            let sent = u64::from(outcome == SendOutcome::Sent);
            book.completions_sent += sent;
            book.conns[token].notified.1 += sent;
        };
        let taken = self.remote().send_notify(id, message, done).is_ok();
        if taken {
            let mut book = self.book.open();
            book.completions_owed += 1;
            book.conns[token].notified.0 += 1;
            book.offer_later(id, len);
        }
        taken
    }

    fn post_back(&mut self, id: ConnId, message: Bytes) -> bool {
        let answer = move |service: &mut Self, cx: &mut Cx<'_>| service.answer(cx, id, &message);
        self.remote().post(answer).is_ok()
    }

    fn offload_back(&mut self, conn: &mut Conn<'_>, message: Bytes) -> bool {
        let id = conn.id();
        let mut cx = conn.cx();
        let this = cx.this::<Self>();
        let job = move || message;
        cx.offload(this, job, move |service, cx, message| service.answer(cx, id, &message)).is_ok()
    }

    fn answer(&mut self, cx: &mut Cx<'_>, id: ConnId, message: &Bytes) {
        if let Some(mut conn) = cx.conn(id) {
            self.say(&mut conn, message);
            conn.set_busy(false);
        }
    }

    /// Closes behind the answers that are on their way.
    fn close_behind(&mut self, state: &Tracked, conn: &mut Conn<'_>) -> bool {
        let id = conn.id();
        let close = move |_: &mut Self, cx: &mut Cx<'_>| {
            cx.close(id);
        };
        match state.way {
            0 => self.remote().close(id).is_ok(),
            1 => self.remote().post(close).is_ok(),
            _ => {
                let mut cx = conn.cx();
                let this = cx.this::<Self>();
                cx.offload(this, || (), move |service, cx, ()| close(service, cx)).is_ok()
            }
        }
    }

    pub(super) fn end_of_stream(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        match state.kind {
            Kind::Proxy => self.link_ended(state, conn),
            Kind::Worker if self.close_behind(state, conn) => Action::Continue,
            Kind::Worker => {
                self.book.open().conns[state.token].excused = true;
                Action::Close
            }
            _ => Action::Close,
        }
    }

    /// Echoes, and then does something else.
    fn riot(&mut self, state: &mut Tracked, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let count = self.rng.usize(0..=input.len());
        self.say(conn, &input.bytes()[..count]);
        input.consume(count);
        let id = conn.id();
        match self.rng.u16(..64) {
            0 => return Action::Close,
            1 => return Action::Abort,
            2 => return Action::Detach,
            3 if self.plan.panics => self.panic(),
            4 => self.hand_off(state, conn),
            5 => {
                // The second of two counts.
                self.hand_off(state, conn);
                self.hand_off(state, conn);
            }
            6..=9 => {
                let after = Duration::from_micros(self.rng.u64(0..=50_000));
                self.arm(state, conn, after);
            }
            10..=13 => {
                let timer = self.book.open().some_timer(state.token);
                if let Some(timer) = timer {
                    let taken = conn.cancel_timer(timer);
                    self.book.open().disarm(state.token, timer, taken);
                }
            }
            14 => {
                let idle = self.rng.bool().then(|| Duration::from_millis(self.rng.u64(0..=100)));
                conn.set_idle_timeout(idle);
                self.book.open().set_idle(state.token, idle);
            }
            15..=19 => self.strike(&mut conn.cx(), id),
            20 if self.rng.u8(..8) == 0 => return Action::Shutdown,
            21..=24 => {
                let resume = move |service: &mut Self, cx: &mut Cx<'_>| service.resume(cx, id);
                let resumed = self.remote().post(resume).is_ok();
                return if resumed { Action::Pause } else { Action::Continue };
            }
            _ => {}
        }
        Action::Continue
    }

    /// At each tick: wakes and pokes connections of all loops, living or not.
    pub(super) fn disturb(&mut self, cx: &mut Cx<'_>) {
        let known = self.book.open().conns.len();
        if known == 0 {
            return;
        }
        let place = self.rng.usize(..known);
        let (id, chaotic) = {
            let book = self.book.open();
            (book.conns[place].id, book.conns[place].origin == Kind::Chaos)
        };
        let done = match self.rng.u8(..6) {
            0 => {
                let (known, woken) = (cx.conn(id).is_some(), cx.wake(id));
                let what = || format!("{id} known: {known}, woken: {woken}");
                self.book.open().check(known == woken, what);
                Ok(())
            }
            1 | 2 => self.remote().wake(id),
            3 => {
                self.book.open().conns[place].resumed_by_others = true;
                self.remote().resume(id)
            }
            _ => {
                if chaotic {
                    self.strike(cx, id);
                }
                Ok(())
            }
        };
        self.book.open().full += u64::from(done.is_err());
    }

    /// Ends or wakes a connection that is used to it.
    fn strike(&mut self, cx: &mut Cx<'_>, id: ConnId) {
        let done = match self.rng.u8(..5) {
            0 => self.remote().close(id),
            1 => self.remote().abort(id),
            2 => {
                cx.close(id);
                Ok(())
            }
            3 => {
                cx.abort(id);
                Ok(())
            }
            _ => {
                cx.wake(id);
                Ok(())
            }
        };
        self.book.open().full += u64::from(done.is_err());
    }

    pub(super) fn remote(&self) -> mainspring_loop::Remote<Self> {
        let book = self.book.open();
        // Handlers inside of others have none of their own; whom it is for matters only to posts.
        let own = book.remotes.get(&(self.loop_index, self.kind));
        own.unwrap_or_else(|| &book.remotes[&(self.loop_index, Kind::Echo)]).clone()
    }
}

const DETACHED_AFTER: usize = 32;
