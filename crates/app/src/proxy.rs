//! The PROXY protocol as layers: whom a proxy in front speaks for, and telling it to one behind.
//!
//! ```text
//!  proxy --> [Inbound] --> [Guard] --> [TLS] --> handler      handler --> [TLS] --> [Outbound] --> upstream
//!            takes the header off,                                                 puts one in front
//!            sets both ends
//! ```
//!
//! The header comes in front of everything, TLS included, so its layer is the one next to the
//! socket. The bytes are `mainspring-wire`'s matter ([`mainspring_wire::proxy`]); here is who may send
//! one, and what follows from it.

mod addresses;
mod inbound;
mod outbound;

pub use inbound::{Inbound, InboundLayer, ProxyInfo};
pub use mainspring_wire::proxy::{Tlv, Tlvs, Version};
pub use outbound::Outbound;

/// The name of both layers in faults.
const NAME: &str = "PROXY header";
