//! The clients of one loop.

use super::framing::Framing;
use super::pace::Pace;
use super::plan::{Plan, Until};
use super::tally::{Board, Tally, record};
use mainspring::wire::Step;
use mainspring::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, Scheme, Tick, tls,
};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Dials under way on one loop: more at once would only fill the server's backlog.
const DIALS_AT_ONCE: usize = 64;
/// How often a loop looks for answers that are overdue, and for the end.
const LOOK: Duration = Duration::from_millis(20);

/// A handler that is the clients of its loop.
///
/// They dial, wait until those of the other loops are up as well, and then send: each as many at a
/// time as the plan's depth says, and the next for each answer; or, with a rate, when they are due.
pub(super) struct Load {
    plan: Arc<Plan>,
    board: Arc<Board>,
    loop_index: usize,
    clients: Vec<Client>,
    /// The next client to dial.
    next_dial: usize,
    dialling: usize,
    /// Clients that are not over.
    left: usize,
    phase: Phase,
    pace: Option<Pace>,
    framing: Framing,
    last_look: Option<Instant>,
    tally: Tally,
}

/// One client; the state of its connection is its place in the list.
struct Client {
    /// Among the clients of all loops.
    number: usize,
    id: Option<ConnId>,
    stage: Stage,
    sent: u64,
    under_way: VecDeque<UnderWay>,
    answers: Framing,
}

/// A message that waits for its answer.
struct UnderWay {
    due: Instant,
    left: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    Up,
    /// It is being closed, and what was to be said about that has been.
    Told,
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Dialling,
    Sending {
        began: Instant,
        until: Option<Instant>,
    },
    /// A signal has come.
    Stopped,
}

impl Load {
    /// The clients of a loop: each so-manieth of all.
    pub(super) fn new(
        plan: &Arc<Plan>,
        board: &Arc<Board>,
        loop_index: usize,
        loops: usize,
    ) -> Self {
        let client = |number| Client {
            number,
            id: None,
            stage: Stage::Dialling,
            sent: 0,
            under_way: VecDeque::new(),
            answers: plan.answers.clone(),
        };
        let clients: Vec<Client> = (loop_index..plan.clients).step_by(loops).map(client).collect();
        let share = clients.len() as f64 / plan.clients as f64;
        let pace = plan.rate.map(|rate| Pace::new(clients.len(), rate * share, plan.spin));
        Self {
            plan: plan.clone(),
            board: board.clone(),
            loop_index,
            next_dial: 0,
            dialling: 0,
            left: clients.len(),
            clients,
            phase: Phase::Dialling,
            pace,
            framing: plan.framing.clone(),
            last_look: None,
            tally: Tally::new(),
        }
    }

    fn dial(&mut self, cx: &mut Cx<'_>) {
        while self.next_dial < self.clients.len() && self.dialling < DIALS_AT_ONCE {
            let place = self.next_dial;
            self.next_dial += 1;
            match self.dial_one(place, cx) {
                Ok(id) => {
                    self.clients[place].id = Some(id);
                    self.dialling += 1;
                }
                Err(reason) => self.never_up(place, &reason, cx),
            }
        }
    }

    fn dial_one(&self, place: usize, cx: &mut Cx<'_>) -> Result<ConnId, String> {
        let (this, address) = (cx.this::<Self>(), &self.plan.address);
        if address.scheme() == Scheme::Tls {
            return tls::connect(cx, this, address, place).map_err(|error| error.to_string());
        }
        cx.connect(this, address, place).map_err(|full| full.to_string())
    }

    fn never_up(&mut self, place: usize, reason: &str, cx: &mut Cx<'_>) {
        self.tally.errors.connect += 1;
        self.tally.note_reason(format!("connect: {reason}"));
        self.board.settle();
        self.over(place, cx);
    }

    /// A client has ended; the last one of all ends the loops.
    fn over(&mut self, place: usize, cx: &mut Cx<'_>) {
        let client = &mut self.clients[place];
        client.stage = Stage::Over;
        self.tally.unanswered += client.under_way.len() as u64;
        client.under_way = VecDeque::new();
        self.left -= 1;
        if self.board.end() {
            cx.shutdown();
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        let began = cx.now();
        let until = match self.plan.until {
            Until::Over(time) => began.checked_add(time),
            Until::Sends(_) => None,
        };
        self.phase = Phase::Sending { began, until };
        self.tally.began = Some(began);
        if self.pace.is_some() {
            return;
        }
        for place in 0..self.clients.len() {
            self.with_conn(place, cx, |this, conn| this.go_on(place, conn));
        }
    }

    /// What a client does next, if its connection is up.
    fn with_conn(
        &mut self,
        place: usize,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Self, &mut Conn<'_>) -> Action,
    ) {
        let client = &self.clients[place];
        let Some(id) = client.id.filter(|_| client.stage == Stage::Up) else { return };
        let action = cx.conn(id).map(|mut conn| then(self, &mut conn));
        if action == Some(Action::Close) {
            cx.close(id);
        }
    }

    /// Sends what may be sent now, and says whether the client is done.
    fn go_on(&mut self, place: usize, conn: &mut Conn<'_>) -> Action {
        let Phase::Sending { began, until } = self.phase else { return Action::Continue };
        let now = conn.now();
        loop {
            let client = &self.clients[place];
            // What was due before the end is sent, however late the loop is.
            let due = self.pace.as_ref().map(|pace| pace.due(place, client.sent));
            let is_done = match (self.plan.until, due) {
                (Until::Sends(sends), _) => client.sent >= sends,
                (Until::Over(time), Some(due)) => due >= time,
                (Until::Over(_), None) => until.is_some_and(|until| now >= until),
            };
            if is_done {
                if client.under_way.is_empty() {
                    self.clients[place].stage = Stage::Told;
                    return Action::Close;
                }
                return Action::Continue;
            }
            if client.under_way.len() >= self.plan.depth {
                return Action::Continue;
            }
            let due = match (&self.pace, due) {
                (Some(pace), Some(due)) => {
                    if !pace.is_due(due, now.saturating_duration_since(began)) {
                        return Action::Continue;
                    }
                    (began + due).min(now)
                }
                _ => now,
            };
            self.send(place, due, now, conn.out());
        }
    }

    fn send(&mut self, place: usize, due: Instant, now: Instant, out: &mut Vec<u8>) {
        let client = &mut self.clients[place];
        let before = out.len();
        let message = self.plan.message(client.number, client.sent);
        self.framing.encode(message, out).expect("one of its length was encoded before");
        client.sent += 1;
        client.under_way.push_back(UnderWay { due, left: now });
        self.tally.sent += 1;
        self.tally.bytes_out += (out.len() - before) as u64;
        if self.pace.is_some() {
            record(&mut self.tally.lateness, now.saturating_duration_since(due));
        }
    }

    /// Takes what has come. `false` if it cannot be understood.
    fn answers(&mut self, place: usize, input: &mut Input<'_>, now: Instant) -> bool {
        let Self { plan, clients, tally, .. } = self;
        let client = &mut clients[place];
        while !input.is_empty() {
            let (answer, used) = match client.answers.decode(input.bytes()) {
                Ok(Step::Frame { frame, used }) => (frame, used),
                Ok(Step::Need(bytes)) => {
                    input.need(bytes);
                    return true;
                }
                Err(error) => {
                    tally.note_reason(format!("malformed: {error}"));
                    return false;
                }
            };
            let number = client.sent - client.under_way.len() as u64;
            let Some(asked) = client.under_way.pop_front() else {
                tally.note_reason("malformed: an answer to nothing".to_owned());
                return false;
            };
            if answer == plan.message(client.number, number) {
                tally.success += 1;
                record(&mut tally.latency, now.saturating_duration_since(asked.due));
            } else {
                tally.wrong += 1;
                tally.errors.malformed += 1;
                tally.note_reason("malformed: another answer than the message".to_owned());
            }
            tally.bytes_in += used as u64;
            tally.ended = Some(now);
            input.consume(used);
        }
        true
    }

    /// Answers that are overdue end their connections; at the end so does having nothing to wait
    /// for.
    fn look(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        if self.last_look.is_some_and(|last| now.saturating_duration_since(last) < LOOK) {
            return;
        }
        self.last_look = Some(now);
        for place in 0..self.clients.len() {
            let client = &self.clients[place];
            if client.stage != Stage::Up {
                continue;
            }
            let oldest = client.under_way.front().map(|message| message.left);
            let is_overdue =
                |timeout| oldest.is_some_and(|left| now.duration_since(left) >= timeout);
            if self.plan.timeout.is_some_and(is_overdue) {
                self.clients[place].stage = Stage::Told;
                self.tally.errors.read += 1;
                self.tally.note_reason("read: no answer in time".to_owned());
                if let Some(id) = self.clients[place].id {
                    cx.abort(id);
                }
            } else {
                self.with_conn(place, cx, |this, conn| this.go_on(place, conn));
            }
        }
    }

    /// Those whose turn it is.
    fn turns(&mut self, cx: &mut Cx<'_>, since_begin: Duration) {
        while let Some(place) = self.pace.as_mut().and_then(|pace| pace.turn(since_begin)) {
            self.with_conn(place, cx, |this, conn| this.go_on(place, conn));
        }
    }
}

impl Handler for Load {
    type State = usize;

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<usize> {
        Opened::Refuse
    }

    fn on_connected(&mut self, place: &mut usize, conn: &mut Conn<'_>) -> Action {
        // The other side may answer only what it has room for: not to read would stop both.
        conn.set_relay(true);
        self.clients[*place].stage = Stage::Up;
        self.dialling -= 1;
        self.tally.connected += 1;
        self.board.settle();
        Action::Continue
    }

    fn on_data(&mut self, place: &mut usize, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let now = conn.now();
        let is_sound = self.answers(*place, input, now);
        self.board.show(self.loop_index, self.tally.success);
        if is_sound {
            return self.go_on(*place, conn);
        }
        if self.clients[*place].stage == Stage::Up {
            self.clients[*place].stage = Stage::Told;
            self.tally.errors.malformed += 1;
        }
        Action::Abort
    }

    fn on_close(&mut self, place: usize, _id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        let stage = self.clients[place].stage;
        let is_ours = reason == CloseReason::Shutdown || reason == CloseReason::DrainTimeout;
        match stage {
            Stage::Dialling => {
                self.dialling -= 1;
                if !is_ours {
                    return self.never_up(place, &reason.to_string(), cx);
                }
            }
            Stage::Up if !is_ours => {
                let (errors, kind) = match reason {
                    CloseReason::WriteTimeout | CloseReason::SlowConsumer => {
                        (&mut self.tally.errors.write, "write")
                    }
                    CloseReason::Failed(error) if error.kind() == ErrorKind::BrokenPipe => {
                        (&mut self.tally.errors.write, "write")
                    }
                    _ => (&mut self.tally.errors.read, "read"),
                };
                *errors += 1;
                self.tally.note_reason(format!("{kind}: {reason}"));
            }
            Stage::Up | Stage::Told | Stage::Over => {}
        }
        self.over(place, cx);
    }

    fn on_drain(&mut self, _cx: &mut Cx<'_>) {
        self.phase = Phase::Stopped;
        self.board.stop();
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        if self.left == 0 {
            return Tick::Stop;
        }
        let began = match self.phase {
            Phase::Sending { began, .. } => began,
            Phase::Stopped => return Tick::Stop,
            Phase::Dialling => {
                self.dial(cx);
                if self.board.are_all_settled() {
                    self.begin(cx);
                }
                return Tick::After(Duration::from_millis(1));
            }
        };
        let since_begin = cx.now().saturating_duration_since(began);
        self.turns(cx, since_begin);
        self.look(cx);
        match &self.pace {
            Some(pace) => Tick::After(pace.wait(since_begin).min(LOOK)),
            None => Tick::After(LOOK),
        }
    }
}

/// When its loop has ended, however it has.
impl Drop for Load {
    fn drop(&mut self) {
        self.board.hand_in(&self.tally);
    }
}
