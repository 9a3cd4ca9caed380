//! libuv (Debian's), one loop: the server is `libuv/echo.c`, which `build.rs` compiles.
#![cfg_attr(has_libuv, expect(unsafe_code, reason = "the peer is a C library"))]

use std::io;

use crate::listen::Address;

/// The same bytes back.
#[cfg(has_libuv)]
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    use std::ffi::{CStr, c_char, c_int};
    use std::os::fd::IntoRawFd as _;

    use crate::listen::Listener;

    // SAFETY: both are defined in libuv/echo.c with these types.
    unsafe extern "C" {
        fn bench_libuv_echo(socket: c_int, is_tcp: c_int) -> c_int;
        fn bench_libuv_version() -> *const c_char;
    }

    let (socket, is_tcp) = match Listener::bind(name, address)? {
        Listener::Tcp(listener) => (listener.into_raw_fd(), 1),
        Listener::Unix(listener) => (listener.into_raw_fd(), 0),
    };
    // SAFETY: the socket is open, of the kind that is said, and owned by the callee from now on.
    let error = unsafe { bench_libuv_echo(socket, is_tcp) };
    // SAFETY: a constant string that ends in a zero.
    let version = unsafe { CStr::from_ptr(bench_libuv_version()) };
    Err(io::Error::other(format!("libuv {} returned {error}", version.to_string_lossy())))
}

/// There is none.
#[cfg(not(has_libuv))]
pub(crate) fn serve(_name: &str, _address: &Address) -> io::Result<()> {
    Err(io::Error::other("built without libuv (Debian: libuv1-dev)"))
}
