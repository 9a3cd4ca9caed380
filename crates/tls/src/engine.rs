//! The one file that knows how rustls moves bytes.
//!
//! Its shape is that of rustls 0.24: bytes in by `process(input, output)`, where the caller owns the
//! input and says what is left of it, and output is appended to the caller's vectors. Underneath is
//! the unbuffered connection of 0.23. Measured against its buffered one in memory, TLS 1.3 with
//! AES-256-GCM, 1 KiB in and out: 574 ns in place of 617; and an idle connection holds no buffer,
//! where a buffered one keeps 4 KiB.
//!
//! What 0.23 asks of its callers, and 0.24 does not:
//!
//! * A handshake message in several records stays in the input until it is whole, and the connection
//!   indexes into that input at every call, also at those that only send. So what is held back is
//!   copied here (`held`) and passed again when there is something to send. It is nearly always
//!   empty.
//! * After an error the input must not be looked at again: the alert is taken out by itself.

use crate::names;
use mainspring_loop::Input;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use rustls_pki_types::ServerName;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;

/// One side of one TLS connection.
pub(crate) enum Engine {
    Server(Machine<UnbufferedServerConnection>),
    Client(Machine<UnbufferedClientConnection>),
}

/// Where output goes.
pub(crate) struct Output<'a> {
    /// What the peer's application has said.
    pub(crate) plain: &'a mut Vec<u8>,
    /// Once `plain` is this long nothing more is decrypted; the last record may exceed it.
    pub(crate) plain_max: usize,
    /// What the peer is to get.
    pub(crate) wire: &'a mut Vec<u8>,
}

/// How far a connection is. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Neither side may send yet.
    Handshake,
    /// Both may.
    Open,
    /// The peer has said that it will send nothing more.
    PeerEnded,
}

impl Engine {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|connection| Self::Server(connection.into()))
    }

    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::Client(connection.into()))
    }

    /// Consumes whole records, appends what they carry to the output. With an error, the alert that
    /// tells the peer has been appended to `wire`.
    pub(crate) fn process(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<Progress, Error> {
        match self {
            Self::Server(machine) => machine.process(input, output),
            Self::Client(machine) => machine.process(input, output),
        }
    }

    /// Appends `plain` to `wire` as records. The connection is open.
    pub(crate) fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Server(machine) => machine.encrypt(plain, wire),
            Self::Client(machine) => machine.encrypt(plain, wire),
        }
    }

    /// Appends this side's `close_notify`, once; nothing while the handshake lasts.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        match self {
            Self::Server(machine) => machine.close(wire),
            Self::Client(machine) => machine.close(wire),
        }
    }

    /// What the handshake has agreed on.
    pub(crate) fn common(&self) -> &CommonState {
        match self {
            Self::Server(machine) => &machine.connection,
            Self::Client(machine) => &machine.connection,
        }
    }

    /// The name that the client asked for.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Server(machine) => machine.asked.as_deref(),
            Self::Client(_) => None,
        }
    }
}

/// What both sides of rustls' unbuffered connection have in common but no trait says.
pub(crate) trait Records: Deref<Target: Deref<Target = CommonState>> {
    type Data;

    fn records<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn records<'c, 'i>(
        &'c mut self,
        input: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn records<'c, 'i>(
        &'c mut self,
        input: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }
}

pub(crate) struct Machine<C> {
    connection: C,
    /// What a server's client asked for.
    asked: Option<Box<str>>,
    /// A copy of the records at the front of the input that hold a part of a handshake message.
    held: Vec<u8>,
    peer_ended: bool,
}

impl<C> From<C> for Machine<C> {
    fn from(connection: C) -> Self {
        Self { connection, asked: None, held: Vec::new(), peer_ended: false }
    }
}

impl<C: Records> Machine<C> {
    fn process(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<Progress, Error> {
        let was_handshaking = self.connection.is_handshaking();
        let result = self.take_records(input, output);
        if was_handshaking && let Some(name) = names::take_asked() {
            self.asked = Some(name);
        }
        if result.is_err() {
            self.take_alert(output.wire);
        }
        result.map(|()| self.progress())
    }

    fn progress(&self) -> Progress {
        match self.connection.is_handshaking() {
            true => Progress::Handshake,
            false if self.peer_ended => Progress::PeerEnded,
            false => Progress::Open,
        }
    }

    fn take_records(
        &mut self,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Error> {
        self.held.clear();
        while output.plain.len() < output.plain_max {
            if self.peer_ended {
                // RFC 8446, 6.1: "Any data received after a closure alert has been received MUST be
                // ignored."
                input.take();
                return Ok(());
            }
            let UnbufferedStatus { mut discard, state } = self.connection.records(input.bytes());
            let (mut waits, mut is_data) = (false, false);
            let result = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    is_data = true;
                    match traffic.next_record() {
                        None => break Ok(()),
                        Some(Err(error)) => break Err(error),
                        Some(Ok(record)) => {
                            discard += record.discard;
                            output.plain.extend_from_slice(record.payload);
                        }
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut data, output.wire);
                    Ok(())
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.peer_ended = true;
                    Ok(())
                }
                // It waits for more, or would send. Early data is never accepted.
                Ok(_) => {
                    waits = true;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            input.consume(discard);
            result?;
            if waits {
                self.hold(input);
                return Ok(());
            }
            if is_data && input.is_empty() && !self.connection.is_handshaking() {
                // The common case: another look would find nothing, for some percent of the cost.
                return Ok(());
            }
        }
        Ok(())
    }

    /// The connection has taken what it can of the input: what is left is a part of a record, or
    /// whole records with a part of a handshake message and a part of a record behind them.
    fn hold(&mut self, input: &mut Input<'_>) {
        if input.is_empty() {
            return;
        }
        match missing(input.bytes()) {
            Some(missing) if !self.connection.is_handshaking() => input.need(missing),
            Some(_) => {}
            None => self.held.extend_from_slice(input.bytes()),
        }
    }

    fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            match self.connection.records(&mut self.held).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let room = plain.len() + plain.len().div_ceil(RECORD_PLAIN_MAX) * RECORD_EXTRA;
                    return into_room(wire, room, |wire| traffic.encrypt(plain, wire));
                }
                ConnectionState::EncodeTlsData(mut data) => append(&mut data, wire),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_ended = true,
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        loop {
            match self.connection.records(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    // The only failure is a lack of room, and it is given the room it asks for.
                    let _ = into_room(wire, RECORD_EXTRA, |wire| traffic.queue_close_notify(wire));
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, wire),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_ended = true,
                _ => return,
            }
        }
    }

    /// What the connection still has to say after an error.
    fn take_alert(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            match self.connection.records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, wire),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                _ => return,
            }
        }
    }
}

/// RFC 8446, 5.1 and RFC 5246, 6.2.1: 2^14 bytes of content in a record.
const RECORD_PLAIN_MAX: usize = 1 << 14;
/// What encryption adds to a record: header, nonce, type and tag, rounded up.
const RECORD_EXTRA: usize = 64;
const HEADER_LEN: usize = 5;

/// How many bytes the record at the front lacks; `None` if it is whole.
fn missing(bytes: &[u8]) -> Option<NonZeroUsize> {
    let len = match bytes {
        [_, _, _, high, low, ..] => HEADER_LEN + usize::from(u16::from_be_bytes([*high, *low])),
        _ => HEADER_LEN,
    };
    NonZeroUsize::new(len.saturating_sub(bytes.len()))
}

/// Appends a handshake record or an alert.
fn append<Data>(data: &mut EncodeTlsData<'_, Data>, wire: &mut Vec<u8>) {
    let _ = into_room(wire, 0, |wire| {
        data.encode(wire).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => EncryptError::InsufficientSize(size),
            EncodeError::AlreadyEncoded => EncryptError::EncryptExhausted,
        })
    });
}

/// Lets `write` fill what stands behind the bytes of `wire`, with as much room as it asks for.
fn into_room(
    wire: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let at = wire.len();
    loop {
        wire.resize(at + room, 0);
        match write(&mut wire[at..]) {
            Ok(written) => {
                wire.truncate(at + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) => room = size.required_size,
            Err(EncryptError::EncryptExhausted) => {
                wire.truncate(at);
                return Err(Error::EncryptError);
            }
        }
    }
}

#[cfg(test)]
mod tests;
