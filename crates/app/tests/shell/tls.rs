//! PROXY headers and guards in front of TLS.

use crate::proxy::{dialled_through, served};
use crate::stage::{Folder, Nginx, OWN_FOLDERS, curl, curled, eventually, stop};
use mainspring_app::guard::{Guard, GuardLimits, NetworkSet, Refusal};
use mainspring_app::proxy::{Inbound, Outbound, Version};
use mainspring_io::Addr;
use mainspring_loop::Layers;
use mainspring_tls::{Identity, Roots, TlsClient, TlsServer};

/// A certificate for `localhost` that vouches for itself, and its key.
struct Certificate {
    cert: String,
    key: String,
}

impl Certificate {
    fn new(folder: &Folder) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let write = |name: &str, text: String| folder.write(name, &text);
        let cert = write("cert.pem", made.cert.pem());
        Self { cert, key: write("key.pem", made.signing_key.serialize_pem()) }
    }

    fn server(&self) -> TlsServer {
        let identity = Identity::files(&self.cert, &self.key);
        TlsServer::builder().identity(identity).build().unwrap()
    }
}

/// Arguments for a request over TLS behind a header.
fn request<'a>(cert: &'a str, resolve: &'a str, url: &'a str) -> [&'a str; 8] {
    let to = ["--haproxy-protocol", "--cacert", cert, "--resolve", resolve];
    let [a, b, c, d, e] = to;
    [a, b, c, d, e, "--write-out", "%{local_port}", url]
}

#[test]
fn curl_says_who_it_is_in_front_of_tls_and_a_guard_hears_it_first() {
    let folder = Folder::new("tls-in");
    let certificate = Certificate::new(&folder);
    for (deny, is_served) in [("192.0.2.0/24", true), ("127.0.0.0/8", false)] {
        let limits = GuardLimits { deny: deny.parse().unwrap(), ..GuardLimits::default() };
        let guard = Guard::new(limits);
        let (inbound, judge) = (Inbound::required(NetworkSet::everything()), guard.clone());
        let tls = certificate.server();
        let running = served(move || {
            Layers::new().above(inbound.layer()).above(judge.layer()).above(tls.layer())
        });
        let port = running.addrs()[0].to_string().rsplit_once(':').unwrap().1.to_owned();
        let resolve = format!("localhost:{port}:127.0.0.1");
        let url = format!("https://localhost:{port}/");
        let arguments = request(&certificate.cert, &resolve, &url);
        let handle = running.handle();
        if is_served {
            let said = curled(&arguments);
            let (line, own) = said.split_once('\n').expect("a line and a port");
            let client = format!("127.0.0.1:{own}");
            let header = format!("PROXY protocol version 1 for {client} ");
            assert_eq!(line, format!("{client}|127.0.0.1:{port}|{header}|TLS 1.3 "));
        } else {
            assert!(!curl(&arguments).status.success());
            assert_eq!(guard.stats().refused(Refusal::Denied), 1);
            eventually("refused, and no handshake that failed", || {
                let total = handle.stats().total;
                (total.refused, total.handshakes_failed, total.accepted) == (1, 0, 0)
            });
        }
        stop(running);
    }
}

#[test]
fn nginx_behind_takes_the_header_in_front_of_tls() {
    let folder = Folder::new("tls-out");
    let Certificate { cert, key } = Certificate::new(&folder);
    let nginx = Nginx::start(&folder, |port| {
        format!(
            "http {{
                 access_log off; {OWN_FOLDERS}
                 server {{
                     listen 127.0.0.1:{port} ssl proxy_protocol;
                     ssl_certificate {cert};
                     ssl_certificate_key {key};
                     ssl_protocols TLSv1.3;
                     location / {{
                         return 200 \"$proxy_protocol_addr $proxy_protocol_port $ssl_protocol\";
                     }}
                 }}
             }}"
        )
    });
    let client = TlsClient::builder().roots(Roots::new().file(&cert)).build().unwrap();
    let inet = |text: &str| Addr::Inet(text.parse().unwrap());
    for version in [Version::One, Version::Two] {
        let header =
            Outbound::for_client(version, inet("[2001:db8::7]:4711"), inet("192.0.2.1:443"));
        let client = client.clone();
        let said = dialled_through(&nginx.addr.to_string(), move || {
            let tls = client.layer("localhost").expect("a name");
            Layers::new().above(header.layer()).above(tls)
        });
        let body = said.split_once("\r\n\r\n").expect(&said).1;
        assert_eq!(body, "2001:db8::7 4711 TLSv1.3", "{version}");
    }
}
