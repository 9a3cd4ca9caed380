//! What is remembered of each client, in a table that does not grow beyond its bound.

use super::rate::{Bucket, Rate};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Whom the limits on one client are for: an IPv4 address, or the /64 network of an IPv6 address,
/// in which one subscriber has 2^64 addresses at hand (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The clients that have connections, or had some lately.
///
/// Those without connections are in a list, the longest at rest first. When the table is full, a new
/// client takes the place of that one, whose bucket is forgotten; if every client has connections,
/// there is no place.
pub(super) struct Clients {
    slots: Vec<Slot>,
    places: HashMap<Client, u32, RandomState>,
    /// The one at rest for longest, and the one for shortest.
    oldest: u32,
    newest: u32,
    max: usize,
}

struct Slot {
    client: Client,
    /// Open now.
    connections: u32,
    bucket: Bucket,
    /// The neighbours among those at rest.
    older: u32,
    newer: u32,
}

/// No neighbour.
const NONE: u32 = u32::MAX;

impl Clients {
    pub(super) fn new(max: usize) -> Self {
        let max = max.clamp(1, NONE as usize);
        let places = HashMap::default();
        Self { slots: Vec::new(), places, oldest: NONE, newest: NONE, max }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place of a client that is remembered. One at rest counts as seen.
    pub(super) fn find(&mut self, client: Client) -> Option<u32> {
        let place = *self.places.get(&client)?;
        if self.slot(place).connections == 0 {
            self.unlink(place);
            self.link(place);
        }
        Some(place)
    }

    pub(super) fn connections(&self, place: u32) -> u32 {
        self.slots[place as usize].connections
    }

    pub(super) fn has_token(&self, place: u32, rate: &Rate, now: Instant) -> bool {
        self.slots[place as usize].bucket.has_token(rate, now)
    }

    /// Makes a place for a client that is not remembered. `None` if there is none.
    pub(super) fn insert(&mut self, client: Client) -> Option<u32> {
        let slot =
            Slot { client, connections: 0, bucket: Bucket::default(), older: NONE, newer: NONE };
        let place = if self.slots.len() < self.max {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        } else {
            let place = self.oldest;
            if place == NONE {
                return None;
            }
            self.unlink(place);
            let forgotten = std::mem::replace(self.slot(place), slot);
            self.places.remove(&forgotten.client);
            place
        };
        self.places.insert(client, place);
        self.link(place);
        Some(place)
    }

    /// A connection of the client begins.
    pub(super) fn open(&mut self, place: u32, rate: Option<&Rate>, now: Instant) {
        if self.slot(place).connections == 0 {
            self.unlink(place);
        }
        let slot = self.slot(place);
        slot.connections += 1;
        if let Some(rate) = rate {
            slot.bucket.take(rate, now);
        }
    }

    /// A connection of the client has ended.
    pub(super) fn close(&mut self, place: u32) {
        let slot = self.slot(place);
        slot.connections -= 1;
        if slot.connections == 0 {
            self.link(place);
        }
    }

    fn slot(&mut self, place: u32) -> &mut Slot {
        &mut self.slots[place as usize]
    }

    /// Puts a client at the end of those at rest.
    fn link(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        let slot = self.slot(place);
        (slot.older, slot.newer) = (older, NONE);
        match older {
            NONE => self.oldest = place,
            older => self.slot(older).newer = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let slot = self.slot(place);
        let (older, newer) = (slot.older, slot.newer);
        match older {
            NONE => self.oldest = newer,
            older => self.slot(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slot(newer).older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    impl Clients {
        /// Those at rest, the oldest first, read in both directions.
        fn at_rest(&self) -> Vec<Client> {
            let walk = |from: u32, next: fn(&Slot) -> u32| {
                let mut found = Vec::new();
                let mut place = from;
                while place != NONE {
                    let slot = &self.slots[place as usize];
                    assert_eq!(slot.connections, 0);
                    found.push(slot.client);
                    place = next(slot);
                }
                found
            };
            let forward = walk(self.oldest, |slot| slot.newer);
            let mut backward = walk(self.newest, |slot| slot.older);
            backward.reverse();
            assert_eq!(forward, backward);
            forward
        }
    }

    fn distinct(clients: &[Client]) -> usize {
        clients.iter().collect::<HashSet<_>>().len()
    }

    /// Beside it a client has an entry of 24 bytes in a map that is at most seven eighths full.
    #[test]
    fn a_client_costs_about_a_hundred_bytes() {
        assert!(size_of::<Slot>() <= 64, "{} bytes", size_of::<Slot>());
        assert!(size_of::<(Client, u32)>() <= 24);
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_client() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:0:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_ne!(client("0.0.0.1"), client("::1"));
    }

    /// The model: clients in the order in which they came to rest, and a list of the open ones.
    #[test]
    fn the_table_is_its_model() {
        for seed in 0..100 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let max = rng.usize(1..6);
            let mut clients = Clients::new(max);
            let mut rest: Vec<Client> = Vec::new();
            let mut open: Vec<Client> = Vec::new();
            #[expect(clippy::disallowed_methods, reason = "any instant will do")]
            let now = Instant::now();
            for step in 0..400 {
                let about = format!("seed {seed} step {step} max {max}");
                let client = Client::V4(rng.u32(0..8));
                let known = rest.contains(&client) || open.contains(&client);
                match rng.u8(0..4) {
                    0 | 1 => {
                        let place = clients.find(client).or_else(|| clients.insert(client));
                        let is_full = rest.len() + distinct(&open) == max;
                        let evicts = !known && is_full && !rest.is_empty();
                        assert_eq!(place.is_some(), known || !is_full || evicts, "{about}");
                        if evicts {
                            rest.remove(0);
                        }
                        rest.retain(|other| *other != client);
                        if let Some(place) = place {
                            clients.open(place, None, now);
                            open.push(client);
                        }
                    }
                    2 if known && !open.contains(&client) => {
                        // Seen, but refused.
                        clients.find(client);
                        rest.retain(|other| *other != client);
                        rest.push(client);
                    }
                    _ if !open.is_empty() => {
                        let client = open.swap_remove(rng.usize(0..open.len()));
                        clients.close(clients.places[&client]);
                        if !open.contains(&client) {
                            rest.push(client);
                        }
                    }
                    _ => {}
                }
                assert!(clients.len() <= max, "{about}");
                assert_eq!(clients.at_rest(), rest, "{about}");
                for client in &open {
                    let place = clients.places[client];
                    let wanted = open.iter().filter(|other| *other == client).count();
                    assert_eq!(clients.connections(place) as usize, wanted, "{about}");
                }
            }
        }
    }

    #[test]
    fn the_one_that_rested_longest_gives_way() {
        let mut clients = Clients::new(2);
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        let rate = Rate::per_minute(1);
        let [a, b, c] = [1, 2, 3].map(Client::V4);
        for client in [a, b] {
            let place = clients.insert(client).unwrap();
            clients.open(place, Some(&rate), now);
        }
        assert_eq!(clients.insert(c), None, "both have connections");
        for client in [b, a] {
            clients.close(clients.places[&client]);
        }
        let place = clients.insert(c).unwrap();
        clients.open(place, Some(&rate), now);
        assert_eq!(clients.find(b), None, "b rested longest");
        let place = clients.find(a).unwrap();
        assert!(!clients.has_token(place, &rate, now), "a is remembered");
    }
}
