//! TLS as a layer: rustls between a connection and its handler, on servers and clients.
//!
//! This crate does no I/O of its own and has no threads: the loop receives and sends, and a
//! [`TlsLayer`] stands between its bytes and the handler's. A handler needs no change to be served
//! over TLS; what the handshake has agreed on it learns from [`tls_info`].
//!
//! ```text
//!   socket -> loop -> TlsLayer -> Input -> Handler
//!   socket <- loop <- TlsLayer <- out() <- Handler
//! ```
//!
//! | to | see |
//! |---|---|
//! | listen with certificates | [`TlsServer`], or [`listen`] on `tls://..?cert=..&key=..` |
//! | dial | [`TlsClient`], or [`connect`] to `tls://..` |
//! | choose a certificate by name, RSA beside ECDSA | [`TlsServerBuilder::identity`], several times |
//! | ask clients for certificates | [`TlsServerBuilder::client_auth`] |
//! | take new certificates while connections go on | [`TlsServer::reload`], [`TlsServer::watch`] |
//! | change to TLS in the middle of a stream | [`Conn::add_layer`](mainspring_loop::Conn::add_layer) |
//!
//! TLS 1.2 and 1.3. Early data, renegotiation and compression are never accepted.
//!
//! The cryptography is aws-lc-rs (feature `aws-lc-rs`, the default) or ring (feature `ring`). The
//! process default of rustls is neither used nor set.
#![forbid(unsafe_code)]

mod address;
mod client;
mod engine;
mod error;
pub mod fuzz;
mod identity;
mod info;
mod layer;
mod names;
mod pem;
mod provider;
mod reason;
mod roots;
mod server;
mod version;
mod watch;

pub use address::{connect, listen, server_of};
pub use client::{TlsClient, TlsClientBuilder};
pub use error::{Error, Flaw};
pub use identity::Identity;
pub use info::{TlsInfo, tls_info};
pub use layer::TlsLayer;
pub use mainspring_io::ClientAuth;
pub use roots::Roots;
pub use server::{TlsServer, TlsServerBuilder};
pub use version::TlsVersion;
