//! Network device (5.1): one pair of queues, whose frames the network's thread moves.
//!
//! Where the network needs neither (the user network ends TCP), the guest may leave checksums and the cutting of TCP segments to the device.

use super::{Core, Kind, Request, VirtioDevice};
use crate::lock;
use net::{Backend, Gso, Nic};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Feature bits (5.1.3).
mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
}

/// Flags and types of the header before each frame (5.1.6).
mod header {
    pub const NEEDS_CSUM: u8 = 1;
    pub const DATA_VALID: u8 = 2;
    pub const GSO_TCPV4: u8 = 1;
    /// With the number of buffers.
    pub const BYTES: usize = 12;
    /// Of a legacy driver without merged buffers.
    pub const SHORT: usize = 10;
}

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE_SIZE: u16 = 256;
const LINK_UP: u16 = 1;
/// The longest frame that is taken: a whole IP packet and Ethernet's header.
const LONGEST: u64 = 65_535 + 14;
/// Buffers that one frame is spread over: of a page each they would hold any.
const MERGED: usize = 64;
/// Where TCP has its checksum.
const TCP_CHECKSUM: u16 = 16;

/// The device.
pub struct Net {
    nic: Arc<Card>,
    backend: Arc<dyn Backend>,
    mac: [u8; 6],
}

/// What the network's thread works with.
struct Card {
    core: Arc<Core>,
    /// Whether the network's frames are known to be sound.
    trusted: bool,
    /// Receive buffers that were not enough for a frame. Locked while frames move, so that [`Net::drain`] can wait for them.
    held: Mutex<VecDeque<Request>>,
}

impl Net {
    /// A card with the address `mac`, connected to `backend`.
    pub fn new(core: Arc<Core>, backend: Arc<dyn Backend>, mac: [u8; 6]) -> Self {
        let nic = Arc::new(Card {
            core,
            trusted: backend.takes_offloads(),
            held: Mutex::default(),
        });
        backend.attach(nic.clone());
        Self { nic, backend, mac }
    }
}

impl VirtioDevice for Net {
    const KIND: Kind = Kind {
        id: 1,
        transitional: Some(0x1000),
        class: 0x02_0000,
        queues: &[QUEUE_SIZE, QUEUE_SIZE],
    };

    fn features(&self) -> u64 {
        use feature::*;
        let always = GUEST_CSUM | MAC | GUEST_TSO4 | MRG_RXBUF | STATUS;
        match self.backend.takes_offloads() {
            true => always | CSUM | HOST_TSO4,
            false => always,
        }
    }

    fn config_read(&self, offset: usize, into: &mut [u8]) {
        let mut config = self.mac.to_vec();
        config.extend(LINK_UP.to_le_bytes());
        let found = config.get(offset..).unwrap_or_default();
        for (place, b) in into.iter_mut().zip(found) {
            *place = *b;
        }
    }

    fn activate(&mut self) {
        self.backend.kick();
    }

    fn notify(&mut self, _: usize) {
        self.backend.kick();
    }

    fn drain(&self) {
        give_back(&mut lock(&self.nic.held));
    }

    fn reset(&mut self) {
        lock(&self.nic.held).clear();
    }
}

impl Card {
    /// Bytes before each frame.
    fn header(&self) -> usize {
        let merged = self.core.has(feature::MRG_RXBUF);
        match merged || self.core.has(super::feature::VERSION_1) {
            true => header::BYTES,
            false => header::SHORT,
        }
    }
}

impl Nic for Card {
    fn take(&self, frame: &mut Vec<u8>) -> bool {
        let _moving = lock(&self.held);
        let Some(request) = self.core.pop(TRANSMIT) else {
            return false;
        };
        let skip = self.header() as u64;
        let bytes = Request::bytes(request.readable())
            .saturating_sub(skip)
            .min(LONGEST);
        frame.resize(bytes as usize, 0);
        let read = request.read(skip, frame);
        frame.truncate(read);
        request.complete(0);
        true
    }

    fn give(&self, frame: &[u8], gso: Option<Gso>) -> bool {
        let mut held = lock(&self.held);
        held.retain(|r| !r.is_void());
        // A card that is not running swallows everything.
        if !self.core.is_running() {
            return true;
        }
        let head = self.header();
        let mut start = [0; header::BYTES];
        if let Some(gso) = gso {
            start = gso_header(gso);
        } else if self.trusted && self.core.has(feature::GUEST_CSUM) {
            start[0] = header::DATA_VALID;
        }
        let start = start.get(..head).unwrap_or_default();
        let whole = [start, frame].concat();
        let most = match self.core.has(feature::MRG_RXBUF) {
            true => MERGED,
            false => 1,
        };
        let mut room: usize = held.iter().map(space).sum();
        while room < whole.len() && held.len() < most {
            let Some(request) = self.core.pop(RECEIVE) else {
                return !self.core.is_running();
            };
            room = room.saturating_add(space(&request));
            held.push_back(request);
        }
        if room < whole.len() {
            // So many small buffers as no driver has: the frame is lost, and so that the next one is not, they go back.
            give_back(&mut held);
            return true;
        }
        let mut requests = Vec::new();
        let mut left = whole.len();
        while left > 0
            && let Some(request) = held.pop_front()
        {
            let n = space(&request).min(left);
            left -= n;
            requests.push((request, n as u32));
        }
        let count = requests.len() as u16;
        let mut done = 0;
        for (k, (request, n)) in requests.iter().enumerate() {
            let n = *n as usize;
            let piece = whole.get(done..done + n).unwrap_or_default();
            request.write(0, piece);
            if k == 0 && head == header::BYTES {
                request.write(10, &count.to_le_bytes());
            }
            done += n;
        }
        // A driver that saw only some of them would drop the frame.
        Request::complete_together(requests);
        true
    }

    fn takes_gso(&self) -> bool {
        use feature::*;
        self.core.has(GUEST_CSUM | GUEST_TSO4 | MRG_RXBUF)
    }

    fn disarm(&self) {
        self.core.disarm(RECEIVE);
        self.core.disarm(TRANSMIT);
    }

    fn arm(&self, starved: bool) -> bool {
        let room = starved && self.core.rearm(RECEIVE);
        self.core.rearm(TRANSMIT) || room
    }
}

/// Buffers without a frame.
fn give_back(held: &mut VecDeque<Request>) {
    for request in held.drain(..) {
        request.complete(0);
    }
}

/// Bytes that fit into a buffer.
fn space(request: &Request) -> usize {
    Request::bytes(request.writable()) as usize
}

fn gso_header(gso: Gso) -> [u8; header::BYTES] {
    let mut all = [0; header::BYTES];
    let words = [
        gso.data,
        gso.size.get(),
        gso.transport,
        TCP_CHECKSUM,
        // Buffers: put in when they are known.
        1,
    ];
    for (place, word) in all
        .iter_mut()
        .skip(2)
        .zip(words.iter().flat_map(|w| w.to_le_bytes()))
    {
        *place = word;
    }
    all[0] = header::NEEDS_CSUM;
    all[1] = header::GSO_TCPV4;
    all
}
