//! Several loops: how many there are, and which of them serves a connection.

mod support;

use mainspring_loop::{Action, Balance, Loops, Running, Server};
use std::collections::HashMap;
use support::*;

/// A server whose connections tell the number of their loop.
fn telling_server(loops: usize, balance: Balance) -> (Running, Log) {
    let log = Log::new();
    let probe = log.clone();
    let builder = Server::builder().loops(Loops::Count(loops)).balance(balance).seed(1);
    let running = start_with(builder, &[TCP], move || {
        Probe::new(&probe).open(|conn| {
            let index = conn.cx().loop_index() as u8;
            assert_eq!(conn.id().loop_index(), usize::from(index));
            conn.out().push(index);
            Some(Action::Continue)
        })
    });
    (running, log)
}

fn loop_of(client: &mut Client) -> u8 {
    client.receive(1)[0]
}

#[test]
fn a_server_has_the_loops_it_was_asked_for() {
    let _bound = bound(30);
    let cores = std::thread::available_parallelism().unwrap().get();
    let asked =
        [(Loops::Count(0), 1), (Loops::Count(1), 1), (Loops::Count(5), 5), (Loops::PerCore, cores)];
    for (loops, wanted) in asked {
        let log = Log::new();
        let probe = log.clone();
        let builder = Server::builder().loops(loops);
        let running = start_with(builder, &[TCP], move || Probe::new(&probe));
        log.wait_for(wanted, "start");
        assert_eq!(running.handle().stats().loops.len(), wanted);
        stop(running);
        assert_eq!(log.count("start"), wanted);
    }
}

#[test]
fn round_robin_gives_each_of_four_loops_two_of_eight_connections() {
    let _bound = bound(30);
    let (running, _log) = telling_server(4, Balance::RoundRobin);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::tcp(inet(&running))).collect();
    let loops: Vec<u8> = clients.iter_mut().map(loop_of).collect();
    for index in 0..4 {
        assert_eq!(loops.iter().filter(|at| **at == index).count(), 2, "{loops:?}");
    }
    stop(running);
}

#[test]
fn random_and_kernel_serve_all_and_leave_no_loop_out() {
    let _bound = bound(60);
    for balance in [Balance::Random, Balance::Kernel] {
        let (running, _log) = telling_server(3, balance);
        // That a loop of three is left out by chance: 3 x (2/3)^100, less than one in 10^16.
        let mut clients: Vec<Client> = (0..100).map(|_| Client::tcp(inet(&running))).collect();
        let mut served: HashMap<u8, usize> = HashMap::new();
        clients.iter_mut().for_each(|client| *served.entry(loop_of(client)).or_default() += 1);
        assert_eq!(served.values().sum::<usize>(), 100);
        assert_eq!(served.len(), 3, "{balance}: {served:?}");
        stop(running);
    }
}

#[test]
fn a_seed_repeats_the_random_choices() {
    let _bound = bound(30);
    let run = || {
        let (running, _log) = telling_server(4, Balance::Random);
        // One after the other, so that they are accepted in this order.
        let loops: Vec<u8> = (0..20).map(|_| loop_of(&mut Client::tcp(inet(&running)))).collect();
        stop(running);
        loops
    };
    assert_eq!(run(), run());
}

/// Elsewhere the machine has only one address of its own, 127.0.0.1.
#[cfg(any(target_os = "linux", windows))]
#[test]
fn the_source_hash_keeps_a_client_on_its_loop_and_spreads_many() {
    use socket2::{Domain, Socket, Type};
    use std::net::SocketAddr;

    let client_from = |from: [u8; 4], to: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Client::over(mainspring_io::OwnedStream::Tcp(socket.into()))
    };
    let _bound = bound(30);
    let (running, _log) = telling_server(4, Balance::SourceHash);
    let at = inet(&running);
    let mut used = HashMap::new();
    for last in 1..=40 {
        let loops: Vec<u8> =
            (0..3).map(|_| loop_of(&mut client_from([127, 0, 0, last], at))).collect();
        assert!(loops.iter().all(|index| *index == loops[0]), "127.0.0.{last}: {loops:?}");
        used.insert(loops[0], last);
    }
    assert_eq!(used.len(), 4, "{used:?}");
    stop(running);
}

#[test]
fn least_connections_goes_where_connections_have_ended() {
    let _bound = bound(30);
    let (running, log) = telling_server(3, Balance::LeastConnections);
    let mut clients: Vec<Client> = (0..9).map(|_| Client::tcp(inet(&running))).collect();
    let loops: Vec<u8> = clients.iter_mut().map(loop_of).collect();
    for index in 0..3 {
        assert_eq!(loops.iter().filter(|at| **at == index).count(), 3, "{loops:?}");
    }
    let mut stay = Vec::new();
    for (client, index) in clients.into_iter().zip(loops) {
        if index != 1 {
            stay.push(client);
        }
    }
    log.wait_for(3, "close");
    for _ in 0..3 {
        let mut client = Client::tcp(inet(&running));
        assert_eq!(loop_of(&mut client), 1);
        stay.push(client);
    }
    stop(running);
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_shared_out_among_the_loops() {
    let _bound = bound(30);
    let dir = TempDir::new();
    let unix = dir.unix("shared");
    for balance in [Balance::Kernel, Balance::RoundRobin] {
        let log = Log::new();
        let builder = Server::builder().loops(Loops::Count(3)).balance(balance);
        let running = start_with(builder, &[&unix], move || {
            Probe::echo(&log).open(|conn| {
                let index = conn.cx().loop_index() as u8;
                conn.out().push(index);
                Some(Action::Continue)
            })
        });
        let mut clients: Vec<Client> =
            (0..6).map(|_| Client::connect(&running.addrs()[0])).collect();
        let mut loops: Vec<u8> = clients.iter_mut().map(loop_of).collect();
        loops.sort_unstable();
        assert_eq!(loops, [0, 0, 1, 1, 2, 2], "{balance}");
        stop(running);
    }
}

/// Elsewhere the last one to open the port has it for itself, or the system does not share it.
#[cfg(target_os = "linux")]
#[test]
fn five_servers_share_a_port_if_all_of_them_ask_for_it() {
    let _bound = bound(30);
    let start =
        |address: String| start_with(Server::builder(), &[&address], || Probe::echo(&Log::new()));
    let first = start("tcp://127.0.0.1:0?reuseport=true".to_owned());
    let at = inet(&first);
    let mut servers = vec![first];
    servers.extend((0..4).map(|_| start(format!("tcp://{at}?reuseport=1"))));
    // By the kernel's hash none of five is left out by 200 connections, or once in 10^18 times.
    let mut clients: Vec<Client> = (0..200).map(|_| Client::tcp(at)).collect();
    for client in &mut clients {
        client.send(b"x");
        client.expect(b"x");
    }
    let served: Vec<u64> =
        servers.iter().map(|server| server.handle().stats().total.accepted).collect();
    assert_eq!(served.iter().sum::<u64>(), 200);
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    servers.into_iter().for_each(stop);
}
