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
//! | change to TLS in the middle of a stream | [below](#tls-in-the-middle-of-a-stream) |
//!
//! # TLS in the middle of a stream
//!
//! SMTP, IMAP, LDAP, PostgreSQL and others begin in the clear and change to TLS on demand. A handler
//! does that by [`Conn::add_layer`](mainspring_loop::Conn::add_layer), and leaves unconsumed what
//! stands behind the command: it is the client's handshake, or was put there by somebody in between
//! and must not be taken for what came through TLS. What was learned before the change is not to be
//! believed either.
//!
//! ```
//! use mainspring_loop::{Action, Conn, Handler, Input, Opened};
//! use mainspring_tls::{TlsServer, tls_info};
//!
//! struct Mail {
//!     tls: TlsServer,
//! }
//!
//! impl Handler for Mail {
//!     /// Who the client says it is.
//!     type State = Option<Vec<u8>>;
//!
//!     fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State> {
//!         conn.out().extend_from_slice(b"220 mail.example\r\n");
//!         Opened::Accept(None)
//!     }
//!
//!     fn on_data(
//!         &mut self,
//!         client: &mut Self::State,
//!         conn: &mut Conn<'_>,
//!         input: &mut Input<'_>,
//!     ) -> Action {
//!         while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
//!             let line = input.bytes()[..end].trim_ascii_end().to_vec();
//!             input.consume(end + 1);
//!             if line == b"STARTTLS" && tls_info(conn).is_none() {
//!                 // Leaves as it is, because the layer comes after it.
//!                 conn.out().extend_from_slice(b"220 go ahead\r\n");
//!                 conn.add_layer(self.tls.layer());
//!                 return Action::Continue;
//!             }
//!             if let Some(name) = line.strip_prefix(b"EHLO ") {
//!                 *client = Some(name.to_vec());
//!                 conn.out().extend_from_slice(b"250-mail.example\r\n250 STARTTLS\r\n");
//!             }
//!         }
//!         Action::Continue
//!     }
//!
//!     fn on_layered(&mut self, client: &mut Self::State, _: &mut Conn<'_>) -> Action {
//!         *client = None;
//!         Action::Continue
//!     }
//! }
//! # let tls = TlsServer::builder().identity(mainspring_tls::Identity::pem(
//! #     include_str!("fuzz/certificate.pem"), include_str!("fuzz/key.pem")));
//! # let tls = tls.build()?;
//! # let server = mainspring_loop::Server::builder().start(move |shard| {
//! #     let host = shard.host(Mail { tls: tls.clone() });
//! #     shard.listen(host, "tcp://127.0.0.1:0").map(drop)
//! # })?;
//! # use std::io::{Read, Write};
//! # let mut client = std::net::TcpStream::connect(server.addrs()[0].to_string())?;
//! # client.write_all(b"EHLO me\r\nSTARTTLS\r\nEHLO injected\r\n")?;
//! # let mut answers = Vec::new();
//! # let _ = client.read_to_end(&mut answers);
//! # let plain = b"220 mail.example\r\n250-mail.example\r\n250 STARTTLS\r\n220 go ahead\r\n";
//! # assert_eq!(answers.strip_prefix(&plain[..]).unwrap(), [21, 3, 3, 0, 2, 2, 50], "an alert");
//! # drop(client);
//! # server.handle().stop();
//! # server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
