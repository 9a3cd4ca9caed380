//! The five-callback server.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::{Addr, DriverKind};
use mainspring_loop::simple::{Callbacks, Reply, Waker, serve, simple};
use mainspring_loop::{CloseReason, Error, Server};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use support::*;

const BANNER: &str = "Welcome to the echo server!\n";

/// An echo server: `quit` closes, `shutdown` stops at the next tick, `wake` is answered from
/// another thread.
#[derive(Default)]
struct Echo {
    log: Log,
    wakers: HashMap<u64, Arc<Waker>>,
    /// What worker threads have made.
    answers: Arc<Mutex<HashMap<u64, String>>>,
    /// Plain fields: no other thread comes here.
    deliveries: usize,
    open: usize,
    stops: Arc<AtomicBool>,
}

impl Callbacks for Echo {
    fn accept(&mut self, id: u64, peer: &Addr, waker: Waker) -> Reply {
        self.log.add(format!("accept {id} {peer}"));
        if self.open == 20 {
            return Reply::close("full\n");
        }
        self.open += 1;
        self.wakers.insert(id, Arc::new(waker));
        Reply::send(BANNER)
    }

    fn data(&mut self, id: u64, bytes: &mut [u8]) -> Reply {
        self.deliveries += 1;
        match &*bytes {
            b"quit\r\n" => Reply::close("quit\r\n"),
            b"shutdown\r\n" => {
                self.stops.store(true, Ordering::SeqCst);
                Reply::keep()
            }
            b"wake\r\n" => {
                let (waker, answers) = (self.wakers[&id].clone(), self.answers.clone());
                thread::spawn(move || {
                    answers.lock().unwrap().insert(id, format!("done for {id}"));
                    waker.wake();
                });
                Reply::keep()
            }
            bytes => Reply::send(bytes),
        }
    }

    fn wake(&mut self, id: u64) -> Reply {
        self.log.add(format!("wake {id}"));
        Reply::send(self.answers.lock().unwrap().remove(&id).unwrap_or_default())
    }

    fn closed(&mut self, id: u64, reason: CloseReason) {
        self.open -= 1;
        self.wakers.remove(&id);
        self.log.add(format!("closed {id} {reason:?}, {} deliveries", self.deliveries));
    }

    fn tick(&mut self) -> bool {
        self.log.add("tick");
        !self.stops.load(Ordering::SeqCst)
    }
}

/// A server on a thread of its own, and the way to stop it.
struct Served {
    log: Log,
    stops: Arc<AtomicBool>,
    at: SocketAddr,
    thread: JoinHandle<Result<(), Error>>,
}

impl Served {
    fn new() -> Self {
        Self::by(serve)
    }

    /// With the callbacks as an ordinary handler on a driver of choice.
    fn on(driver: DriverKind) -> Self {
        Self::by(move |address, callbacks| {
            Server::builder().driver(driver).run(|shard| {
                let host = shard.host(simple(callbacks));
                shard.listen(host, address)?;
                Ok(())
            })
        })
    }

    fn by(serve: impl FnOnce(String, Echo) -> Result<(), Error> + Send + 'static) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (log, stops) = (Log::new(), Arc::new(AtomicBool::new(false)));
        let (told, flag) = (log.clone(), stops.clone());
        let thread = thread::spawn(move || {
            serve(format!("tcp://{free}"), Echo { log: told, stops: flag, ..Echo::default() })
        });
        log.wait_for(1, "tick");
        Self { log, stops, at: free, thread }
    }

    fn client(&self) -> Client {
        let mut client = Client::tcp(self.at);
        client.expect(BANNER.as_bytes());
        client
    }

    fn stop(self) -> Log {
        self.stops.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().expect("a false tick is a good end");
        self.log
    }
}

#[test]
fn ids_count_from_one_and_every_kept_connection_is_closed_once() {
    let _bound = bound(60);
    let served = Served::new();
    let clients: Vec<Client> = (0..5).map(|_| served.client()).collect();
    for (index, client) in clients.iter().enumerate() {
        let local = client.tcp_stream().local_addr().unwrap();
        assert_eq!(served.log.count(&format!("accept {} {local}", index + 1)), 1);
    }
    drop(clients);
    served.log.wait_for(5, "closed");
    let _stays = served.client();
    let log = served.stop();
    assert_eq!((log.count("accept"), log.count("closed")), (6, 6));
    assert_eq!(log.count("closed 6 Shutdown"), 1, "those alive at the end are closed too");
    assert!((1..=5).all(|id| log.count(&format!("closed {id} Peer")) == 1));
}

#[test]
fn a_refused_connection_gets_its_text_and_no_closed() {
    let _bound = bound(60);
    let served = Served::new();
    let kept: Vec<Client> = (0..20).map(|_| served.client()).collect();
    let mut refused = Client::tcp(served.at);
    assert_eq!(refused.receive_to_end(), b"full\n");
    drop(kept);
    served.log.wait_for(20, "closed");
    // The refused one has used up its number.
    let _next = served.client();
    assert_eq!(served.log.count("accept 22 "), 1);
    let log = served.stop();
    assert_eq!((log.count("closed 21 "), log.count("closed")), (0, 21));
}

#[test]
fn quit_is_echoed_and_then_the_connection_is_closed() {
    let _bound = bound(60);
    let served = Served::new();
    let mut client = served.client();
    client.send(b"hello\r\n");
    client.expect(b"hello\r\n");
    client.send(b"quit\r\n");
    assert_eq!(client.receive_to_end(), b"quit\r\n");
    drop(client);
    served.log.wait_for(1, "closed 1 Local");
    served.stop();
}

#[test]
fn shutdown_stops_at_the_next_tick() {
    let _bound = bound(60);
    let served = Served::new();
    let mut client = served.client();
    client.send(b"shutdown\r\n");
    client.expect_end();
    served.thread.join().unwrap().unwrap();
}

#[test]
fn a_tick_that_says_no_before_the_first_connection_ends_the_server() {
    let _bound = bound(60);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = Log::new();
    let stops = Arc::new(AtomicBool::new(true));
    serve(free, Echo { log: log.clone(), stops, ..Echo::default() }).expect("a good end");
    assert_eq!(log.lines(), ["tick"]);
}

#[test]
fn a_busy_address_is_the_error() {
    let _bound = bound(60);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = serve(busy.local_addr().unwrap(), Echo::default()).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }), "{error}");
}

#[test]
fn an_answer_made_by_a_thread_arrives_after_its_wake() {
    let _bound = bound(60);
    let served = Served::new();
    let mut clients: Vec<Client> = (0..3).map(|_| served.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(b"wake\r\n");
        client.expect(format!("done for {}", index + 1).as_bytes());
    }
    assert_eq!(served.stop().count("wake"), 3);
}

/// Keeps its wakers and lets the test use them.
struct Wakers(Log, Arc<Mutex<Vec<Waker>>>, Arc<AtomicBool>);

impl Callbacks for Wakers {
    fn accept(&mut self, _: u64, _: &Addr, waker: Waker) -> Reply {
        self.1.lock().unwrap().push(waker);
        Reply::keep()
    }

    fn data(&mut self, _: u64, _: &mut [u8]) -> Reply {
        Reply::keep()
    }

    fn wake(&mut self, id: u64) -> Reply {
        self.0.add(format!("wake {id}"));
        Reply::send(format!("w{id}"))
    }

    fn closed(&mut self, id: u64, _: CloseReason) {
        self.0.add(format!("closed {id}"));
    }

    fn tick(&mut self) -> bool {
        !self.2.load(Ordering::SeqCst)
    }
}

#[test]
fn wakers_outlive_their_connection_and_the_server() {
    let _bound = bound(60);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (log, wakers, stops) = (Log::new(), Arc::default(), Arc::new(AtomicBool::new(false)));
    let callbacks = Wakers(log.clone(), Arc::clone(&wakers), stops.clone());
    let server = thread::spawn(move || serve(free, callbacks));
    eventually("the server listens", || TcpStream::connect(free).is_ok());
    log.wait_for(1, "closed 1");
    let mut client = Client::tcp(free);
    eventually("accepted", || wakers.lock().unwrap().len() == 2);
    // The first connection is gone; its waker does not wake the second.
    wakers.lock().unwrap()[0].wake();
    assert!(client.is_silent_for(Duration::from_millis(50)));
    wakers.lock().unwrap()[1].wake();
    client.expect(b"w2");
    stops.store(true, Ordering::SeqCst);
    server.join().unwrap().unwrap();
    wakers.lock().unwrap().iter().for_each(Waker::wake);
    assert_eq!(log.count("wake"), 1);
}

#[test]
fn ticks_come_once_a_second_idle_and_at_most_sixty_times_busy() {
    let _bound = bound(60);
    let served = Served::new();
    let before = served.log.count("tick");
    thread::sleep(Duration::from_millis(2_200));
    let idle = served.log.count("tick") - before;
    assert!((1..=3).contains(&idle), "{idle} ticks in 2.2 s");
    let mut client = served.client();
    let (before, began) = (served.log.count("tick"), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        client.send(b"x");
        client.expect(b"x");
    }
    let busy = served.log.count("tick") - before;
    assert!(busy as f64 <= 60.0 * began.elapsed().as_secs_f64() + 1.0, "{busy} ticks");
    assert!(busy >= 20, "only {busy} ticks under load");
    served.stop();
}

/// `ss -o` tells the timer that the kernel runs for a socket of the server's.
#[test]
fn accepted_connections_have_keep_alive_of_500_seconds() {
    let _bound = bound(60);
    let served = Served::new();
    let client = served.client();
    let peer = client.tcp_stream().local_addr().unwrap();
    let filter = format!("sport = :{} and dport = :{}", served.at.port(), peer.port());
    let told = std::process::Command::new("ss").args(["-tnoH", &filter]).output();
    let told = told.expect("ss, which `cargo xtask test` installs with iproute2");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // `timer:(keepalive,8min18sec,0)`: what is left of 500 s.
    let left = told.split("timer:(keepalive,8min").nth(1);
    let seconds = left.and_then(|left| left.split("sec").next()).and_then(|it| it.parse().ok());
    assert!(matches!(seconds, Some(1..=20)), "{told}");
    served.stop();
}

#[test]
fn ten_clients_get_a_second_of_random_blocks_back() {
    let _bound = bound(60);
    blocks_come_back(Served::new());
}

#[test]
fn ten_clients_get_their_blocks_back_on_the_portable_driver_too() {
    let _bound = bound(60);
    blocks_come_back(Served::on(DriverKind::Portable));
}

fn blocks_come_back(served: Served) {
    let at = served.at;
    let clients: Vec<_> = (0..10)
        .map(|seed| {
            thread::spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut client = Client::tcp(at);
                client.expect(BANNER.as_bytes());
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) {
                    let length = rng.usize(0..100 << 10);
                    let block = random_bytes(&mut rng, length);
                    client.send(&block);
                    assert_same_bytes(&client.receive(length), &block, &format!("seed {seed}"));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    served.log.wait_for(10, "closed");
    let log = served.stop();
    assert_eq!((log.count("accept"), log.count("closed")), (10, 10));
}
