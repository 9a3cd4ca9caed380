//! A handler whose callbacks a test fills in, and which logs every one of them.

use super::Log;
use mainspring_io::Addr;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Handler, Input, Opened, ServerInfo,
    Tick, TimerId,
};

/// The state of a probe's connection: its number in the log. It counts itself there, so that a
/// state that is lost or kept too long is seen.
pub(crate) struct Tag {
    pub(crate) number: u64,
    log: Log,
}

impl Tag {
    pub(crate) fn new(log: &Log) -> Self {
        log.tag_made();
        Self { number: log.number(), log: log.clone() }
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        self.log.tag_dropped();
    }
}

macro_rules! probe {
    ($($(#[$doc:meta])* $name:ident: fn($($argument:ty),*) $(-> $answer:ty)?,)*) => {
        /// A handler made of closures. What is not filled in logs and goes on.
        pub(crate) struct Probe {
            log: Log,
            $($name: Option<Box<dyn FnMut($($argument),*) $(-> $answer)?>>,)*
        }

        impl Probe {
            pub(crate) fn new(log: &Log) -> Self {
                Self { log: log.clone(), $($name: None,)* }
            }

            $(
                $(#[$doc])*
                pub(crate) fn $name(
                    mut self,
                    callback: impl FnMut($($argument),*) $(-> $answer)? + 'static,
                ) -> Self {
                    self.$name = Some(Box::new(callback));
                    self
                }
            )*
        }
    };
}

probe! {
    start: fn(&mut Cx<'_>, &ServerInfo) -> Action,
    /// `None` refuses the connection.
    open: fn(&mut Conn<'_>) -> Option<Action>,
    connected: fn(&mut Conn<'_>) -> Action,
    data: fn(&mut Conn<'_>, &mut Input<'_>) -> Action,
    wake: fn(&mut Conn<'_>) -> Action,
    eof: fn(&mut Conn<'_>) -> Action,
    timer: fn(&mut Conn<'_>, TimerId) -> Action,
    drained: fn(&mut Conn<'_>) -> Action,
    layered: fn(&mut Conn<'_>) -> Action,
    close: fn(&mut Cx<'_>, ConnId, CloseReason),
    detach: fn(Detached),
    datagram: fn(&mut Datagram<'_>, &Addr, &mut [u8]) -> Action,
    tick: fn(&mut Cx<'_>) -> Tick,
    alarm: fn(&mut Cx<'_>, TimerId),
    notify: fn(&mut Cx<'_>),
    signal: fn(&mut Cx<'_>, i32),
    turn_end: fn(&mut Cx<'_>),
    drain: fn(&mut Cx<'_>),
}

impl Probe {
    /// Answers every delivery with what it brought.
    pub(crate) fn echo(log: &Log) -> Self {
        Self::new(log).data(|conn, input| {
            conn.out().extend_from_slice(input.take());
            Action::Continue
        })
    }
}

impl Handler for Probe {
    type State = Tag;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.log.add("start");
        self.start.as_mut().map_or(Action::Continue, |start| start(cx, server))
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Tag> {
        let tag = Tag::new(&self.log);
        self.log.add(format!("open {}", tag.number));
        match self.open.as_mut().map_or(Some(Action::Continue), |open| open(conn)) {
            Some(Action::Continue) => Opened::Accept(tag),
            Some(action) => Opened::AcceptThen(tag, action),
            None => Opened::Refuse,
        }
    }

    fn on_connected(&mut self, tag: &mut Tag, conn: &mut Conn<'_>) -> Action {
        self.log.add(format!("connected {}", tag.number));
        self.connected.as_mut().map_or(Action::Continue, |connected| connected(conn))
    }

    fn on_data(&mut self, tag: &mut Tag, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let shown = match input.bytes() {
            short if short.len() <= 40 => String::from_utf8_lossy(short).into_owned(),
            long => format!("{} bytes", long.len()),
        };
        self.log.add(format!("data {} {shown:?}", tag.number));
        match &mut self.data {
            Some(data) => data(conn, input),
            None => {
                input.take();
                Action::Continue
            }
        }
    }

    fn on_wake(&mut self, tag: &mut Tag, conn: &mut Conn<'_>) -> Action {
        self.log.add(format!("wake {}", tag.number));
        self.wake.as_mut().map_or(Action::Continue, |wake| wake(conn))
    }

    fn on_eof(&mut self, tag: &mut Tag, conn: &mut Conn<'_>) -> Action {
        self.log.add(format!("eof {}", tag.number));
        self.eof.as_mut().map_or(Action::Close, |eof| eof(conn))
    }

    fn on_timer(&mut self, tag: &mut Tag, conn: &mut Conn<'_>, id: TimerId) -> Action {
        self.log.add(format!("timer {}", tag.number));
        self.timer.as_mut().map_or(Action::Continue, |timer| timer(conn, id))
    }

    fn on_drained(&mut self, tag: &mut Tag, conn: &mut Conn<'_>) -> Action {
        self.log.add(format!("drained {}", tag.number));
        self.drained.as_mut().map_or(Action::Continue, |drained| drained(conn))
    }

    fn on_layered(&mut self, tag: &mut Tag, conn: &mut Conn<'_>) -> Action {
        self.log.add(format!("layered {}", tag.number));
        self.layered.as_mut().map_or(Action::Continue, |layered| layered(conn))
    }

    fn on_close(&mut self, tag: Tag, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        if let Some(close) = &mut self.close {
            close(cx, id, reason);
        }
        let shown = match reason {
            CloseReason::Failed(error) => format!("Failed({:?})", error.kind()),
            other => format!("{other:?}"),
        };
        let number = tag.number;
        drop(tag);
        self.log.add(format!("close {number} {shown}"));
    }

    fn on_detach(&mut self, tag: Tag, socket: Detached, _cx: &mut Cx<'_>) {
        self.log.add(format!("detach {}", tag.number));
        if let Some(detach) = &mut self.detach {
            detach(socket);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        self.datagram.as_mut().map_or(Action::Continue, |datagram| datagram(socket, from, bytes))
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.log.add("tick");
        self.tick.as_mut().map_or(Tick::Stop, |tick| tick(cx))
    }

    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        self.log.add("alarm");
        if let Some(alarm) = &mut self.alarm {
            alarm(cx, id);
        }
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        self.log.add("notify");
        if let Some(notify) = &mut self.notify {
            notify(cx);
        }
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        self.log.add(format!("signal {number}"));
        if let Some(signal) = &mut self.signal {
            signal(cx, number);
        }
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        if let Some(turn_end) = &mut self.turn_end {
            turn_end(cx);
        }
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.log.add("drain");
        if let Some(drain) = &mut self.drain {
            drain(cx);
        }
    }
}
