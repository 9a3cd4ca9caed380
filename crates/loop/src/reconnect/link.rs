//! One connection that is to be kept up.

use crate::reconnect::{Backoff, Reconnect};
use crate::{CloseReason, ConnId, Cx, Full, Handler, HostId, Layers, TimerId};
use mainspring_io::Address;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How often and when to try again. Fields may be added: write
/// `Retry { delay_max: .., ..Retry::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The shortest time between a failure and the next attempt, see [`Backoff`]. Default 100 ms.
    pub delay_min: Duration,
    /// The longest. Default 30 s.
    pub delay_max: Duration,
    /// How many attempts in a row may fail before the link is given up. `None`: it never is, the
    /// default. 0 counts as 1.
    pub attempts_max: Option<u32>,
    /// How long a connection has to be up for its end to be a new beginning: the delays start at
    /// the shortest again. One that ends earlier was a failed attempt. Default 10 s.
    pub steady: Duration,
    /// How long one dial may take. `None`: [`Limits::dial_timeout`](crate::Limits::dial_timeout),
    /// the default.
    pub dial_timeout: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            attempts_max: None,
            steady: Duration::from_secs(10),
            dial_timeout: None,
        }
    }
}

/// What has become of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkChange {
    /// It is up, after so many dials.
    Connected {
        /// The connection.
        id: ConnId,
        /// Dials since the link was last steady, this one included.
        dials: u32,
    },
    /// It was up and is no more.
    Lost {
        /// Why.
        reason: CloseReason,
        /// How long it had been up.
        up: Duration,
        /// When it will be dialled again; `None`: it will not.
        retry: Option<Duration>,
    },
    /// A dial came to nothing.
    Failed {
        /// Why.
        reason: CloseReason,
        /// When the next one is; nothing, if another address of the link is tried at once; `None`:
        /// there is none.
        retry: Option<Duration>,
    },
    /// As many attempts as may fail have failed. Comes after the last `Lost` or `Failed`.
    GaveUp {
        /// How many that were.
        attempts: u32,
    },
    /// The handler took the connection out of the loop ([`Action::Detach`](crate::Action::Detach)).
    /// It is not dialled again.
    Detached,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// Stopped, given up, detached, or not started yet.
    Idle,
    /// Being dialled.
    Dialling(ConnId),
    /// Up.
    Up(ConnId),
    /// To be dialled again when its delay is over.
    Waiting,
    /// Stopped, and its connection has not ended yet.
    Stopping(ConnId),
}

type Make<H> = Box<dyn FnMut(&mut H, &mut Cx<'_>) -> <H as Handler>::State>;
type Tell<H> = Box<dyn FnMut(&mut H, &mut Cx<'_>, LinkChange)>;
type Dial<H> = Box<
    dyn FnMut(
        &mut Cx<'_>,
        HostId<Reconnect<H>>,
        &Address,
        <H as Handler>::State,
    ) -> io::Result<ConnId>,
>;
type Judge = Box<dyn FnMut(CloseReason) -> bool>;

/// One connection that a [`Reconnect`](crate::Reconnect) keeps up: where to, how, and what the
/// handler has to do with it.
pub struct Link<H: Handler> {
    addresses: Vec<Address>,
    pub(super) retry: Retry,
    pub(super) backoff: Backoff,
    pub(super) make: Make<H>,
    pub(super) dial: Dial<H>,
    pub(super) tell: Option<Tell<H>>,
    judge: Option<Judge>,
    pub(super) stage: Stage,
    /// The address to be dialled next.
    turn: usize,
    pub(super) dials: u32,
}

/// Where a link stands, and what is known there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Idle,
    Dialling(ConnId),
    Up {
        id: ConnId,
        since: Instant,
    },
    Waiting(TimerId),
    Stopping {
        id: ConnId,
        /// Since when it had been up.
        since: Option<Instant>,
        /// Whether it is to be dialled when it has ended.
        again: bool,
    },
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, for another address of the same attempt.
    After(Duration),
    GiveUp {
        attempts: u32,
    },
    Stop,
}

impl<H: Handler> Link<H> {
    /// A link to `address`. `make` makes the state of the connection for each dial.
    ///
    /// # Panics
    ///
    /// If it is a datagram address.
    #[must_use]
    pub fn new(
        address: Address,
        make: impl FnMut(&mut H, &mut Cx<'_>) -> H::State + 'static,
    ) -> Self {
        Self::to_any(vec![address], make)
    }

    /// A link to the first of several addresses that answers. Each attempt begins with the first
    /// one; the others follow at once where one before fails, and the delay comes after the last.
    ///
    /// # Panics
    ///
    /// If there is no address, or one is a datagram address.
    #[must_use]
    pub fn to_any(
        addresses: Vec<Address>,
        make: impl FnMut(&mut H, &mut Cx<'_>) -> H::State + 'static,
    ) -> Self {
        assert!(!addresses.is_empty(), "a link has an address");
        if let Some(address) = addresses.iter().find(|address| address.is_datagram()) {
            panic!("{address} is a datagram address");
        }
        let retry = Retry::default();
        Self {
            addresses,
            backoff: Backoff::new(retry.delay_min, retry.delay_max),
            retry,
            make: Box::new(make),
            dial: Box::new(|cx, host, address, state| {
                cx.connect(host, address, state).map_err(no_room)
            }),
            tell: None,
            judge: None,
            stage: Stage::Idle,
            turn: 0,
            dials: 0,
        }
    }

    /// How often and when to try again. Default [`Retry::default`].
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.backoff = Backoff::new(retry.delay_min, retry.delay_max);
        self.retry = retry;
        self
    }

    /// Puts the layers that `make` makes on each connection: it is up when they are open.
    #[must_use]
    pub fn layers(self, mut make: impl FnMut(&Address) -> Layers + 'static) -> Self {
        self.dial_with(move |cx, host, address, state| {
            let layers = make(address);
            cx.connect_layered(host, address, state, layers).map_err(no_room)
        })
    }

    /// Dials by `dial` in place of [`Cx::connect`]: for a `tls://` address by
    /// `mainspring_tls::connect`. It may refuse; that is a failure like others.
    #[must_use]
    pub fn dial_with(
        mut self,
        dial: impl FnMut(&mut Cx<'_>, HostId<Reconnect<H>>, &Address, H::State) -> io::Result<ConnId>
        + 'static,
    ) -> Self {
        self.dial = Box::new(dial);
        self
    }

    /// Has `tell` called for each change, after the handler's own callback.
    #[must_use]
    pub fn on_change(
        mut self,
        tell: impl FnMut(&mut H, &mut Cx<'_>, LinkChange) + 'static,
    ) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// Asks `judge` at each end, of a connection or a dial, whether to stop there: a peer that says
    /// no will not say yes for being asked again. Default: never.
    #[must_use]
    pub fn stop_if(mut self, judge: impl FnMut(CloseReason) -> bool + 'static) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    pub(super) fn status(&self) -> LinkStatus {
        match self.stage {
            Stage::Idle => LinkStatus::Idle,
            Stage::Dialling(id) => LinkStatus::Dialling(id),
            Stage::Up { id, .. } => LinkStatus::Up(id),
            Stage::Waiting(_) => LinkStatus::Waiting,
            Stage::Stopping { id, .. } => LinkStatus::Stopping(id),
        }
    }

    /// Whom to dial now.
    pub(super) fn next_address(&mut self) -> Address {
        self.dials = self.dials.saturating_add(1);
        let address = self.addresses[self.turn].clone();
        self.turn = (self.turn + 1) % self.addresses.len();
        address
    }

    /// As if nothing had happened so far.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        (self.turn, self.dials) = (0, 0);
    }

    /// What follows an end. `up` says how long the connection had been up, if it had.
    pub(super) fn next(&mut self, reason: CloseReason, up: Option<Duration>, random: u64) -> Next {
        if self.judge.as_mut().is_some_and(|judge| judge(reason)) {
            return Next::Stop;
        }
        match up {
            Some(up) if up >= self.retry.steady => {
                // A first delay, but nothing has failed.
                self.reset();
                let delay = self.backoff.next(random);
                self.backoff.reset();
                return Next::After(delay);
            }
            Some(_) => self.turn = 0,
            None if self.turn > 0 => return Next::After(Duration::ZERO),
            None => {}
        }
        let delay = self.backoff.next(random);
        let attempts = self.backoff.failures();
        match self.retry.attempts_max {
            Some(max) if attempts >= max.max(1) => Next::GiveUp { attempts },
            _ => Next::After(delay),
        }
    }
}

/// No further connection may be had on this loop.
fn no_room(_full: Full) -> io::Error {
    ErrorKind::QuotaExceeded.into()
}

impl<H: Handler> fmt::Debug for Link<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("addresses", &self.addresses)
            .field("retry", &self.retry)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
