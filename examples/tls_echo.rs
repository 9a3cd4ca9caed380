//! Every byte goes back to where it came from, over TLS; certificates are read again when they
//! change.
//!
//! ```text
//! $ cargo run --example tls_echo
//! $ openssl s_client -connect 127.0.0.1:5443 -CAfile examples/tls/certificate.pem
//!
//! $ cargo run --example tls_echo -- 'tls://:5443?cert=cert.pem&key=key.pem&alpn=echo'
//! ```
//!
//! Without addresses it shows the certificate of this folder, whose key everybody knows.
#![forbid(unsafe_code)]

use mainspring::tls::{Identity, TlsServer, tls_info};
use mainspring::{Action, Conn, Error, Handler, Input, Loops, Opened, Server};
use std::process::ExitCode;

const CERTIFICATE: &str = include_str!("tls/certificate.pem");
const KEY: &str = include_str!("tls/key.pem");

/// Greets with what was agreed on, and echoes.
pub struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        let greeting = match tls_info(conn) {
            Some(tls) => format!("{}, {}\r\n", tls.version(), tls.cipher_suite()),
            None => "no TLS\r\n".to_owned(),
        };
        conn.out().extend_from_slice(greeting.as_bytes());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let known = TlsServer::builder().identity(Identity::pem(CERTIFICATE, KEY)).build();
    let known = known.expect("the certificate of this folder is good");
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| {
        let host = shard.host(Echo);
        if addresses.is_empty() {
            known.listen(shard, host, "tls://127.0.0.1:5443")?;
        }
        for address in &addresses {
            mainspring::tls::listen(shard, host, address)?;
        }
        Ok(())
    })?;
    for addr in running.addrs() {
        println!("tls_echo: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    match serve(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
