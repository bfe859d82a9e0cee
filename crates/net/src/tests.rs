//! Cables and switches, with cards whose guests are the tests.

use crate::{Backend, Gso, Nic, Stream, StreamAddress, StreamOptions};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A card whose guest is a test.
#[derive(Default)]
pub(crate) struct Card {
    pub out: Mutex<VecDeque<Vec<u8>>>,
    pub into: Mutex<VecDeque<Vec<u8>>>,
    pub came: Condvar,
    /// Frames that it takes in before it is full; 0 is any number.
    pub room: usize,
}

impl Nic for Card {
    fn take(&self, frame: &mut Vec<u8>) -> bool {
        match self.out.lock().unwrap().pop_front() {
            Some(f) => {
                *frame = f;
                true
            }
            None => false,
        }
    }
    fn give(&self, frame: &[u8], gso: Option<Gso>) -> bool {
        assert_eq!(gso, None, "the card takes none");
        let mut into = self.into.lock().unwrap();
        if self.room > 0 && into.len() >= self.room {
            return false;
        }
        into.push_back(frame.to_vec());
        self.came.notify_all();
        true
    }
    fn disarm(&self) {}
    fn arm(&self, starved: bool) -> bool {
        let room = starved && self.into.lock().unwrap().len() < self.room;
        !self.out.lock().unwrap().is_empty() || room
    }
}

/// A card on a network.
pub(crate) struct Guest<N> {
    pub net: N,
    pub card: Arc<Card>,
}

impl<N: Backend> Guest<N> {
    pub fn new(net: N) -> Self {
        Self::with(net, Card::default())
    }
    pub fn with(net: N, card: Card) -> Self {
        let card = Arc::new(card);
        net.attach(card.clone());
        Self { net, card }
    }
    pub fn send(&self, frame: Vec<u8>) {
        self.card.out.lock().unwrap().push_back(frame);
        self.net.kick();
    }
    /// The next frame of which `f` makes something; `None` if nothing comes in `time`.
    pub fn wait<R>(&self, time: Duration, f: impl Fn(&[u8]) -> Option<R>) -> Option<R> {
        let end = Instant::now() + time;
        let mut into = self.card.into.lock().unwrap();
        loop {
            while let Some(frame) = into.pop_front() {
                if let Some(found) = f(&frame) {
                    return Some(found);
                }
            }
            if Instant::now() >= end {
                return None;
            }
            into = self
                .card
                .came
                .wait_timeout(into, Duration::from_millis(50))
                .unwrap()
                .0;
        }
    }
    pub fn receive<R>(&self, f: impl Fn(&[u8]) -> Option<R>) -> R {
        self.wait(PATIENCE, f).expect("nothing came")
    }
    fn next(&self) -> Vec<u8> {
        self.receive(|f| Some(f.to_vec()))
    }
}

/// From `from` to `to`, the last bytes of their addresses; 0xff is everyone.
fn frame(from: u8, to: u8, text: &str) -> Vec<u8> {
    let mut all = match to {
        0xff => vec![0xff; 6],
        to => vec![2, 0, 0, 0, 0, to],
    };
    all.extend([2, 0, 0, 0, 0, from, 0x88, 0xb5]);
    all.extend(text.as_bytes());
    all
}

/// A path that nothing is at; the folder goes with the second.
fn path() -> (PathBuf, Folder) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::SeqCst);
    let dir = std::env::temp_dir().join(format!("ferry-net-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    (dir.join("socket"), Folder(dir))
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn any_port() -> StreamAddress {
    StreamAddress::Tcp("127.0.0.1:0".parse().unwrap())
}

fn connect(to: StreamAddress) -> StreamOptions {
    StreamOptions::Connect {
        to,
        reconnect: None,
    }
}

#[test]
fn a_cable_joins_two_cards() {
    let one = Guest::new(Stream::new(&StreamOptions::Listen(any_port())).unwrap());
    let at = StreamAddress::Tcp(one.net.listening().unwrap());
    let two = Guest::new(Stream::new(&connect(at.clone())).unwrap());
    two.send(frame(2, 1, "hello"));
    assert_eq!(one.next(), frame(2, 1, "hello"));
    for n in 0..500 {
        one.send(frame(1, 2, &n.to_string()));
    }
    for n in 0..500 {
        assert_eq!(two.next(), frame(1, 2, &n.to_string()));
    }
    // The listener takes the next one when this one leaves.
    drop(two);
    let three = Guest::new(Stream::new(&connect(at)).unwrap());
    three.send(frame(3, 1, "again"));
    assert_eq!(one.next(), frame(3, 1, "again"));
}

#[test]
fn a_full_card_loses_nothing() {
    let (path, _folder) = path();
    let listener = UnixListener::bind(&path).unwrap();
    let room = Card {
        room: 1,
        ..Card::default()
    };
    let guest = Guest::with(
        Stream::new(&connect(StreamAddress::Unix(path))).unwrap(),
        room,
    );
    let (mut other, _) = listener.accept().unwrap();
    for n in 0..20u8 {
        other.write_all(&[0, 0, 0, 1, n]).unwrap();
    }
    for n in 0..20u8 {
        assert_eq!(guest.next(), [n]);
        guest.net.kick();
    }
}

#[test]
fn a_client_comes_again() {
    let (path, _folder) = path();
    let options = StreamOptions::Connect {
        to: StreamAddress::Unix(path.clone()),
        reconnect: Some(Duration::from_millis(20)),
    };
    // No one is there yet.
    let guest = Guest::new(Stream::new(&options).unwrap());
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"\0\0\0\x02hi").unwrap();
        assert_eq!(guest.next(), b"hi");
        guest.send(b"frame".to_vec());
        let mut got = [0; 9];
        other.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"\0\0\0\x05frame");
    }
}

#[test]
fn what_cannot_be_connected_is_told() {
    let (path, _folder) = path();
    let error = |o| Stream::new(&o).err().expect("no one is there").to_string();
    let text = error(connect(StreamAddress::Unix(path.clone())));
    assert!(text.starts_with("cannot connect to /"), "{text}");
    let _taken = UnixListener::bind(&path).unwrap();
    let text = error(StreamOptions::Listen(StreamAddress::Unix(path.clone())));
    assert!(text.starts_with("cannot listen on /"), "{text}");
    let text = Stream::to_switch(&path.join("below"))
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("below"), "{text}");
}

#[test]
fn a_switch_learns_where_cards_are() {
    let (path, _folder) = path();
    let guests: Vec<_> = (0..3)
        .map(|_| Guest::new(Stream::to_switch(&path).unwrap()))
        .collect();
    // A switch takes a port in when it gets its turn: until then nothing of the others arrives there.
    let everyone = |from: usize, text: &str| {
        guests[from].send(frame(from as u8, 0xff, text));
        for (n, g) in guests.iter().enumerate().filter(|g| g.0 != from) {
            let got = g.wait(Duration::from_secs(5), |f| Some(f.to_vec()));
            assert_eq!(got, Some(frame(from as u8, 0xff, text)), "{n}");
        }
    };
    let end = Instant::now() + PATIENCE;
    while guests[1]
        .wait(Duration::from_millis(50), |_| Some(()))
        .is_none()
        || guests[2]
            .wait(Duration::from_millis(50), |_| Some(()))
            .is_none()
    {
        assert!(Instant::now() < end);
        guests[0].send(frame(0, 0xff, "wake"));
    }
    std::thread::sleep(Duration::from_millis(200));
    for g in &guests {
        g.card.into.lock().unwrap().clear();
    }
    for n in 0..3 {
        everyone(n, &format!("I am {n}"));
    }
    guests[0].send(frame(0, 1, "only you"));
    assert_eq!(guests[1].next(), frame(0, 1, "only you"));
    assert_eq!(
        guests[2].wait(Duration::from_millis(200), |_| Some(())),
        None
    );
    // A card that is not known is looked for everywhere.
    guests[1].send(frame(1, 9, "who?"));
    for n in [0, 2] {
        assert_eq!(guests[n].next(), frame(1, 9, "who?"));
    }
    // QEMU's stream protocol is the switch's.
    let mut other = UnixStream::connect(&path).unwrap();
    let mut message = vec![0, 0, 0, 18];
    message.extend(frame(7, 2, "qemu"));
    other.write_all(&message).unwrap();
    assert_eq!(guests[2].next(), frame(7, 2, "qemu"));
    guests[2].send(frame(2, 7, "back"));
    let mut got = [0; 22];
    other.read_exact(&mut got).unwrap();
    assert_eq!(got[4..], frame(2, 7, "back"));
}

#[test]
fn the_switch_moves_when_its_process_ends() {
    let (path, _folder) = path();
    let first = Guest::new(Stream::to_switch(&path).unwrap());
    let others: Vec<_> = (0..2)
        .map(|_| Guest::new(Stream::to_switch(&path).unwrap()))
        .collect();
    drop(first);
    let end = Instant::now() + PATIENCE;
    while others[1]
        .wait(Duration::from_millis(100), |f| {
            (f == frame(5, 0xff, "still there")).then_some(())
        })
        .is_none()
    {
        assert!(Instant::now() < end, "no one took the switch over");
        others[0].send(frame(5, 0xff, "still there"));
    }
    drop(others);
    assert!(!path.exists(), "nothing is left");
}

#[test]
fn a_socket_that_was_left_behind_does_not_matter() {
    let (path, _folder) = path();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let guest = Guest::new(Stream::to_switch(&path).unwrap());
    let mut other = UnixStream::connect(&path).unwrap();
    let end = Instant::now() + PATIENCE;
    other
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut got = [0; 18];
    while other.read_exact(&mut got).is_err() {
        assert!(Instant::now() < end);
        guest.send(frame(1, 0xff, ""));
    }
    assert_eq!(got[4..], frame(1, 0xff, ""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes out of a connection: the cable goes on, or ends it and takes the next.
    #[test]
    fn hostile_streams_do_no_harm(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..20),
        frames in 0usize..100,
    ) {
        let guest = Guest::new(Stream::new(&StreamOptions::Listen(any_port())).unwrap());
        let at = guest.net.listening().unwrap();
        let mut other = TcpStream::connect(at).unwrap();
        for piece in &pieces {
            let _ = other.write_all(piece);
        }
        for n in 0..frames {
            guest.send(vec![n as u8; 60]);
        }
        drop(other);
        let mut next = TcpStream::connect(at).unwrap();
        next.write_all(b"\0\0\0\x04last").unwrap();
        guest.receive(|f| (f == b"last").then_some(()));
    }

    /// The same for a switch: who else is there does not notice.
    #[test]
    fn hostile_ports_do_no_harm(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..20),
    ) {
        let (path, _folder) = path();
        let guest = Guest::new(Stream::to_switch(&path).unwrap());
        let mut bad = UnixStream::connect(&path).unwrap();
        for piece in &pieces {
            let _ = bad.write_all(piece);
        }
        let mut good = UnixStream::connect(&path).unwrap();
        let mut message = vec![0, 0, 0, 18];
        message.extend(frame(7, 0xff, "good"));
        good.write_all(&message).unwrap();
        guest.receive(|f| (f == frame(7, 0xff, "good")).then_some(()));
    }
}
