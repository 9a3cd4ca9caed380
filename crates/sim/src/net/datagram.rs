//! Datagram sockets: messages that may be late, lost, doubled and out of order, but never cut.

use super::{Event, Net, Owner, address};
use mainspring_io::{Addr, ListenOptions};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub(crate) struct DatagramSocket {
    pub(crate) owner: Owner,
    pub(crate) local: Addr,
    pub(crate) shared_port: bool,
    /// The only peer, if connected.
    peer: Option<Addr>,
    groups: BTreeSet<IpAddr>,
    received: VecDeque<(Addr, Vec<u8>)>,
    received_bytes: usize,
    /// Sent and still under way.
    leaving: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    from: Addr,
    to: Addr,
    payload: Vec<u8>,
}

/// Why a datagram did not leave.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The socket is full: try it again later.
    Full,
    /// The datagram is given up.
    Dropped(io::Error),
}

impl Net {
    pub(crate) fn bind(
        &mut self,
        owner: Owner,
        at: &Addr,
        options: &ListenOptions,
    ) -> io::Result<(u64, Addr)> {
        let shared_port = address::shares_port(options);
        let local = self.bindable_datagram(at, shared_port)?;
        let number = self.new_number();
        let socket = DatagramSocket {
            owner,
            local: local.clone(),
            shared_port,
            peer: None,
            groups: BTreeSet::new(),
            received: VecDeque::new(),
            received_bytes: 0,
            leaving: 0,
        };
        self.sockets.insert(number, socket);
        Ok((number, local))
    }

    /// Binds a free port and talks with `to` only.
    pub(crate) fn connect_datagram(
        &mut self,
        owner: Owner,
        to: &Addr,
        options: &ListenOptions,
    ) -> io::Result<(u64, Addr)> {
        let Addr::Inet(peer) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let ip = if peer.ip().is_unspecified() { address::loopback(peer.ip()) } else { peer.ip() };
        let (number, local) = self.bind(owner, &Addr::Inet(SocketAddr::new(ip, 0)), options)?;
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.peer = Some(Addr::Inet(SocketAddr::new(ip, peer.port())));
        }
        Ok((number, local))
    }

    /// Sends one datagram; `to` is `None` on a connected socket.
    pub(crate) fn send_datagram(
        &mut self,
        number: u64,
        to: Option<&Addr>,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let dropped = |kind: io::ErrorKind| Refusal::Dropped(kind.into());
        let socket = self.sockets.get(&number).ok_or(dropped(io::ErrorKind::NotConnected))?;
        let to = to.or(socket.peer.as_ref()).cloned();
        let to = to.ok_or(dropped(io::ErrorKind::NotConnected))?;
        let from = socket.sender_address(&to);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(dropped(io::ErrorKind::InvalidInput));
        }
        if socket.leaving >= self.options.datagrams_leaving {
            return Err(Refusal::Full);
        }
        if self.dice.strikes(|f| f.datagram_refusal, |c| &mut c.datagrams_refused) {
            return Err(dropped(io::ErrorKind::OutOfMemory));
        }
        self.dispatch(number, Datagram { from, to, payload: payload.to_vec() });
        Ok(())
    }

    /// The next datagram received.
    pub(crate) fn receive_datagram(&mut self, number: u64) -> Option<(Addr, Vec<u8>)> {
        let socket = self.sockets.get_mut(&number)?;
        let (from, payload) = socket.received.pop_front()?;
        socket.received_bytes -= payload.len();
        Some((from, payload))
    }

    pub(crate) fn datagrams_received(&self, number: u64) -> usize {
        self.sockets.get(&number).map_or(0, |socket| socket.received.len())
    }

    /// Whether a full socket has room again.
    pub(crate) fn datagrams_may_leave(&self, number: u64) -> bool {
        let room = |socket: &DatagramSocket| socket.leaving < self.options.datagrams_leaving;
        self.sockets.get(&number).is_some_and(room)
    }

    pub(crate) fn multicast(&mut self, number: u64, group: IpAddr, join: bool) -> io::Result<()> {
        if !group.is_multicast() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let socket = self.sockets.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let changed = if join { socket.groups.insert(group) } else { socket.groups.remove(&group) };
        let refusal = if join { io::ErrorKind::AddrInUse } else { io::ErrorKind::AddrNotAvailable };
        if changed { Ok(()) } else { Err(refusal.into()) }
    }

    pub(crate) fn close_datagram(&mut self, number: u64) {
        self.sockets.remove(&number);
    }

    pub(super) fn datagram_arrived(&mut self, datagram: &Datagram) {
        let hears =
            |(number, socket): (&u64, &DatagramSocket)| socket.hears(datagram).then_some(*number);
        let mut hearers: Vec<u64> = self.sockets.iter().filter_map(hears).collect();
        if !is_multicast(&datagram.to) && hearers.len() > 1 {
            let chosen = hearers[self.dice.rng.usize(..hearers.len())];
            hearers = vec![chosen];
        }
        for number in hearers {
            let Some(socket) = self.sockets.get_mut(&number) else { continue };
            let room = self.options.datagram_bytes.saturating_sub(socket.received_bytes);
            if datagram.payload.len() > room {
                continue;
            }
            socket.received_bytes += datagram.payload.len();
            socket.received.push_back((datagram.from.clone(), datagram.payload.clone()));
            let owner = socket.owner;
            self.notify(owner);
        }
    }

    pub(super) fn datagram_left(&mut self, number: u64) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        socket.leaving -= 1;
        let owner = socket.owner;
        self.notify(owner);
    }

    /// Puts the datagram on its way. Without faults they arrive in order: loopback keeps it.
    fn dispatch(&mut self, socket: u64, datagram: Datagram) {
        let calm = self.options.latency.start().to_owned();
        let delayed = self.dice.strikes(|f| f.delay, |c| &mut c.delays);
        let delay_max = if delayed { self.options.faults.delay_max } else { calm };
        let due = self.now() + self.dice.duration(calm, delay_max.max(calm));
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.leaving += 1;
        }
        self.schedule(due, Event::DatagramLeft { socket });
        if self.dice.strikes(|f| f.datagram_loss, |c| &mut c.datagrams_lost) {
            return;
        }
        if self.dice.strikes(|f| f.datagram_duplication, |c| &mut c.datagrams_duplicated) {
            let again = due + self.dice.duration(calm, calm * 4);
            self.schedule(again, Event::Datagram(datagram.clone()));
        }
        self.schedule(due, Event::Datagram(datagram));
    }
}

impl DatagramSocket {
    /// As the receiver sees it: an unspecified address gets the loopback of the receiver's family.
    fn sender_address(&self, to: &Addr) -> Addr {
        match (&self.local, to) {
            (Addr::Inet(local), Addr::Inet(to)) if local.ip().is_unspecified() => {
                let ip = if to.ip().is_multicast() || to.ip().is_unspecified() {
                    address::loopback(to.ip())
                } else {
                    to.ip()
                };
                Addr::Inet(SocketAddr::new(ip, local.port()))
            }
            (local, _) => local.clone(),
        }
    }

    fn hears(&self, datagram: &Datagram) -> bool {
        if self.peer.as_ref().is_some_and(|peer| *peer != datagram.from) {
            return false;
        }
        match &datagram.to {
            Addr::Inet(to) if to.ip().is_multicast() => {
                self.groups.contains(&to.ip()) && address::port_of(&self.local) == Some(to.port())
            }
            to => address::covers(&self.local, to),
        }
    }
}

fn is_multicast(to: &Addr) -> bool {
    matches!(to, Addr::Inet(to) if to.ip().is_multicast())
}

/// RFC 768: the length field counts 16 bits, 8 bytes of header and 20 of IPv4 header included.
const PAYLOAD_BYTES_MAX: usize = 65_507;
