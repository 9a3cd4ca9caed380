use std::time::Duration;

use super::AddressFault as Fault;
use super::*;
use crate::{Keepalive, Linger, SocketOptions};

fn parse(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn resolved(text: &str) -> String {
    let found = parse(text).resolve().unwrap();
    found.iter().map(Addr::to_string).collect::<Vec<_>>().join(" ")
}

/// Text, what `Display` makes of it, and what it stands for.
const GOOD: &[(&str, &str, &str)] = &[
    ("tcp://", "tcp://:0", "[::]:0"),
    ("tcp://:0", "tcp://:0", "[::]:0"),
    ("tcp://:5000", "tcp://:5000", "[::]:5000"),
    (":80", "tcp://:80", "[::]:80"),
    ("tcp4://:80", "tcp4://:80", "0.0.0.0:80"),
    ("tcp6://", "tcp6://:0", "[::]:0"),
    ("udp://:53", "udp://:53", "[::]:53"),
    ("udp4://", "udp4://:0", "0.0.0.0:0"),
    ("udp6://:53", "udp6://:53", "[::]:53"),
    ("tcp://[::1]:80", "tcp://[::1]:80", "[::1]:80"),
    ("[fe80::1%7]:80", "tcp://[fe80::1%7]:80", "[fe80::1%7]:80"),
    ("127.0.0.1:65535", "tcp://127.0.0.1:65535", "127.0.0.1:65535"),
    ("udp4://0.0.0.0:53", "udp4://0.0.0.0:53", "0.0.0.0:53"),
    ("UDP://127.0.0.1:1", "udp://127.0.0.1:1", "127.0.0.1:1"),
    ("unix:///run/x.sock", "unix:///run/x.sock", "/run/x.sock"),
    ("unix://socket", "unix://socket", "socket"),
    ("unix://a%23b%3fc%25", "unix://a%23b%3Fc%25", "a#b?c%"),
    ("unix://%40x", "unix://%40x", "@x"),
    ("unix://x@y z/ü", "unix://x@y z/ü", "x@y z/ü"),
    ("unix://a://b", "unix://a://b", "a://b"),
    ("tls://:443", "tls://:443", "[::]:443"),
    ("TLS://127.0.0.1:1?backlog=2", "tls://127.0.0.1:1?backlog=2", "127.0.0.1:1"),
    ("tls://:1?key=b&cert=a#listen", "tls://:1?cert=a&key=b#listen", "[::]:1"),
    ("tcp://:1#listen", "tcp://:1#listen", "[::]:1"),
    ("tcp4://:1?backlog=5#dial", "tcp4://:1?backlog=5#dial", "0.0.0.0:1"),
];

#[test]
fn good_addresses() {
    for &(text, shown, stands_for) in GOOD {
        let address = parse(text);
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!(parse(shown), address, "{text}");
        assert!(address.is_literal(), "{text}");
        assert_eq!(resolved(text), stands_for, "{text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names() {
    let address = parse("unix://@a%00@%ff?backlog=1");
    assert_eq!(address.to_string(), "unix://@a%00@%FF?backlog=1");
    let name = UnixAddr::Abstract(Arc::from(&b"a\0@\xff"[..]));
    assert_eq!(address.resolve().unwrap(), [Addr::Unix(name)]);
    assert_eq!(resolved("unix://@name"), "@name");
}

/// Text, the fault, the part that is wrong, and a word of the advice.
const BAD: &[(&str, Fault, &str, &str)] = &[
    ("", Fault::Empty, "", "host:port"),
    ("?backlog=1", Fault::Empty, "", "host:port"),
    ("tulip://", Fault::UnknownScheme, "tulip", "tcp, tcp4, tcp6, tls, udp, udp4, udp6, unix"),
    ("://:1", Fault::UnknownScheme, "", "udp6"),
    ("tcp-net://:1", Fault::PortableSuffix, "tcp-net", "DriverKind::Portable"),
    ("unix-net://s", Fault::PortableSuffix, "unix-net", "DriverKind::Portable"),
    ("tulip-net://s", Fault::UnknownScheme, "tulip-net", "udp6"),
    ("howdy", Fault::MissingPort, "", "host:port"),
    ("tcp://howdy", Fault::MissingPort, "", "host:port"),
    ("tcp://howdy:", Fault::MissingPort, "", "65535"),
    ("tcp://:", Fault::MissingPort, "", "65535"),
    ("[::1]", Fault::MissingPort, "", "[::1]:80"),
    ("[::1]80", Fault::MissingPort, "80", "[::1]:80"),
    (":65536", Fault::BadPort, "65536", "65535"),
    (":+80", Fault::BadPort, "+80", "65535"),
    (":http", Fault::BadPort, "http", "65535"),
    ("unix:@x", Fault::BadPort, "@x", "65535"),
    ("::1", Fault::Unbracketed, "::1", "[::1]:80"),
    ("a:b:c", Fault::BadHost, "a:b:c", "[ipv6]:port"),
    ("[::g]:1", Fault::BadHost, "::g", "[ipv6]:port"),
    ("[::1:1", Fault::BadHost, "[::1:1", "[ipv6]:port"),
    ("[fe80::1%eth0]:1", Fault::BadHost, "fe80::1%eth0", "number"),
    ("[127.0.0.1]:1", Fault::BadHost, "127.0.0.1", "ipv6"),
    ("256.0.0.1:1", Fault::BadHost, "256.0.0.1", "IPv4"),
    ("127.1:1", Fault::BadHost, "127.1", "IPv4"),
    ("*:80", Fault::BadHost, "*", "nothing for any"),
    ("me@there:80", Fault::BadHost, "me@there", "letters"),
    (" localhost:80", Fault::BadHost, " localhost", "letters"),
    ("tcp4://[::1]:1", Fault::WrongFamily, "[::1]:1", "both"),
    ("udp6://127.0.0.1:1", Fault::WrongFamily, "127.0.0.1:1", "both"),
    ("tcp://:80/", Fault::UnexpectedPath, "/", "unix://"),
    ("/run/x.sock", Fault::UnexpectedPath, "/run/x.sock", "unix://"),
    ("unix://", Fault::MissingPath, "", "unix://path"),
    ("unix://?backlog=1", Fault::MissingPath, "", "unix://path"),
    ("unix://a%0", Fault::BadEscape, "%", "%25"),
    ("unix://a%41%+1", Fault::BadEscape, "%", "%25"),
    ("unix://%ü", Fault::BadEscape, "%", "%25"),
    ("unix://a%00", Fault::ZeroByte, "a%00", "unix://path"),
    (":1?", Fault::MalformedOption, "", "option=value"),
    (":1?reuseport", Fault::MalformedOption, "reuseport", "option=value"),
    (":1?backlog=1&", Fault::MalformedOption, "", "option=value"),
    (":1?=1", Fault::UnknownOption, "", "backlog"),
    (":1?reuse=1", Fault::UnknownOption, "reuse", "reuseport"),
    (":1?Backlog=1", Fault::UnknownOption, "Backlog", "backlog"),
    (":1?backlog=1&backlog=1", Fault::RepeatedOption, "backlog=1", "once"),
    ("unix://s?reuseport=1", Fault::InapplicableOption, "reuseport", "unix takes backlog"),
    ("unix://s?ipv6only=1", Fault::InapplicableOption, "ipv6only", "unix takes backlog"),
    ("tcp4://:1?ipv6only=1", Fault::InapplicableOption, "ipv6only", "tcp4 takes"),
    ("udp://:1?nodelay=1", Fault::InapplicableOption, "nodelay", "udp takes reuseport"),
    ("udp://:1?backlog=1", Fault::InapplicableOption, "backlog", "gso, gro"),
    ("tcp://:1?gso=1", Fault::InapplicableOption, "gso", "tcp takes"),
    (":1?reuseport=", Fault::BadValue, "", "true, false"),
    (":1?reuseport=2", Fault::BadValue, "2", "true, false"),
    (":1?reuseport=1=1", Fault::BadValue, "1=1", "true, false"),
    (":1?backlog=0", Fault::BadValue, "0", "1 to 65535"),
    (":1?backlog=65536", Fault::BadValue, "65536", "1 to 65535"),
    (":1?backlog=-1", Fault::BadValue, "-1", "1 to 65535"),
    (":1?keepalive=1.5s", Fault::BadValue, "1.5s", "500ms"),
    (":1?keepalive=s", Fault::BadValue, "s", "500ms"),
    (":1?keepalive=10h", Fault::BadValue, "10h", "32767"),
    (":1?keepalive=9&keepalive_interval=0", Fault::BadValue, "0", "above 0"),
    (":1?keepalive=9&keepalive_count=128", Fault::BadValue, "128", "127"),
    (":1?keepalive_count=3", Fault::WithoutKeepalive, "keepalive_count=3", "keepalive="),
    (":1?keepalive_interval=3&keepalive=off", Fault::WithoutKeepalive, "keepalive_interval=3", "="),
    (":1?rcvbuf=0", Fault::BadValue, "0", "KiB"),
    (":1?rcvbuf=k", Fault::BadValue, "k", "KiB"),
    (":1?sndbuf=2048m", Fault::BadValue, "2048m", "2147483647"),
    (":1?sndbuf=99999999999999999999", Fault::BadValue, "99999999999999999999", "KiB"),
    (":1?linger=no", Fault::BadValue, "no", "off"),
    (":1?linger=18446744073709551615h", Fault::BadValue, "18446744073709551615h", "off"),
    (":1?cert=a", Fault::InapplicableOption, "cert", "tcp takes"),
    ("tls://:1?gso=1", Fault::InapplicableOption, "gso", "server_name"),
    ("tls://:1?cert=", Fault::BadValue, "", "PEM"),
    ("tls://:1?cert=a,,b", Fault::BadValue, "a,,b", "commas"),
    ("tls://:1?key=a%2", Fault::BadValue, "a%2", "%25"),
    ("tls://:1?ca=%ff", Fault::BadValue, "%ff", "PEM"),
    ("tls://:1?crl=%00", Fault::BadValue, "%00", "PEM"),
    ("tls://:1?client_auth=yes", Fault::BadValue, "yes", "none, optional, required"),
    ("tls://:1?cert=a&cert=b", Fault::RepeatedOption, "cert=b", "once"),
    (":1#", Fault::UnknownRole, "", "#listen, #dial"),
    (":1#Listen", Fault::UnknownRole, "Listen", "#listen, #dial"),
    (":1#dial?backlog=1", Fault::UnknownRole, "dial?backlog=1", "#listen, #dial"),
];

#[test]
fn bad_addresses() {
    for &(text, fault, part, advice) in BAD {
        let Err(error) = text.parse::<Address>() else { panic!("{text} is no address") };
        assert_eq!(error.fault(), fault, "{error}");
        assert_eq!(&text[error.position()], part, "{error}");
        assert_eq!(error.text(), text);
        let message = error.to_string();
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn a_message_names_the_text_the_part_and_the_remedy() {
    let error = "tulip://x".parse::<Address>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "address \"tulip://x\": unknown scheme \"tulip\" at byte 0; \
         allowed: tcp, tcp4, tcp6, tls, udp, udp4, udp6, unix"
    );
}

#[test]
fn options_of_tls_name_files_and_protocols() {
    let text = "tls://localhost:443?nodelay=false&cert=a.pem,/b%2C%25.pem&key=a.key,b.key&ca=ca.pem\
                &crl=gone.pem&client_auth=optional&alpn=h2,http/1.1&server_name=example.org#dial";
    let address = parse(text);
    let paths = |paths: &[&str]| paths.iter().map(std::path::PathBuf::from).collect::<Vec<_>>();
    let expected = TlsOptions {
        cert: paths(&["a.pem", "/b,%.pem"]),
        key: paths(&["a.key", "b.key"]),
        ca: paths(&["ca.pem"]),
        crl: paths(&["gone.pem"]),
        client_auth: Some(ClientAuth::Optional),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        server_name: Some("example.org".to_owned()),
    };
    assert_eq!(address.tls_options(), Some(&expected));
    assert_eq!(address.to_string(), text);
    assert_eq!(address.transport().to_string(), "tcp://localhost:443?nodelay=false#dial");
    assert_eq!(parse("tls://:1").tls_options(), Some(&TlsOptions::default()));
    assert_eq!(parse(":1").tls_options(), None);
    assert_eq!(parse("udp://:1").transport(), parse("udp://:1"));
}

#[test]
fn booleans_in_any_case() {
    for (value, on) in [("1", true), ("TRUE", true), ("yes", true), ("On", true)]
        .into_iter()
        .chain([("0", false), ("false", false), ("NO", false), ("off", false)])
    {
        let address = parse(&format!("udp://:1?reuseport={value}&ipv6only={value}&gro={value}"));
        let options = address.listen_options();
        assert_eq!((options.reuseport, options.ipv6only), (Some(on), Some(on)), "{value}");
        assert_eq!((options.gro, options.gso), (on, false), "{value}");
    }
}

#[test]
fn options_of_a_stream() {
    let text = "tcp://localhost:1?reuseport=0&backlog=65535&ipv6only=1&nodelay=no&keepalive=2m\
                &keepalive_interval=1500ms&keepalive_count=3&rcvbuf=64k&sndbuf=1M&linger=500ms";
    let address = parse(text);
    let keepalive = Keepalive {
        idle: Duration::from_secs(120),
        interval: Some(Duration::from_secs(2)),
        count: Some(3),
    };
    let expected = ListenOptions {
        reuseport: Some(false),
        backlog: Some(65_535),
        ipv6only: Some(true),
        socket: SocketOptions {
            nodelay: Some(false),
            keepalive: Some(keepalive),
            recv_buffer: Some(65_536),
            send_buffer: Some(1 << 20),
            linger: Some(Linger::For(Duration::from_secs(1))),
        },
        gso: false,
        gro: false,
    };
    assert_eq!(address.listen_options(), &expected);
    assert_eq!(parse(&address.to_string()), address);
    assert_eq!(parse(":1").listen_options(), &ListenOptions::default());
}

/// A keepalive below a second must not become none.
#[test]
fn keepalive_is_rounded_up_to_seconds() {
    let keepalive =
        |value: &str| parse(&format!(":1?keepalive={value}")).listen_options().socket.keepalive;
    for (value, seconds) in [("1ms", 1), ("999ms", 1), ("1001ms", 2), ("30", 30), ("30s", 30)] {
        let expected = Keepalive::after(Duration::from_secs(seconds));
        assert_eq!(keepalive(value), Some(expected), "{value}");
    }
    for off in ["0", "0s", "off", "OFF"] {
        assert_eq!(keepalive(off), None, "{off}");
    }
    let zero = Keepalive { interval: Some(Duration::ZERO), ..Keepalive::after(Duration::ZERO) };
    assert_eq!(zero.in_whole_seconds().idle, Duration::from_secs(1));
    assert_eq!(zero.in_whole_seconds().interval, Some(Duration::from_secs(1)));
}

#[test]
fn linger_zero_is_a_reset_and_off_is_none() {
    let linger = |value: &str| parse(&format!(":1?linger={value}")).listen_options().socket.linger;
    assert_eq!(linger("0"), Some(Linger::For(Duration::ZERO)));
    assert_eq!(linger("off"), Some(Linger::Off));
    assert_eq!(Linger::Off.time(), None);
    assert_eq!(Linger::For(Duration::from_millis(1)).time(), Some(Duration::from_secs(1)));
}

#[test]
fn names_are_looked_up_and_kept_to_the_family() {
    let address = parse("tcp4://localhost:5000");
    assert!(!address.is_literal());
    assert_eq!(resolved("tcp4://localhost:5000"), "127.0.0.1:5000");
    let both = parse("udp://localhost:1").resolve().unwrap();
    assert!(both.contains(&Addr::Inet("127.0.0.1:1".parse().unwrap())));
    for addr in parse("tcp6://localhost:1").resolve().unwrap_or_default() {
        assert!(matches!(addr, Addr::Inet(SocketAddr::V6(_))), "{addr}");
    }
}

#[test]
fn the_parts_can_be_asked() {
    let address = parse("udp6://example.org:53?gso=1#dial");
    assert_eq!(address.scheme(), Scheme::Udp6);
    assert_eq!(address.host().as_deref(), Some("example.org"));
    assert_eq!(address.port(), Some(53));
    assert_eq!(address.role(), Some(Role::Dial));
    assert!(address.is_datagram() && address.listen_options().gso);
    let address = parse("unix://x");
    assert_eq!((address.host(), address.port(), address.role()), (None, None, None));
    assert!(!address.is_datagram());
    assert_eq!(parse("[::1]:7").host().as_deref(), Some("::1"));
}

#[test]
fn made_from_values() {
    let at: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
    assert_eq!(Address::from(at), parse("[fe80::1%3]:80"));
    assert_eq!(Address::udp(at), parse("udp://[fe80::1%3]:80"));
    let with_flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 77, 0).into();
    assert_eq!(Address::tcp(with_flow), parse("[::1]:1"));
    assert_eq!(Address::try_from(":1"), Address::try_from(&":1".to_owned()));
    assert_eq!(Address::try_from(":1".to_owned()), Ok(parse("tcp://:1")));
    for path in ["/a b", "@x", "a%?#", "tcp://x", "\n", "ü@"] {
        let address = Address::unix(path);
        assert_eq!(parse(&address.to_string()), address);
        let Addr::Unix(UnixAddr::Path(kept)) = &address.resolve().unwrap()[0] else { panic!() };
        assert_eq!(&**kept, Path::new(path));
    }
}

#[test]
#[cfg(unix)]
fn a_path_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let address = Address::unix(std::ffi::OsStr::from_bytes(b"a\xff\xc3@"));
    assert_eq!(address.to_string(), "unix://a%FF%C3@");
    assert_eq!(parse(&address.to_string()), address);
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_the_system_gives() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let abstract_name = SocketAddr::from_abstract_name(b"spring").unwrap();
    assert_eq!(Addr::from(abstract_name).to_string(), "@spring");
    let path = SocketAddr::from_pathname("/x").unwrap();
    assert_eq!(Addr::from(path), Addr::Unix(UnixAddr::Path(Path::new("/x").into())));
    let unnamed = UnixDatagram::unbound().unwrap().local_addr().unwrap();
    assert_eq!(Addr::from(unnamed).to_string(), "(unnamed)");
}

/// Whatever the text, the parser answers; what it takes, it takes again from `Display`.
#[test]
fn random_text_never_panics_and_round_trips() {
    const PIECES: &[&str] = &[
        "tcp",
        "udp6",
        "unix",
        "-net",
        "://",
        "://",
        ":",
        "[",
        "]",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "?",
        "?",
        "&",
        "=",
        "#",
        "#dial",
        "%",
        "%4",
        "%40",
        "%ff",
        "/",
        "@",
        "reuseport=yes",
        "backlog=7",
        "gso=1",
        "keepalive=",
        "keepalive_count=2",
        "linger=",
        "rcvbuf=",
        "9",
        "0",
        "65535",
        "3k",
        "m",
        "s",
        "ms",
        "off",
        "ü",
        "\0",
        " ",
        "-",
    ];
    let mut accepted = 0;
    for seed in 0..60_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut text = if rng.bool() {
            (0..rng.usize(0..9)).map(|_| PIECES[rng.usize(0..PIECES.len())]).collect()
        } else {
            plausible(&mut rng)
        };
        if rng.bool() {
            let at = rng.usize(0..=text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, PIECES[rng.usize(0..PIECES.len())]);
            }
        }
        match text.parse::<Address>() {
            Ok(address) => {
                accepted += 1;
                let shown = address.to_string();
                assert_eq!(
                    shown.parse().as_ref(),
                    Ok(&address),
                    "seed {seed}: {text:?}, {shown:?}"
                );
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("; "), "seed {seed}: {message}");
                assert!(text.get(error.position()).is_some(), "seed {seed}: {message}");
            }
        }
    }
    assert!(accepted > 5_000, "only {accepted} were addresses");
}

/// One of the good places with some options, of which not all need to fit.
fn plausible(rng: &mut fastrand::Rng) -> String {
    const PAIRS: &[&str] = &[
        "reuseport=yes",
        "backlog=77",
        "ipv6only=off",
        "nodelay=0",
        "keepalive=1ms",
        "keepalive_interval=2h",
        "keepalive_count=9",
        "rcvbuf=3k",
        "sndbuf=1m",
        "linger=0",
        "linger=off",
        "gso=on",
        "gro=1",
        "cert=a,b%2C%25",
        "client_auth=none",
        "alpn=h2",
    ];
    let place = GOOD[rng.usize(0..GOOD.len())].0.split(['?', '#']).next().unwrap_or_default();
    let mut text = place.to_owned();
    let options = rng.usize(0..4);
    for (index, pair) in rng.choose_multiple(PAIRS, options).into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(pair);
    }
    text.push_str(["", "", "#listen", "#dial"][rng.usize(0..4)]);
    text
}
