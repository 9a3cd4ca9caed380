//! From an address to a connected socket.

use crate::timed::{Timed, left_of, now};
use crate::{Error, Timeouts};
use mainspring_io::{Addr, Address, OwnedStream};
use std::io;

/// Tries the addresses that `address` stands for one after the other, all within
/// [`Timeouts::connect`].
pub(crate) fn dial(address: &Address, timeouts: &Timeouts) -> Result<(Timed, Addr), Error> {
    if address.is_datagram() {
        return Err(Error::Datagrams { address: address.to_string() });
    }
    let failed = |cause| Error::Dial { address: address.to_string(), cause };
    let candidates = address.resolve().map_err(failed)?;
    let began = now();
    let mut cause = io::ErrorKind::TimedOut.into();
    for to in candidates {
        let left = left_of(timeouts.connect, began);
        if left.is_zero() {
            break;
        }
        match OwnedStream::connect(&to, &address.listen_options().socket, left) {
            Ok(stream) => return Ok((Timed::new(stream), to)),
            Err(error) => cause = error,
        }
    }
    Err(failed(cause))
}
