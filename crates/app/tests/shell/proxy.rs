//! PROXY headers in and out: against each other in simulation, against curl and nginx over sockets.

use crate::stage::{
    Folder, Nginx, OWN_FOLDERS, PATIENCE, TCP, connect, curled, eventually, eventually_sim, inet,
    say, simulated_over, start, stop,
};
use mainspring_app::guard::{Guard, GuardLimits, NetworkSet, Refusal};
use mainspring_app::proxy::{Inbound, Outbound, ProxyInfo, Tlv, Version};
use mainspring_io::{Addr, Address, UnixAddr};
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Error, Handler, HostId, Input, Layers, Limits, Opened,
    Running, Server, ServerInfo, Shard,
};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_testkit::SimServer;
use mainspring_tls::tls_info;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers each request of HTTP, or line, with what it knows of the connection, and closes.
#[derive(Clone, Default)]
struct WhoAmI {
    closes: Arc<Mutex<Vec<CloseReason>>>,
}

impl Handler for WhoAmI {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let bytes = input.bytes();
        let is_http = bytes.starts_with(b"GET ");
        let end = if is_http { &b"\r\n\r\n"[..] } else { b"\n" };
        if !bytes.ends_with(end) {
            return Action::Continue;
        }
        let said = String::from_utf8_lossy(input.take()).trim_end().to_owned();
        let body = format!("{}\n", known(conn, &said));
        if is_http {
            let head = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            conn.out().extend_from_slice(head.as_bytes());
        }
        conn.out().extend_from_slice(body.as_bytes());
        Action::Close
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.closes.lock().unwrap().push(reason);
    }
}

/// Ends, version, values, and what was said.
fn known(conn: &Conn<'_>, said: &str) -> String {
    let (peer, local) = (conn.peer(), conn.local());
    let header = match conn.layer_info::<ProxyInfo>() {
        None => "no header".to_owned(),
        Some(info) => {
            let tlvs = info.tlvs();
            let authority = tlvs.authority().map(String::from_utf8_lossy).unwrap_or_default();
            let client = info.client().map_or_else(|| "nobody".to_owned(), Addr::to_string);
            format!("{} for {client} {authority}", info.version())
        }
    };
    let said = if said.starts_with("GET ") { "" } else { said };
    let tls = tls_info(conn).map_or_else(String::new, |info| format!("{} ", info.version()));
    format!("{peer}|{local}|{header}|{tls}{said}")
}

fn everybody() -> NetworkSet {
    NetworkSet::everything()
}

fn setup(
    shard: &mut Shard<'_>,
    handler: WhoAmI,
    address: &str,
    layers: impl FnMut() -> Layers + 'static,
) -> Result<(HostId<WhoAmI>, Addr), Error> {
    let host = shard.host(handler);
    let address: Address = address.parse()?;
    let options = address.listen_options().clone();
    Ok((host, shard.listen_layered(host, &address, &options, layers)?))
}

pub(crate) fn served(layers: impl Fn() -> Layers + Clone + Send + Sync + 'static) -> Running {
    start(Server::builder(), move |shard| {
        setup(shard, WhoAmI::default(), TCP, layers.clone()).map(drop)
    })
}

/// What a client gets that says `bytes`.
fn answer(running: &Running, bytes: &[u8]) -> String {
    let mut stream = connect(inet(&running.addrs()[0]));
    stream.write_all(bytes).expect("it reads");
    let mut said = String::new();
    // A refusal may come as a reset.
    let _ = stream.read_to_string(&mut said);
    said
}

#[test]
fn curl_speaks_for_itself() {
    let inbound = Inbound::required(everybody());
    let running = served(move || Layers::new().above(inbound.layer()));
    let url = format!("http://{}/", running.addrs()[0]);
    let said = curled(&["--haproxy-protocol", "--write-out", "%{local_port}", &url]);
    let (line, port) = said.split_once('\n').expect("a line and a port");
    let client = format!("127.0.0.1:{port}");
    let addr = &running.addrs()[0];
    let wanted = format!("{client}|{addr}|PROXY protocol version 1 for {client} |");
    assert_eq!(line, wanted);
    stop(running);
}

#[test]
fn nginx_in_front_says_who_its_client_is() {
    let inbound = Inbound::required("127.0.0.1".parse().unwrap());
    let running = served(move || Layers::new().above(inbound.layer()));
    let folder = Folder::new("nginx-front");
    let upstream = &running.addrs()[0];
    let nginx = Nginx::start(&folder, |port| {
        format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
             stream {{
                 server {{
                     listen 127.0.0.1:{port};
                     proxy_pass {upstream};
                     proxy_protocol on;
                 }}
             }}"
        )
    });
    let url = format!("http://{}/", nginx.addr);
    let said = curled(&["--write-out", "%{local_port}", &url]);
    let (line, port) = said.split_once('\n').expect("a line and a port");
    let client = format!("127.0.0.1:{port}");
    let addr = nginx.addr;
    let wanted = format!("{client}|{addr}|PROXY protocol version 1 for {client} |");
    assert_eq!(line, wanted, "not nginx' own end");
    stop(running);
}

/// Dials with a header in front, sends a request, and keeps the answer.
struct Dialler {
    to: Address,
    layers: Box<dyn Fn() -> Layers + Send>,
    request: &'static [u8],
    got: Arc<Mutex<Vec<u8>>>,
    closes: Arc<Mutex<Vec<CloseReason>>>,
}

impl Handler for Dialler {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        let this = cx.this::<Self>();
        cx.connect_layered(this, &self.to, (), (self.layers)()).expect("there is room");
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_connected(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        conn.out().extend_from_slice(self.request);
        Action::Continue
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        self.got.lock().unwrap().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.closes.lock().unwrap().push(reason);
    }
}

#[test]
fn nginx_behind_is_told_who_the_client_is() {
    let folder = Folder::new("nginx-behind");
    let nginx = Nginx::start(&folder, |port| {
        format!(
            "http {{
                 access_log off; {OWN_FOLDERS}
                 server {{
                     listen 127.0.0.1:{port} proxy_protocol;
                     location / {{
                         return 200 \"$proxy_protocol_addr $proxy_protocol_port \
                                      $proxy_protocol_server_addr $proxy_protocol_server_port\";
                     }}
                 }}
             }}"
        )
    });
    let inet = |text: &str| Addr::Inet(text.parse().unwrap());
    for version in [Version::One, Version::Two] {
        for (header, wanted) in [
            (
                Outbound::for_client(version, inet("192.0.2.7:4711"), inet("198.51.100.1:443")),
                "192.0.2.7 4711 198.51.100.1 443".to_owned(),
            ),
            (
                Outbound::for_client(version, inet("[2001:db8::7]:4711"), inet("[::1]:443"))
                    .tlv(Tlv::AUTHORITY, b"example.org")
                    .with_checksum(),
                "2001:db8::7 4711 ::1 443".to_owned(),
            ),
            (Outbound::for_itself(version), format!("127.0.0.1 - 127.0.0.1 {}", nginx.addr.port())),
        ] {
            let got = dialled(&nginx.addr.to_string(), &header);
            let body = got.split_once("\r\n\r\n").expect(&got).1;
            let mut words: Vec<&str> = body.split(' ').collect();
            if wanted.contains('-') {
                words[1] = "-";
            }
            assert_eq!(words.join(" "), wanted, "{version} {got}");
        }
    }
}

/// What `GET /` gets from there behind a header.
fn dialled(to: &str, header: &Outbound) -> String {
    let header = header.clone();
    dialled_through(to, move || Layers::new().above(header.layer()))
}

/// What `GET /` gets from there through layers.
pub(crate) fn dialled_through(
    to: &str,
    layers: impl Fn() -> Layers + Clone + Send + Sync + 'static,
) -> String {
    let (got, closes) = (Arc::default(), Arc::<Mutex<Vec<CloseReason>>>::default());
    let to = to.to_owned();
    let (keep, end): (Arc<Mutex<Vec<u8>>>, _) = (Arc::clone(&got), closes.clone());
    let running = start(Server::builder(), move |shard| {
        shard.host(Dialler {
            to: format!("tcp://{to}").parse()?,
            layers: Box::new(layers.clone()),
            request: b"GET / HTTP/1.0\r\n\r\n",
            got: keep.clone(),
            closes: end.clone(),
        });
        Ok(())
    });
    eventually("an end", || !closes.lock().unwrap().is_empty());
    stop(running);
    let got = got.lock().unwrap().clone();
    String::from_utf8(got).expect("text")
}

#[test]
fn only_trusted_peers_are_listened_to() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n";
    let line = |header: &[u8]| [header, b"hello\n"].concat();
    for (trusted, takes) in [("127.0.0.1", true), ("10.0.0.0/8", false)] {
        let inbound = Inbound::required(trusted.parse().unwrap());
        let running = served(move || Layers::new().above(inbound.layer()));
        let said = answer(&running, &line(header));
        if takes {
            assert!(said.starts_with("192.0.2.7:1|198.51.100.1:2|PROXY"), "{said}");
            assert_eq!(answer(&running, &line(b"")), "", "one is required");
        } else {
            assert_eq!(said, "");
        }
        let wanted = (u64::from(takes), u64::from(!takes));
        eventually("counted", || {
            let total = running.handle().stats().total;
            (total.accepted, total.refused) == wanted && total.handshakes_failed == wanted.0
        });
        stop(running);
        let inbound = Inbound::optional(trusted.parse().unwrap());
        let running = served(move || Layers::new().above(inbound.layer()));
        let said = answer(&running, &line(b""));
        assert!(said.starts_with("127.0.0.1:") && said.ends_with("|no header|hello\n"), "{said}");
        let said = answer(&running, &line(header));
        let as_data = "|no header|PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nhello\n";
        assert_eq!(said.ends_with(as_data), !takes, "{said}");
        assert_eq!(said.starts_with("192.0.2.7:1|"), takes, "{said}");
        stop(running);
    }
}

#[test]
fn a_guard_above_judges_the_client_and_one_below_the_proxy() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nhello\n";
    for (deny, above, below) in [("192.0.2.0/24", 1, 0), ("127.0.0.0/8", 0, 1), ("::/0", 0, 0)] {
        let limits = GuardLimits { deny: deny.parse().unwrap(), ..GuardLimits::default() };
        for (is_above, refused) in [(true, above), (false, below)] {
            let guard = Guard::new(limits.clone());
            let (inbound, judge) = (Inbound::required(everybody()), guard.clone());
            let running = served(move || match is_above {
                true => Layers::new().above(inbound.layer()).above(judge.layer()),
                false => Layers::new().above(judge.layer()).above(inbound.layer()),
            });
            let said = answer(&running, header);
            assert_eq!(said.is_empty(), refused == 1, "{deny} {is_above}: {said}");
            assert_eq!(guard.stats().refused(Refusal::Denied), refused);
            eventually("the permit is back", || guard.stats().open == 0);
            eventually("counted", || running.handle().stats().total.refused == refused);
            stop(running);
        }
    }
}

#[test]
fn a_header_that_does_not_come_or_is_none_ends_the_connection() {
    let handshake_timeout = Duration::from_secs(3);
    let limits = Limits { handshake_timeout, ..Limits::default() };
    let world = World::new(3, WorldOptions::default());
    let inbound = Inbound::required(everybody());
    let builder = Server::builder().limits(limits).seed(3);
    let handler = WhoAmI::default();
    let mut server = SimServer::start(&world, 1, builder, |shard| {
        let inbound = inbound.clone();
        setup(shard, handler.clone(), TCP, move || Layers::new().above(inbound.layer())).map(drop)
    })
    .expect("the server starts");
    let addr = server.addr(0);
    let handle = server.handle().clone();
    for (nth, bytes) in
        [&b""[..], b"PROXY TCP4 192.0", b"\r\n\r\n\0\r\nQUIT\n\x21"].iter().enumerate()
    {
        let mut silent = world.connect(&addr).expect("it listens");
        say(&mut server, &mut silent, bytes);
        let began = world.elapsed();
        assert_eq!(end(&mut server, &mut silent), "");
        let took = world.elapsed() - began;
        assert!((handshake_timeout..2 * handshake_timeout).contains(&took), "{nth}: {took:?}");
        eventually_sim(&mut server, PATIENCE, || {
            handle.stats().total.handshakes_failed == nth as u64 + 1
        });
    }
    for (nth, bytes) in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY UNKNOWN ", b"PROXY TCP5 \r\n"].iter().enumerate()
    {
        let mut wrong = world.connect(&addr).expect("it listens");
        say(&mut server, &mut wrong, bytes);
        wrong.shutdown_write();
        let began = world.elapsed();
        assert_eq!(end(&mut server, &mut wrong), "");
        assert!(world.elapsed() - began < handshake_timeout, "{nth}");
        eventually_sim(&mut server, PATIENCE, || {
            handle.stats().total.handshakes_failed == nth as u64 + 4
        });
    }
    assert_eq!(handle.stats().total.accepted, 0);
    assert!(handler.closes.lock().unwrap().is_empty(), "no handler heard of them");
}

/// As [`rest`], where the end may be a reset.
fn end(server: &mut SimServer, peer: &mut SimPeer) -> String {
    let mut got = Vec::new();
    eventually_sim(server, PATIENCE, || {
        got.extend(peer.take_received());
        peer.eof() || peer.reset_seen()
    });
    String::from_utf8(got).expect("text")
}

/// Both layers against each other, cut wherever the network cuts.
#[test]
fn what_goes_out_comes_in_under_faults() {
    let inet = |text: &str| Addr::Inet(text.parse().unwrap());
    let path = |text: &str| Addr::Unix(UnixAddr::Path(Arc::from(Path::new(text))));
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let version = if rng.bool() { Version::One } else { Version::Two };
        let (client, destination) = match rng.u8(0..3) {
            0 => (inet("192.0.2.7:4711"), inet("198.51.100.1:443")),
            1 => (inet("[2001:db8::7]:1"), inet("[2001:db8::8]:65535")),
            _ if version == Version::Two => (path("/run/client.sock"), path("/run/server.sock")),
            _ => (inet("192.0.2.8:1"), inet("192.0.2.9:2")),
        };
        let name = "n".repeat(rng.usize(0..300));
        let mut header = Outbound::for_client(version, client.clone(), destination.clone());
        if version == Version::Two {
            header = header.tlv(Tlv::AUTHORITY, name.as_bytes()).with_checksum();
        }
        let mut faults = Faults::all(seed);
        (faults.reset, faults.half_close) = (0.0, 0.0);
        (faults.connect_failure, faults.clock_jump) = (0.0, 0.0);
        let got: Arc<Mutex<Vec<u8>>> = Arc::default();
        let keep = got.clone();
        let closes: Arc<Mutex<Vec<CloseReason>>> = Arc::default();
        let end = closes.clone();
        let mut server = simulated_over(seed, faults, move |shard| {
            let inbound = Inbound::required(everybody());
            let layers = move || Layers::new().above(inbound.layer());
            let (_, addr) = setup(shard, WhoAmI::default(), "tcp://127.0.0.1:7000", layers)?;
            let header = header.clone();
            shard.host(Dialler {
                to: format!("tcp://{addr}").parse()?,
                layers: Box::new(move || Layers::new().above(header.layer())),
                request: b"hello\n",
                got: keep.clone(),
                closes: end.clone(),
            });
            Ok(())
        });
        eventually_sim(&mut server, 60 * PATIENCE, || !closes.lock().unwrap().is_empty());
        let name = if version == Version::Two { name } else { String::new() };
        let wanted = format!("{client}|{destination}|{version} for {client} {name}|hello\n");
        let got = String::from_utf8(got.lock().unwrap().clone()).unwrap();
        assert_eq!(got, wanted, "seed {seed}");
    }
}

#[test]
fn checks_of_health_keep_the_ends_of_the_socket() {
    let inbound = Inbound::required(everybody());
    let running = served(move || Layers::new().above(inbound.layer()));
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello\n";
    for header in [&local[..], b"PROXY UNKNOWN\r\nhello\n"] {
        let said = answer(&running, header);
        assert!(said.starts_with("127.0.0.1:") && said.contains(" for nobody |hello"), "{said}");
    }
    let to = running.addrs()[0].to_string();
    for (version, known) in [(Version::One, "nobody"), (Version::Two, "nobody")] {
        let said = dialled(&to, &Outbound::local(version));
        assert!(said.contains(&format!("{version} for {known} |")), "{said}");
    }
    stop(running);
}
