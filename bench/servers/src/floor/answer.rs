//! What a floor says to received bytes, whatever brings them.

/// The reply to received bytes.
pub(super) trait Answer {
    /// What is remembered of a connection.
    type State: Default;

    /// Answers `input`. `out` is empty and takes a reply that is made.
    fn answer(&mut self, state: &mut Self::State, input: &[u8], out: &mut Vec<u8>) -> Reply;
}

/// Where the bytes of a reply lie; it may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The reply is what came.
    Input,
    Constant(&'static [u8]),
    /// In what was lent for it.
    Out,
}

/// The same bytes back.
pub(super) struct Echo;

impl Answer for Echo {
    type State = ();

    fn answer(&mut self, _state: &mut (), _input: &[u8], _out: &mut Vec<u8>) -> Reply {
        Reply::Input
    }
}
