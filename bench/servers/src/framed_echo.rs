//! Mainspring's frames: a codec cuts them, and puts them together again.

use std::io;

use mainspring_io::{Addr, Address as Listen, DriverKind};
use mainspring_loop::{Action, Error, Framed, Server};
use mainspring_wire::LengthPrefix;

use crate::listen::{Address, announce};

const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The same frames back.
pub(crate) fn serve(name: &str, address: &Address, driver: DriverKind) -> io::Result<()> {
    let listen: Listen = address.to_string().parse().map_err(io::Error::other)?;
    let served = Server::builder().driver(driver).run(|shard| {
        let codec = LengthPrefix::varint().max(FRAME_BYTES_MAX);
        let host = shard.host(Framed::new(codec, |conn, frame| {
            conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
        }));
        let bound = match shard.listen(host, listen)? {
            Addr::Inet(bound) => Address::Tcp(bound),
            Addr::Unix(_) => address.clone(),
        };
        announce(name, &bound).map_err(Error::Driver)
    });
    served.map_err(io::Error::other)
}
