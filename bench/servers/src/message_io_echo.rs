//! message-io: events of one network thread, which has a buffer of 64 KiB less one byte.
//!
//! It offers no TCP_NODELAY, and a connection that does not read makes it spin.

use std::io;

use message_io::network::{NetEvent, Transport};
use message_io::node;

use crate::listen::{Address, announce, refused};

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let Address::Tcp(socket) = address else { return Err(refused(address, "tcp")) };
    let (handler, listener) = node::split::<()>();
    let (_, bound) = handler.network().listen(Transport::Tcp, *socket)?;
    announce(name, &Address::Tcp(bound))?;
    listener.for_each(move |event| {
        if let NetEvent::Message(endpoint, data) = event.network() {
            handler.network().send(endpoint, data);
        }
    });
    Ok(())
}
