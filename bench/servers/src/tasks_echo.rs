//! Mainspring's tasks: a future per connection, on one loop.

use std::io;

use mainspring_io::{Addr, Address as Listen, DriverKind};
use mainspring_loop::{Error, Server};
use mainspring_tasks::{Stream, Tasks};

use crate::listen::{Address, announce};

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address, driver: DriverKind) -> io::Result<()> {
    let listen: Listen = address.to_string().parse().map_err(io::Error::other)?;
    let served = Server::builder().driver(driver).run(|shard| {
        let host = shard.host(Tasks::serve(|stream| async {
            // A connection that breaks is its own affair.
            let _ = echo_all(stream).await;
        }));
        let bound = match shard.listen(host, listen)? {
            Addr::Inet(bound) => Address::Tcp(bound),
            Addr::Unix(_) => address.clone(),
        };
        announce(name, &bound).map_err(Error::Driver)
    });
    served.map_err(io::Error::other)
}

async fn echo_all(mut stream: Stream) -> io::Result<()> {
    while let Some(received) = stream.receive().await? {
        stream.forward(received).await?;
    }
    Ok(())
}
