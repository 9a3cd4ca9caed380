//! std only: a thread per connection that blocks, as evio's `net-echo-server` and `net-http-server`
//! have a goroutine.

use std::io::{self, Read, Write};

use crate::floor::http::heads;
use crate::listen::{Address, Listener, bind_tcp};
use crate::{BUFFER_SIZE, HTTP_REPLY};

/// The same bytes back.
pub(crate) fn echo(name: &str, address: &Address) -> io::Result<()> {
    match Listener::bind(name, address)? {
        Listener::Tcp(listener) => loop {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            std::thread::spawn(move || echo_all(stream));
        },
        Listener::Unix(listener) => loop {
            let (stream, _) = listener.accept()?;
            std::thread::spawn(move || echo_all(stream));
        },
    }
}

/// A fixed reply to each head.
pub(crate) fn http(name: &str, address: &Address) -> io::Result<()> {
    let listener = bind_tcp(name, address)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        std::thread::spawn(move || -> io::Result<()> {
            let mut buffer = vec![0; BUFFER_SIZE];
            let mut seen = 0;
            loop {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                match heads(&mut seen, &buffer[..length]) {
                    0 => {}
                    1 => stream.write_all(HTTP_REPLY)?,
                    count => stream.write_all(&HTTP_REPLY.repeat(count))?,
                }
            }
        });
    }
}

fn echo_all(mut stream: impl Read + Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}
