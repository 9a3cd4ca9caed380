//! Scenes of one message to many connections: real sockets, whose peers this thread reads itself, so
//! that each turn finds the same in every run.

use mainspring::io::{Driver, ReadyDriver};
use mainspring::{
    Action, BroadcastLimits, Bytes, CloseReason, Conn, ConnId, Cx, DriverLimits, Handle, Handler,
    Input, Opened, Remote, Server, SimLoop,
};
use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, OnceLock};

/// Who gets every message.
const TARGETS: u64 = 64;
const BYTES: &[u8] = &[b'm'; 64];
/// Messages between two looks of the peers: what they cost does not count for much then.
const UNREAD: u64 = 16;
const WARM_UP: u64 = 2 * UNREAD;

/// A post that calls `Cx::broadcast`: no limits, no account.
pub(crate) fn by_the_loop(repetitions: u64) -> Result<(), String> {
    run(repetitions, |hall| {
        let ids = hall.ids.clone();
        let post = hall.remote.post(move |_, cx| {
            assert_eq!(
                cx.broadcast(&Bytes::from_static(BYTES), &ids),
                TARGETS as usize,
                "all are open"
            );
        });
        post.map_err(|full| full.to_string())
    })
}

/// `Broadcaster::send_to`.
pub(crate) fn by_a_broadcaster(repetitions: u64) -> Result<(), String> {
    let made = OnceLock::new();
    run(repetitions, |hall| {
        let (broadcaster, targets) = made.get_or_init(|| {
            let broadcaster = hall.remote.broadcaster(BroadcastLimits::default());
            let targets = broadcaster.targets(&hall.ids);
            (broadcaster, targets)
        });
        broadcaster.send_to(Bytes::from_static(BYTES), targets).map_err(|full| full.to_string())
    })
}

/// Notes who has come.
struct Door(Arc<Mutex<Vec<ConnId>>>);

impl Handler for Door {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        self.0.lock().expect("nobody panics").push(conn.id());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        unreachable!("the peers only listen")
    }

    fn on_close(&mut self, (): (), _id: ConnId, _cx: &mut Cx<'_>, _reason: CloseReason) {}
}

/// A loop whose connections are all open.
struct Hall {
    turning: SimLoop<ReadyDriver>,
    handle: Handle,
    remote: Remote<Door>,
    ids: Arc<[ConnId]>,
    peers: Vec<TcpStream>,
}

impl Hall {
    fn new() -> Result<Self, String> {
        let driver =
            ReadyDriver::new(DriverLimits::default()).map_err(|error| error.to_string())?;
        let (told, ids) = (OnceLock::new(), Arc::<Mutex<Vec<ConnId>>>::default());
        let (mut loops, handle) = Server::builder()
            .seed(1)
            .simulate([driver], |shard| {
                let host = shard.host(Door(ids.clone()));
                let _ = told.set(shard.remote(host));
                shard.listen(host, "tcp://127.0.0.1:0").map(drop)
            })
            .map_err(|error| error.to_string())?;
        let mut turning = loops.pop().ok_or("one loop")?;
        let at = handle.addrs()[0].to_string();
        let mut peers = Vec::new();
        while (peers.len() as u64) < TARGETS {
            peers.push(TcpStream::connect(&at).map_err(|error| error.to_string())?);
            while ids.lock().expect("nobody panics").len() < peers.len() {
                turn(&mut turning)?;
            }
        }
        let ids = ids.lock().expect("nobody panics").as_slice().into();
        let remote = told.into_inner().ok_or("the set-up did not run")?;
        Ok(Self { turning, handle, remote, ids, peers })
    }

    /// Has the peers take what they have not read yet.
    fn listen(&mut self) -> Result<(), String> {
        let mut heard = [0; UNREAD as usize * BYTES.len()];
        for peer in &mut self.peers {
            peer.read_exact(&mut heard).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Sends so many messages to single targets, all targets at a time, each message in its own turn.
fn run(repetitions: u64, mut send: impl FnMut(&Hall) -> Result<(), String>) -> Result<(), String> {
    let mut hall = Hall::new()?;
    for number in 1..=WARM_UP + repetitions / TARGETS {
        send(&hall)?;
        turn(&mut hall.turning)?;
        // A message leaves at the beginning of the turn after the one that takes it.
        if number % UNREAD == 1 && number > UNREAD {
            hall.listen()?;
        }
    }
    hall.handle.stop();
    while turn(&mut hall.turning)? {}
    Ok(())
}

fn turn<D: Driver>(turning: &mut SimLoop<D>) -> Result<bool, String> {
    turning.turn().map_err(|error| error.to_string())
}
