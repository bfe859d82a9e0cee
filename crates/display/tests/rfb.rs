//! The VNC server over real sockets with a client of our own, and with clients that mean no good.

use bus::clock::Pace;
use bus::{AccessSize, Clock, Device, IrqLine, StopRequest};
use devices::I8042;
use devices::reset::A20Gate;
use devices::vga::{self, Vga};
use display::{Address, Seat, Server, rfb};
use memory::Ram;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn seat() -> Seat {
    let ram = Ram::with_banks(0x20_0000, &[vga::MEMORY]).unwrap();
    let (keyboard, mouse) = (IrqLine::unconnected(), IrqLine::unconnected());
    Seat {
        screen: Vga::new(ram, 0, Clock::new(Pace::Host)),
        input: I8042::new(keyboard, mouse, A20Gate::new(), StopRequest::new(vec![])),
    }
}

/// A linear mode of 32 bits with one pixel set.
fn show(seat: &Seat, width: u16, height: u16, at: u64, pixel: u32) {
    let mut screen = seat.screen.clone();
    for (n, value) in [(4, 0), (1, width), (2, height), (3, 32), (4, 0x41)] {
        screen.port_write(vga::REGION_DISPI, 0, AccessSize::Word, n);
        screen.port_write(vga::REGION_DISPI, 1, AccessSize::Word, value.into());
    }
    screen.mmio_write(vga::REGION_LINEAR, 4 * at, AccessSize::Dword, pixel.into());
}

struct Client(TcpStream);

impl Client {
    fn connect(server: &Server) -> Self {
        let Address::Tcp(at) = server.address() else {
            panic!("no TCP");
        };
        let s = TcpStream::connect(at).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(s)
    }
    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut b = [0; N];
        self.0.read_exact(&mut b).unwrap();
        b
    }
    fn send(&mut self, b: &[u8]) {
        self.0.write_all(b).unwrap();
    }
    /// Up to the security types of version 3.8.
    fn greet(&mut self) -> [u8; 2] {
        assert_eq!(&self.read::<12>(), b"RFB 003.008\n");
        self.send(b"RFB 003.008\n");
        self.read()
    }
    fn enter(&mut self) -> (u16, u16) {
        assert_eq!(self.greet(), [1, 1]);
        self.send(&[1]);
        assert_eq!(self.read::<4>(), [0; 4]);
        self.init()
    }
    fn init(&mut self) -> (u16, u16) {
        self.send(&[1]);
        let [w1, w0, h1, h0] = self.read();
        let format = self.read::<16>();
        assert_eq!(format[..4], [32, 24, 0, 1]);
        assert_eq!(self.read::<4>(), [0, 0, 0, 5]);
        assert_eq!(&self.read::<5>(), b"Ferry");
        (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]))
    }
    fn request(&mut self, incremental: bool) {
        self.send(&[3, incremental.into(), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
    /// The heads of an update's rectangles, with the bytes of raw ones.
    fn update(&mut self) -> Vec<([u16; 4], i32, Vec<u8>)> {
        let [kind, _, n1, n0] = self.read();
        assert_eq!(kind, 0);
        let mut rects = Vec::new();
        for _ in 0..u16::from_be_bytes([n1, n0]) {
            let head = self.read::<12>();
            let v: [u16; 4] =
                std::array::from_fn(|i| u16::from_be_bytes([head[2 * i], head[2 * i + 1]]));
            let encoding = i32::from_be_bytes(head[8..].try_into().unwrap());
            let len = match encoding {
                0 => usize::from(v[2]) * usize::from(v[3]) * 4,
                16 => u32::from_be_bytes(self.read()) as usize,
                _ => 0,
            };
            let mut bytes = vec![0; len];
            self.0.read_exact(&mut bytes).unwrap();
            rects.push((v, encoding, bytes));
        }
        rects
    }
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn start(seat: &Seat, password: Option<&str>) -> Server {
    let password = password.map(|p| p.as_bytes().to_vec());
    rfb::start(&Address::parse(":0").unwrap(), seat.clone(), password).unwrap()
}

#[test]
fn a_client_sees_the_screen_and_what_changes() {
    let seat = seat();
    show(&seat, 128, 64, 65, 0x11_2233);
    let server = start(&seat, None);
    let mut c = Client::connect(&server);
    assert_eq!(c.enter(), (128, 64));
    c.request(false);
    let all = c.update();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].0, all[0].1), ([0, 0, 128, 64], 0));
    assert_eq!(all[0].2[65 * 4..66 * 4], [0x33, 0x22, 0x11, 0]);
    // Nothing changes: nothing comes, until something does.
    c.request(true);
    std::thread::sleep(Duration::from_millis(200));
    let mut screen = seat.screen.clone();
    screen.mmio_write(vga::REGION_LINEAR, 4 * 127, AccessSize::Dword, 0xff);
    let change = c.update();
    assert_eq!(change.len(), 1);
    assert_eq!(change[0].0, [64, 0, 64, 64]);
    // ZRLE and a change of size.
    c.send(&[2, 0, 0, 2, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0x21]);
    show(&seat, 256, 128, 0, 0xff);
    c.request(true);
    let change = c.update();
    assert_eq!((change[0].0, change[0].1), ([0, 0, 256, 128], -223));
    assert!(change[1..].iter().all(|r| r.1 == 16 && r.2.len() < 300));
}

#[test]
fn keys_and_pointer_reach_the_guest() {
    let seat = seat();
    let server = start(&seat, None);
    let mut c = Client::connect(&server);
    c.enter();
    c.send(&[4, 1, 0, 0, 0, 0, 0, b'a', 4, 0, 0, 0, 0, 0, 0, b'a']);
    // QEMU's extended key: Delete, held while the client goes.
    c.send(&[255, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0xd3]);
    let wanted = [0x1e, 0x9e, 0xe0, 0x53];
    let mut got = Vec::new();
    let mut port = seat.input.clone();
    let mut read_until = |n: usize| {
        let begun = Instant::now();
        while got.len() < n && begun.elapsed() < Duration::from_secs(20) {
            if port.port_read(1, 0, AccessSize::Byte) & 1 != 0 {
                got.push(port.port_read(0, 0, AccessSize::Byte) as u8);
            }
        }
        got.clone()
    };
    assert_eq!(read_until(4), wanted);
    drop(c);
    assert_eq!(
        read_until(6)[4..],
        [0xe0, 0xd3],
        "released when the client went"
    );
}

#[test]
fn a_password_lets_in_those_who_know_it() {
    let seat = seat();
    let server = start(&seat, Some("secret"));
    let answer = |challenge: [u8; 16], password: &[u8]| {
        use des::cipher::{BlockEncrypt, KeyInit};
        let mut key = [0; 8];
        key[..password.len()].copy_from_slice(password);
        let des = des::Des::new(&key.map(u8::reverse_bits).into());
        let mut out = challenge;
        for b in out.chunks_exact_mut(8) {
            let mut block = <[u8; 8]>::try_from(&*b).unwrap().into();
            des.encrypt_block(&mut block);
            b.copy_from_slice(&block);
        }
        out
    };
    for (password, result) in [(&b"secret"[..], 0), (b"wrong", 1)] {
        let mut c = Client::connect(&server);
        assert_eq!(c.greet(), [1, 2]);
        c.send(&[2]);
        let challenge = c.read();
        c.send(&answer(challenge, password));
        assert_eq!(c.read::<4>(), [0, 0, 0, result]);
        match result {
            0 => drop(c.init()),
            _ => assert!(c.is_closed()),
        }
    }
    // Choosing no security is no way in.
    let mut c = Client::connect(&server);
    c.greet();
    c.send(&[1, 1]);
    assert!(c.is_closed());
}

#[test]
fn bad_clients_lose_their_connection_only() {
    let seat = seat();
    let server = start(&seat, None);
    for bad in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"RFB 009.999\n", &[0; 64]] {
        let mut c = Client::connect(&server);
        c.send(bad);
        assert!(c.is_closed());
    }
    for bad in [
        &[99][..],
        &[255, 7, 0, 0],
        &[0, 0, 0, 0, 24, 24, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0],
    ] {
        let mut c = Client::connect(&server);
        c.enter();
        c.send(bad);
        assert!(c.is_closed(), "{bad:?}");
    }
    // Cut text of 4 GiB is announced and takes no room.
    let mut c = Client::connect(&server);
    c.enter();
    c.send(&[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    for _ in 0..256 {
        c.send(&[6; 16384]);
    }
    let mut c = Client::connect(&server);
    c.enter();
    c.request(false);
    c.update();
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let seat = seat();
    show(&seat, 1024, 768, 0, 1);
    let server = start(&seat, None);
    let mut lazy = Client::connect(&server);
    lazy.enter();
    for _ in 0..1000 {
        lazy.request(false);
    }
    let mut c = Client::connect(&server);
    c.enter();
    c.request(false);
    assert_eq!(
        c.update().iter().map(|r| r.2.len()).sum::<usize>(),
        1024 * 768 * 4
    );
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes, in whatever pieces: no panic, and little is kept.
    #[test]
    fn any_bytes(
        version in 0usize..4,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let seat = seat();
        show(&seat, 64, 64, 0, 1);
        let mut s = rfb::Session::new(seat.clone(), None, [0; 16]);
        let hello: &[u8] = [
            &b"RFB 003.008\n\x01\x01"[..], b"RFB 003.007\n\x01\x01", b"RFB 003.003\n\x01", b"",
        ][version];
        if s.feed(hello).is_err() {
            return Ok(());
        }
        for p in &pieces {
            if s.feed(p).is_err() {
                break;
            }
            s.show(seat.screen.snapshot().frame());
            prop_assert!(s.take_output().len() < 100_000);
        }
    }
}
