//! The set-up view of one loop.

use crate::conn::slot::{DatagramSlot, Flags, ListenerSlot, NO_LISTENER, Slot};
use crate::handler::host::{Host, Hosted};
use crate::server::prepared::SETUPS_DIFFER;
use crate::state::{HostInfo, ListenerInfo, LoopState, Ticking};
use crate::{
    Balance, BroadcastLimits, Broadcaster, Error, Handler, HostId, Layers, Limits, Remote,
};
use mainspring_io::{Addr, Address, DatagramOutbox, Driver, Key, ListenOptions, Scheme};
use std::any::TypeId;
use std::io;

/// One loop while it is being set up: handlers move in, listeners are opened.
///
/// The set-up closure runs once on every loop, on that loop's thread, and has to make the same
/// calls in the same order on each; what differs between loops is in the handlers' values.
pub struct Shard<'a> {
    pub(crate) state: &'a mut LoopState,
    pub(crate) hosts: &'a mut Vec<Box<dyn Host>>,
    pub(crate) sockets: &'a mut dyn Sockets,
}

/// The part of a driver that set-up needs, whichever driver it is.
pub(crate) trait Sockets {
    fn open(
        &mut self,
        key: Key,
        datagram: bool,
        at: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr>;
    fn close(&mut self, key: Key);
    fn catch_signal(&mut self, number: i32) -> io::Result<()>;
}

impl<D: Driver> Sockets for D {
    fn open(
        &mut self,
        key: Key,
        datagram: bool,
        at: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr> {
        if datagram { self.bind(key, at, options) } else { self.listen(key, at, options) }
    }

    fn close(&mut self, key: Key) {
        Driver::close(self, key);
    }

    fn catch_signal(&mut self, number: i32) -> io::Result<()> {
        Driver::catch_signal(self, number)
    }
}

impl Shard<'_> {
    /// Moves a handler in. Its `on_start` runs when every loop is set up.
    pub fn host<H: Handler>(&mut self, handler: H) -> HostId<H> {
        let index = u32::try_from(self.hosts.len()).expect("fewer than 2^32 handlers");
        self.hosts.push(Box::new(Hosted::new(handler)));
        self.state.outgoing.add_host();
        self.state.hosts.push(HostInfo {
            handler: TypeId::of::<H>(),
            ticks_on_every_loop: false,
            tick: Ticking::Stopped,
        });
        HostId::new(index)
    }

    /// Listens on an address for a handler, with the options that the address carries. Returns the
    /// bound address: the same on every loop, also when the port was left to the system.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if the address cannot be understood, [`Error::Bind`] if it cannot be had,
    /// [`Error::Misuse`] if loop 0 has no such listener, or for `tls://`, which
    /// `mainspring_tls::listen` serves.
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler.
    pub fn listen<H: Handler, A>(&mut self, host: HostId<H>, address: A) -> Result<Addr, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let options = address.listen_options().clone();
        self.listen_with(host, &address, &options)
    }

    /// As [`listen`](Shard::listen), with options from code in place of those in the address.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if the address cannot be had, [`Error::Misuse`] if loop 0 has no such
    /// listener, or for `tls://`, which `mainspring_tls::listen` serves.
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler.
    pub fn listen_with<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
        options: &ListenOptions,
    ) -> Result<Addr, Error> {
        if address.scheme() == Scheme::Tls {
            return Err(Error::Misuse(TLS_NEEDS_A_LAYER));
        }
        self.listen_at(host, address, options, None)
    }

    /// As [`listen_with`](Shard::listen_with), for connections with layers: `layers` is called for
    /// each accepted connection, whose handler hears of it when they are open.
    ///
    /// # Errors
    ///
    /// As for [`listen_with`](Shard::listen_with).
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler, or the address is a datagram address.
    pub fn listen_layered<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
        options: &ListenOptions,
        layers: impl FnMut() -> Layers + 'static,
    ) -> Result<Addr, Error> {
        assert!(!address.is_datagram(), "{address} is a datagram address");
        self.listen_at(host, address, options, Some(Box::new(layers)))
    }

    fn listen_at<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
        options: &ListenOptions,
        layers: Option<Box<dyn FnMut() -> Layers>>,
    ) -> Result<Addr, Error> {
        self.state.check_host(host);
        let listener = u16::try_from(self.state.listeners.len()).unwrap_or(NO_LISTENER);
        if listener == NO_LISTENER {
            return Err(Error::Misuse("a server has at most 65,535 listeners"));
        }
        let fail = |cause| Error::Bind { address: address.to_string(), cause };
        let known = self.state.shared.addr(listener.into());
        if known.is_none() && self.state.index > 0 {
            return Err(Error::Misuse(SETUPS_DIFFER));
        }
        let candidates = match &known {
            Some(bound) => vec![bound.clone()],
            None => address.resolve().map_err(fail)?,
        };
        let each_loop = self.each_loop_opens(&candidates) && options.reuseport != Some(false);
        let (mut key, mut addr) = (None, known);
        if self.state.index == 0 || each_loop {
            let (opened, bound) =
                self.open_first(address, &candidates, options, each_loop).map_err(fail)?;
            let slot = if address.is_datagram() {
                Slot::Datagram(Box::new(DatagramSlot {
                    outbox: DatagramOutbox::new(),
                    local: bound.clone(),
                    peer: None,
                    host: host.index,
                    listener,
                    flags: Flags::ADOPTED,
                }))
            } else {
                Slot::Listener(ListenerSlot { listener })
            };
            *self.state.slots.get_mut(opened).expect("just made") = slot;
            self.state.mark_dirty(opened);
            self.state.shared.set_addr(listener.into(), &bound);
            key = (!address.is_datagram()).then_some(opened);
            addr = Some(bound);
        }
        let addr = addr.expect("known, or just bound");
        self.state.listeners.push(ListenerInfo {
            host: host.index,
            key,
            shared_out: !each_loop && self.loops() > 1,
            layers,
        });
        Ok(addr)
    }

    /// The way to a handler of this loop from any thread.
    #[must_use]
    pub fn remote<H: Handler>(&self, host: HostId<H>) -> Remote<H> {
        Remote::new(self.state.shared.clone(), self.state.index, host)
    }

    /// As [`Remote::broadcaster`].
    #[must_use]
    pub fn broadcaster(&self, limits: BroadcastLimits) -> Broadcaster {
        Broadcaster::new(self.state.shared.clone(), limits)
    }

    /// Catches a signal of the process for a handler, by its number: what the system does at it does
    /// not happen any more, and the handler's [`on_signal`](Handler::on_signal) is called in place of
    /// that, on loop 0. It takes no thread. Several handlers, of several servers too, may catch the
    /// same signal, and all are called. A signal stays caught when the server has ended, and then does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Signal`] for a number that is no signal's, or of one that cannot be caught, as SIGKILL;
    /// for every number on a system without signals.
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler.
    ///
    /// # Examples
    ///
    /// A server that SIGTERM drains:
    ///
    /// ```no_run
    /// use mainspring_loop::{Action, Conn, Cx, Handler, Input, Opened, Server};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     type State = ();
    ///     fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
    ///         Opened::Accept(())
    ///     }
    ///     fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    ///         conn.forward(input);
    ///         Action::Continue
    ///     }
    ///     fn on_signal(&mut self, cx: &mut Cx<'_>, _number: i32) {
    ///         cx.drain();
    ///     }
    /// }
    ///
    /// const SIGTERM: i32 = 15;
    ///
    /// Server::builder().run(|shard| {
    ///     let echo = shard.host(Echo);
    ///     shard.catch_signal(echo, SIGTERM)?;
    ///     shard.listen(echo, "tcp://localhost:5000").map(drop)
    /// })
    /// # .unwrap()
    /// ```
    pub fn catch_signal<H: Handler>(&mut self, host: HostId<H>, number: i32) -> Result<(), Error> {
        self.state.check_host(host);
        if self.state.index > 0 || self.state.signals.contains(&(number, host.index)) {
            return Ok(());
        }
        if !self.state.signals.iter().any(|(caught, _)| *caught == number) {
            self.sockets.catch_signal(number).map_err(|cause| Error::Signal { number, cause })?;
        }
        self.state.signals.push((number, host.index));
        Ok(())
    }

    /// Has `on_tick` called on this loop too. Without it only the handlers of loop 0 tick.
    pub fn tick_on_every_loop<H: Handler>(&mut self, host: HostId<H>) {
        self.state.hosts[host.index as usize].ticks_on_every_loop = true;
    }

    /// This loop, counted from 0.
    #[must_use]
    pub fn loop_index(&self) -> usize {
        self.state.index.into()
    }

    /// How many loops the server has.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.state.shared.loops.len()
    }

    /// The limits of the server.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// Whether the kernel shares connections out among sockets of all loops.
    fn each_loop_opens(&self, candidates: &[Addr]) -> bool {
        let inet = candidates.iter().all(|addr| matches!(addr, Addr::Inet(_)));
        let kernel = self.state.shared.balance == Balance::Kernel;
        kernel && inet && self.loops() > 1 && cfg!(target_os = "linux")
    }

    /// Opens a socket at the first of the candidates that can be had.
    fn open_first(
        &mut self,
        address: &Address,
        candidates: &[Addr],
        options: &ListenOptions,
        each_loop: bool,
    ) -> io::Result<(Key, Addr)> {
        let mut first_error = None;
        for at in candidates {
            match self.open_at(address, at, options, each_loop) {
                Ok(opened) => return Ok(opened),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    fn open_at(
        &mut self,
        address: &Address,
        at: &Addr,
        options: &ListenOptions,
        each_loop: bool,
    ) -> io::Result<(Key, Addr)> {
        let datagram = address.is_datagram();
        let mut options = options.clone();
        let mut at = at.clone();
        if each_loop && options.reuseport.is_none() {
            if self.state.index == 0 {
                // A shared port would hide that another program has it: ask for it alone first.
                let probe = self.state.slots.insert(Slot::Listener(ListenerSlot { listener: 0 }));
                at = self.open_or_forget(probe, datagram, &at, &options)?;
                self.sockets.close(probe);
            }
            options.reuseport = Some(true);
        }
        let key = self.state.slots.insert(Slot::Listener(ListenerSlot { listener: 0 }));
        let bound = self.open_or_forget(key, datagram, &at, &options)?;
        Ok((key, bound))
    }

    fn open_or_forget(
        &mut self,
        key: Key,
        datagram: bool,
        at: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr> {
        self.sockets.open(key, datagram, at, options).inspect_err(|_| {
            self.state.slots.remove(key);
        })
    }
}

const TLS_NEEDS_A_LAYER: &str = "a tls:// address needs its layer: listen with \
                                 mainspring_tls::listen in place of Shard::listen";
