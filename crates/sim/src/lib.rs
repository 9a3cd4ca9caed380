//! A driver with a seed: network, clock and faults in memory.
//!
//! [`SimDriver`] is a [`Driver`](mainspring_io::Driver) like any other, so the loop, the handlers
//! and the codecs above it are the ones that run in production. Below it is no kernel but a
//! [`World`]:
//!
//! ```text
//!    loop A          loop B         script
//!      |               |              |
//!   SimDriver       SimDriver       SimPeer, SimListener, SimDatagramPeer
//!      |               |              |
//!  ----+---------------+--------------+----  World: one network, one clock, one source of chance
//!        latency, windows, FIN, RST, loss
//! ```
//!
//! Nothing ever blocks. A poll delivers what is due at the world's present time and notes until
//! when it would have slept; whoever runs the world polls the drivers that are [due](World::due),
//! and moves the clock to the next event when none is. All chance comes from one seed, so equal
//! seeds and programs give equal [trace hashes](World::trace_hash).
//!
//! Orders that break the contract of [`mainspring_io::driver`], such as a send while one is
//! waiting, panic: the simulation is the judge of the loop above it.
//!
//! ```
//! use mainspring_io::{Addr, Driver, Key, ListenOptions};
//! use mainspring_sim::{World, WorldOptions};
//!
//! let world = World::new(7, WorldOptions::default());
//! let mut driver = world.driver("server");
//! let at = Addr::Inet("127.0.0.1:0".parse()?);
//! let at = driver.listen(Key::new(0, 0), &at, &ListenOptions::default())?;
//! let peer = world.connect(&at)?;
//! world.advance(std::time::Duration::from_millis(1));
//! assert!(peer.is_connected());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod clock;
mod driver;
mod fault;
mod net;
mod peer;
mod stream;
mod trace;
mod world;

pub use driver::SimDriver;
pub use fault::{FaultCounts, Faults};
pub use peer::{SimDatagramPeer, SimListener, SimPeer};
pub use world::{World, WorldOptions};
