//! nginx (Debian's), one process that serves by itself. Heads are parsed, and it sends a date.
//!
//! This process becomes nginx, so that its number is the server's. nginx does not say when it
//! listens; a copy of this process that waits for that does.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::getppid;

use crate::listen::{Address, announce, refused};

/// Tells the copy where nginx will listen.
const ANNOUNCE: &str = "MAINSPRING_BENCH_ANNOUNCE";
/// nginx does not come any more.
const READY_MAX: Duration = Duration::from_secs(10);
/// The Debian package.
const PACKAGE: &str = "nginx-light";
/// Beside the descriptors of nginx itself, within the 20,000 that a process often may have.
const CONNECTIONS_MAX: usize = 19_900;

/// `Hello World!` for every request.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    if let Some(awaited) = std::env::var_os(ANNOUNCE) {
        let awaited = awaited.to_str().and_then(|text| text.parse().ok());
        announce_when_it_listens(name, awaited.ok_or_else(|| io::Error::other(ANNOUNCE))?)?;
        std::process::exit(0);
    }
    let Address::Tcp(socket) = address else { return Err(refused(address, "tcp")) };
    let program = program()?;
    // nginx knows no "any free port".
    let free = TcpListener::bind(socket)?.local_addr()?;
    let folder = std::env::temp_dir().join("mainspring-bench-nginx");
    std::fs::create_dir_all(&folder)?;
    // Not closed when this process becomes nginx, and gone with it.
    let mut config = File::from(memfd_create("nginx.conf", MemfdFlags::empty())?);
    config.write_all(configuration(&folder, free).as_bytes())?;
    Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(ANNOUNCE, free.to_string())
        .spawn()?;
    let error = Command::new(program)
        .arg("-p")
        .arg(&folder)
        .args(["-c", &format!("/proc/self/fd/{}", config.as_raw_fd())])
        .args(["-e", "stderr"])
        .exec();
    Err(error)
}

fn announce_when_it_listens(name: &str, address: SocketAddr) -> io::Result<()> {
    let (parent, begin) = (getppid(), Instant::now());
    while TcpStream::connect(address).is_err() {
        if getppid() != parent || begin.elapsed() > READY_MAX {
            return Err(io::Error::other("nginx does not listen"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    announce(name, &Address::Tcp(address))
}

/// Folders of system programs are often not in the path of a user.
fn program() -> io::Result<&'static Path> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::other(format!("nginx is not installed (Debian: {PACKAGE})")))
}

fn configuration(folder: &Path, listen: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{
    use epoll;
    worker_connections {CONNECTIONS_MAX};
    multi_accept on;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    tcp_nodelay on;
    client_header_buffer_size 64k;
    server {{
        listen {listen};
        location / {{
            default_type text/plain;
            return 200 "Hello World!";
        }}
    }}
}}
"#
    )
}
