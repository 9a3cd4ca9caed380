//! Connections that start here.

use crate::conn::ends::Ends;
use crate::conn::slot::{ConnSlot, DatagramSlot, Flags, NO_LISTENER, Slot, Stage};
use crate::state::{Install, Life, LoopState};
use crate::turn::Loop;
use crate::turn::order::Order;
use crate::{CloseReason, ConnId, Cx, Full, Handler, HostId, Layers};
use mainspring_io::{Addr, Address, DatagramOutbox, Driver, Key, ListenOptions, Scheme};
use std::io;
use std::net::Ipv4Addr;

impl Cx<'_> {
    /// Dials a stream address on this loop for the handler `host`. `on_connected` follows, or
    /// `on_close` with the reason; either gets the given state.
    ///
    /// A host name is resolved on the offload pool; the addresses found are tried one after the
    /// other. All of it has to be done within
    /// [`Limits::dial_timeout`](crate::Limits::dial_timeout).
    ///
    /// # Errors
    ///
    /// [`Full`], with the state dropped, if the server has
    /// [`Limits::connections_max`](crate::Limits::connections_max) connections or is stopping.
    ///
    /// # Panics
    ///
    /// If the address is a datagram address; those are for
    /// [`connect_datagram`](Cx::connect_datagram). If it is a `tls://` address; those are for
    /// `mainspring_tls::connect`. If `host` is the id of another server's handler.
    pub fn connect<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
        state: H::State,
    ) -> Result<ConnId, Full> {
        let is_plain = address.scheme() != Scheme::Tls;
        assert!(is_plain, "{address} needs its layer: dial with mainspring_tls::connect");
        self.connect_layered(host, address, state, Layers::new())
    }

    /// As [`connect`](Cx::connect), with layers on the connection: `on_connected` follows when they
    /// are open, within the same [`Limits::dial_timeout`](crate::Limits::dial_timeout).
    ///
    /// # Errors
    ///
    /// As for [`connect`](Cx::connect).
    ///
    /// # Panics
    ///
    /// As for [`connect`](Cx::connect).
    pub fn connect_layered<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
        state: H::State,
        layers: Layers,
    ) -> Result<ConnId, Full> {
        assert!(!address.is_datagram(), "{address} is a datagram address");
        self.state.check_host(host);
        let loop_ = &mut *self.state;
        if loop_.life >= Life::Stopping || !loop_.shared.reserve_connection() {
            return Err(Full);
        }
        loop_.shared.assign_connection(loop_.index);
        let until = loop_.tick_after(loop_.limits.dial_timeout);
        let ends = Ends::unspecified();
        let mut conn = ConnSlot::new(host.index, NO_LISTENER, ends, Stage::Dialing);
        (conn.active, conn.since) = (until, loop_.tick());
        conn.extra().dial_options = address.listen_options().socket.clone();
        conn.idle_ms = loop_.limits.idle_timeout.map_or(0, crate::conn::idle_ms);
        if !layers.is_empty() {
            conn.put_on(layers, until);
        }
        let key = loop_.slots.insert(Slot::Conn(conn));
        loop_.count_in();
        loop_.keep_guard(key);
        loop_.installs.push_back(Install { key, host: host.index, state: Box::new(state) });
        loop_.resolve(key, address, LoopState::candidates_found);
        Ok(loop_.id_of(key))
    }

    /// Opens a datagram socket to one peer for the handler `host`, whose `on_datagram` gets the
    /// answers. What is queued on it before it is open leaves when it is. If it cannot be opened, a
    /// log line says why, and [`Cx::datagram`] does not find it any more.
    ///
    /// # Errors
    ///
    /// [`Full`] if the server is draining or stopping.
    ///
    /// # Panics
    ///
    /// If the address is not a datagram address, or `host` is the id of another server's handler.
    pub fn connect_datagram<H: Handler>(
        &mut self,
        host: HostId<H>,
        address: &Address,
    ) -> Result<ConnId, Full> {
        assert!(address.is_datagram(), "{address} is not a datagram address");
        self.state.check_host(host);
        if self.state.life > Life::Running {
            // The datagram sockets have been closed: nothing would close one more.
            return Err(Full);
        }
        let key = self.state.slots.insert(Slot::Datagram(Box::new(DatagramSlot {
            outbox: DatagramOutbox::new(),
            local: unspecified(),
            peer: Some(unspecified()),
            host: host.index,
            listener: NO_LISTENER,
            flags: Flags::default(),
        })));
        let options = address.listen_options().clone();
        self.state.resolve(key, address, move |state, key, found| {
            match found.and_then(|addrs| addrs.into_iter().next().ok_or(nothing_found())) {
                Ok(to) => state.order(Order::DialDatagram { key, to, options }),
                Err(error) => state.datagram_failed(key, &error),
            }
        });
        Ok(self.state.id_of(key))
    }
}

impl LoopState {
    /// Finds what an address stands for, on the offload pool if it is a name.
    fn resolve(
        &mut self,
        key: Key,
        address: &Address,
        found: impl FnOnce(&mut Self, Key, io::Result<Vec<Addr>>) + Send + 'static,
    ) {
        if address.is_literal() {
            return found(self, key, address.resolve());
        }
        let address = address.clone();
        let queued = self.offload(move || {
            let addrs = address.resolve();
            Box::new(move |_, state| found(state, key, addrs))
        });
        if queued.is_err() {
            crate::panic::log(|| {
                tracing::warn!("too many jobs wait for the offload pool: a name is not resolved")
            });
            self.give_up(key, &io::ErrorKind::QuotaExceeded.into());
        }
    }

    fn candidates_found(&mut self, key: Key, found: io::Result<Vec<Addr>>) {
        match found {
            Ok(mut addrs) => {
                let Some(conn) = self.conn(key) else { return };
                addrs.reverse();
                conn.extra().candidates = addrs;
                self.order(Order::Dial { key });
            }
            Err(error) => self.give_up(key, &error),
        }
    }

    fn give_up(&mut self, key: Key, error: &io::Error) {
        match self.slots.get(key) {
            Some(Slot::Datagram(_)) => self.datagram_failed(key, error),
            _ => self.escalate(key, Stage::Aborting, CloseReason::Failed(error.into())),
        }
    }

    fn datagram_failed(&mut self, key: Key, error: &io::Error) {
        crate::panic::log(|| tracing::warn!(?key, %error, "cannot open a datagram socket"));
        self.remove_datagram(key);
    }

    /// Forgets a datagram socket; what is still queued on it is counted as dropped.
    pub(crate) fn remove_datagram(&mut self, key: Key) {
        if let Some(Slot::Datagram(socket)) = self.slots.remove(key) {
            self.counters.dropped_datagrams_refused.add(socket.outbox.len() as u64);
        }
    }
}

impl<D: Driver> Loop<D> {
    /// Tries the next address of a dialling connection.
    pub(crate) fn dial_next(&mut self, key: Key) {
        let mut error = nothing_found();
        loop {
            let Some(conn) = self.core.state.conn(key) else { return };
            if conn.stage != Stage::Dialing {
                return;
            }
            let extra = conn.extra();
            let Some(to) = extra.candidates.pop() else { break };
            match self.driver.connect(key, &to, &extra.dial_options) {
                Ok(()) => {
                    conn.ends = Ends::new(to, unspecified());
                    conn.flags.set(Flags::ADOPTED);
                    return;
                }
                Err(refused) => error = refused,
            }
        }
        self.core.state.give_up(key, &error);
    }

    pub(crate) fn dial_datagram(&mut self, key: Key, to: &Addr, options: &ListenOptions) {
        if self.core.state.datagram(key).is_none() {
            // Closed while its name was looked up.
            return;
        }
        match self.driver.connect_datagram(key, to, options) {
            Ok(local) => {
                let Some(socket) = self.core.state.datagram(key) else { return };
                (socket.local, socket.peer) = (local, Some(to.clone()));
                socket.flags.set(Flags::ADOPTED);
                self.core.state.mark_dirty(key);
            }
            Err(error) => self.core.state.datagram_failed(key, &error),
        }
    }
}

fn unspecified() -> Addr {
    Addr::Inet((Ipv4Addr::UNSPECIFIED, 0).into())
}

fn nothing_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name stands for no address")
}
