//! Errors of sockets that std has no kind for, by the numbers of the system.

#[cfg(unix)]
use libc::{
    EACCES, EAFNOSUPPORT, EHOSTDOWN, EMSGSIZE, ENETDOWN, ENETRESET, ENOBUFS, ENOMEM, ENOPROTOOPT,
    EPERM, EPROTO,
};
use std::io;

/// The system has no memory for the call; nothing tells when it has.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(ENOBUFS | ENOMEM));
    #[cfg(windows)]
    return matches!(error.raw_os_error(), Some(winsock::ENOBUFS));
}

/// The system does not know the family of the address.
pub(crate) fn is_unknown_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(EAFNOSUPPORT);
    #[cfg(windows)]
    return error.raw_os_error() == Some(winsock::EAFNOSUPPORT);
}

/// An earlier datagram met this on its way, or one was lost: the socket is well.
pub(crate) fn is_of_one_datagram(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(
        error.raw_os_error(),
        Some(ENETDOWN | ENETRESET | EHOSTDOWN | EPROTO | ENOPROTOOPT | EMSGSIZE | EPERM | EACCES)
    );
    #[cfg(windows)]
    return matches!(
        error.raw_os_error(),
        Some(winsock::ENETDOWN | winsock::ENETRESET | winsock::EMSGSIZE)
    );
}

/// Windows Sockets Error Codes, in Microsoft's documentation of Winsock; there each begins with `WSA`.
#[cfg(windows)]
mod winsock {
    pub(super) const EMSGSIZE: i32 = 10040;
    pub(super) const EAFNOSUPPORT: i32 = 10047;
    pub(super) const ENETDOWN: i32 = 10050;
    /// The time to live of a datagram was over.
    pub(super) const ENETRESET: i32 = 10052;
    pub(super) const ENOBUFS: i32 = 10055;
}
