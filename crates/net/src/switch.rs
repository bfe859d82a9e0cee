//! A learning switch (IEEE 802.1D, 7.8 and 7.9, without the spanning tree) that the machines of one host meet at.
//!
//! It listens on a unix socket and speaks the protocol of [`crate::framed`], so that QEMU's `-netdev stream` can join as well. The first
//! process that wants the switch has it in a thread; when that one ends, one of the others takes its place. A lock on a file beside the
//! socket says who: it ends with the process, however that ends.
//!
//! A port that does not read loses frames, as behind a real switch; the others do not notice.

use crate::Error;
use crate::framed::{Framed, Socket};
use crate::worker::{Seat, Worker};
use rustix::event::{PollFd, PollFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Machines at once.
const PORTS: usize = 64;
/// Addresses that are known; when there are more, frames go everywhere.
const ADDRESSES: usize = 4096;
/// After this time without a frame an address is forgotten (802.1D, 7.9.2).
const AGE: Duration = Duration::from_secs(300);
/// Frames of a port before the next one has its turn.
const BATCH: usize = 64;
const NAP: Duration = Duration::from_secs(5);
/// How long to wait for the one who has the lock.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// A process's share in a switch: the way to it, and perhaps the switch.
pub(crate) struct Member {
    path: PathBuf,
    own: Option<Switch>,
}

impl Member {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            own: None,
        }
    }

    /// A connection to the switch; `None` if another process is about to be it.
    pub fn join(&mut self) -> io::Result<Option<Framed>> {
        if let Some(found) = self.connect()? {
            return Ok(Some(found));
        }
        self.own = None;
        self.own = Switch::start(&self.path)?;
        self.connect()
    }

    /// `None` if no one listens.
    fn connect(&self) -> io::Result<Option<Framed>> {
        match UnixStream::connect(&self.path) {
            Ok(s) => Framed::new(Socket::Unix(s)).map(Some),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// The switch of this process. It ends when this is dropped.
struct Switch {
    _worker: Worker,
}

impl Switch {
    /// `None` if another process has the lock.
    fn start(path: &Path) -> io::Result<Option<Self>> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(e)) => return Err(e),
        }
        // What a process left that ended without warning; no one can listen there without the lock.
        match std::fs::symlink_metadata(path) {
            Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                std::fs::remove_file(path)?;
            }
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let hub = Hub {
            listener,
            ports: BTreeMap::new(),
            next: 0,
            table: Table::default(),
            path: path.to_owned(),
            _lock: lock,
        };
        let worker = Worker::start("net-switch", |seat| hub.run(&seat));
        let worker = worker.map_err(|e| match e {
            Error::Thread(source) => source,
            other => io::Error::other(other),
        })?;
        Ok(Some(Self { _worker: worker }))
    }
}

/// Which port an address is behind.
#[derive(Default)]
struct Table {
    known: BTreeMap<[u8; 6], (u32, Instant)>,
}

impl Table {
    /// A frame from `address` came through `port`.
    fn learn(&mut self, address: [u8; 6], port: u32, now: Instant) {
        // A group sends nothing.
        if address[0] & 1 != 0 {
            return;
        }
        if self.known.len() >= ADDRESSES && !self.known.contains_key(&address) {
            self.known
                .retain(|_, (_, seen)| now.duration_since(*seen) < AGE);
            if self.known.len() >= ADDRESSES {
                return;
            }
        }
        self.known.insert(address, (port, now));
    }

    /// The port to an address; `None` is all of them.
    fn find(&self, address: [u8; 6], now: Instant) -> Option<u32> {
        let (port, seen) = self.known.get(&address)?;
        (now.duration_since(*seen) < AGE).then_some(*port)
    }

    fn forget(&mut self, port: u32) {
        self.known.retain(|_, (p, _)| *p != port);
    }
}

/// The thread's state.
struct Hub {
    listener: UnixListener,
    ports: BTreeMap<u32, Framed>,
    next: u32,
    table: Table,
    path: PathBuf,
    _lock: File,
}

impl Hub {
    fn run(mut self, seat: &Seat) {
        let mut frame = Vec::new();
        let mut busy = false;
        while !seat.is_closed() {
            let nap = if busy { Duration::ZERO } else { NAP };
            let ready = seat.sleep(nap, |fds| {
                fds.push(PollFd::new(&self.listener, PollFlags::IN));
                fds.extend(self.ports.values().filter_map(|p| p.interest(false)));
            });
            for (port, _) in self
                .ports
                .values_mut()
                .zip(ready.iter().skip(1))
                .filter(|p| *p.1)
            {
                port.ready();
            }
            if ready.first() == Some(&true) {
                self.accept();
            }
            busy = self.turn(&mut frame);
        }
        let _ = std::fs::remove_file(&self.path);
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            // One more is turned away: it sees the end of its connection.
            if self.ports.len() < PORTS
                && let Ok(port) = Framed::new(Socket::Unix(stream))
            {
                self.ports.insert(self.next, port);
                self.next = self.next.wrapping_add(1);
            }
        }
    }

    /// Moves frames; tells whether there may be more.
    fn turn(&mut self, frame: &mut Vec<u8>) -> bool {
        let now = Instant::now();
        let (mut busy, mut gone) = (false, Vec::new());
        let all: Vec<u32> = self.ports.keys().copied().collect();
        for from in all {
            for n in 0.. {
                let Some(port) = self.ports.get_mut(&from) else {
                    break;
                };
                if n == BATCH {
                    busy = true;
                    break;
                }
                match port.receive(frame) {
                    Ok(true) => self.forward(from, frame, now),
                    Ok(false) => break,
                    Err(error) => {
                        tracing::debug!(target: "net", %error, port = from, "a port of the switch is gone");
                        gone.push(from);
                        break;
                    }
                }
            }
        }
        for (n, port) in &mut self.ports {
            if port.flush().is_err() {
                gone.push(*n);
            }
        }
        for n in gone {
            self.ports.remove(&n);
            self.table.forget(n);
        }
        busy
    }

    fn forward(&mut self, from: u32, frame: &[u8], now: Instant) {
        let (Some(to), Some(source)) = (address(frame, 0), address(frame, 6)) else {
            return;
        };
        self.table.learn(source, from, now);
        let one = self.table.find(to, now);
        let there = self
            .ports
            .iter_mut()
            .filter(|(n, _)| **n != from && one.is_none_or(|p| p == **n));
        for (_, port) in there {
            if !port.is_full() {
                port.send(frame);
            }
        }
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_learnt_and_forgotten() {
        let (mut t, now) = (Table::default(), Instant::now());
        let (a, b) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        assert_eq!(t.find(a, now), None);
        t.learn(a, 1, now);
        t.learn(b, 2, now);
        t.learn([0xff; 6], 3, now);
        assert_eq!((t.find(a, now), t.find(b, now)), (Some(1), Some(2)));
        assert_eq!(t.find([0xff; 6], now), None, "groups are everywhere");
        // A machine moves.
        t.learn(a, 2, now);
        assert_eq!(t.find(a, now), Some(2));
        assert_eq!(t.find(a, now + AGE), None);
        t.forget(2);
        assert_eq!(t.find(b, now), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_learnt() {
        let (mut t, now) = (Table::default(), Instant::now());
        let name = |n: usize| [2, 0, 0, 0, (n >> 8) as u8, n as u8];
        for n in 0..2 * ADDRESSES {
            t.learn(name(n), 1, now);
        }
        assert_eq!(t.known.len(), ADDRESSES);
        t.learn(name(ADDRESSES + 1), 1, now + AGE);
        assert_eq!(t.known.len(), 1, "old ones make room");
    }
}
