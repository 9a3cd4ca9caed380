//! TLS between a connection and its handler.

use crate::engine::{Engine, Output, Progress};
use crate::{TlsInfo, TlsVersion, reason};
use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use rustls_pki_types::ServerName;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// TLS on one connection, made by [`TlsServer::layer`](crate::TlsServer::layer) or
/// [`TlsClient::layer`](crate::TlsClient::layer).
///
/// The handshake has to be over within
/// [`Limits::handshake_timeout`](mainspring_loop::Limits::handshake_timeout). A peer's
/// `close_notify` ends its stream and not ours; a stream that ends without one is a fault, because
/// somebody may have cut it short. A peer that breaks the rules, or whose certificate is refused, is
/// told by an alert and the connection closed with the reason.
pub struct TlsLayer {
    stage: Stage,
    info: Option<TlsInfo>,
    /// On the dialling side, whom the certificate has to be for.
    dialled: Option<Box<str>>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the loop boxes a layer; it is running for nearly all its life"
)]
enum Stage {
    /// Nothing has been said.
    Accepting(Arc<ServerConfig>),
    Dialling(Arc<ClientConfig>, ServerName<'static>),
    Running {
        engine: Engine,
        progress: Progress,
    },
    /// It is over; an error stays the same for ever.
    Failed(&'static LayerFault),
}

impl TlsLayer {
    pub(crate) fn accepting(config: Arc<ServerConfig>) -> Self {
        Self { stage: Stage::Accepting(config), info: None, dialled: None }
    }

    pub(crate) fn dialling(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let dialled = Some(name.to_str().into());
        Self { stage: Stage::Dialling(config, name), info: None, dialled }
    }

    /// Makes the connection of rustls, when there is a peer for it.
    fn run(&mut self) -> Result<(), &'static LayerFault> {
        let engine = match std::mem::replace(&mut self.stage, Stage::Failed(reason::not_open())) {
            Stage::Accepting(config) => Engine::server(config),
            Stage::Dialling(config, name) => Engine::client(config, name),
            running @ Stage::Running { .. } => {
                self.stage = running;
                return Ok(());
            }
            Stage::Failed(fault) => {
                self.stage = Stage::Failed(fault);
                return Err(fault);
            }
        };
        let engine = engine.map_err(|error| self.fail(&error))?;
        self.stage = Stage::Running { engine, progress: Progress::Handshake };
        Ok(())
    }

    fn fail(&mut self, error: &rustls::Error) -> &'static LayerFault {
        let fault = reason::of(error);
        self.stage = Stage::Failed(fault);
        fault
    }

    fn process(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        let Stage::Running { engine, progress } = &mut self.stage else {
            return Err(self.fault());
        };
        let plain_max = io.plain.len() + io.room();
        let mut output = Output { plain: &mut *io.plain, plain_max, wire: &mut *io.wire };
        match engine.process(input, &mut output) {
            Ok(now) => {
                *progress = now;
                if now != Progress::Handshake && self.info.is_none() {
                    self.info = info(engine, self.dialled.take());
                }
                Ok(match now {
                    Progress::Handshake => LayerState::Handshake,
                    Progress::Open => LayerState::Open,
                    Progress::PeerEnded => LayerState::Ended,
                })
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn fault(&self) -> &'static LayerFault {
        match self.stage {
            Stage::Failed(fault) => fault,
            _ => reason::not_open(),
        }
    }
}

impl Layer for TlsLayer {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        self.run()?;
        // A client speaks first.
        self.process(&mut Input::over(&mut []), io)
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        self.process(input, io)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        match &mut self.stage {
            Stage::Running { engine, .. } => {
                engine.encrypt(plain, wire).map_err(|error| self.fail(&error))
            }
            _ => Err(self.fault()),
        }
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        match self.stage {
            Stage::Running { progress: Progress::PeerEnded, .. } => Ok(()),
            Stage::Failed(fault) => Err(fault),
            _ => Err(reason::truncated()),
        }
    }

    fn finish(&mut self, wire: &mut Vec<u8>) {
        if let Stage::Running { engine, .. } = &mut self.stage {
            engine.close(wire);
        }
    }

    fn info(&self) -> Option<&dyn Any> {
        self.info.as_ref().map(|info| info as &dyn Any)
    }
}

/// What is known of the connection, without keys.
impl fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLayer").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What the handshake, which is over, has agreed on.
fn info(engine: &Engine, dialled: Option<Box<str>>) -> Option<TlsInfo> {
    let common = engine.common();
    Some(TlsInfo {
        version: TlsVersion::of(common.protocol_version()?)?,
        cipher_suite: common.negotiated_cipher_suite()?.suite().as_str().unwrap_or("unknown"),
        server_name: dialled.or_else(|| engine.server_name().map(Box::from)),
        alpn: common.alpn_protocol().map(Box::from),
        peer_certificates: common.peer_certificates().unwrap_or_default().to_vec(),
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
    })
}
