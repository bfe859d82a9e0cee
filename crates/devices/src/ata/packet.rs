//! The packet commands of a CD-ROM drive (SFF-8020i, MMC-5, SPC-3): a command block in, an answer out. No data are moved here.

use super::BLOCK;
use serde::{Deserialize, Serialize};

/// Sense key, additional sense code and qualifier (SPC-3, 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sense {
    pub key: u8,
    pub code: u8,
    pub qualifier: u8,
}

impl Sense {
    const fn new(key: u8, code: u8, qualifier: u8) -> Self {
        Self {
            key,
            code,
            qualifier,
        }
    }
    pub(crate) const NO_MEDIUM: Self = Self::new(2, 0x3a, 0);
    pub(crate) const READ_ERROR: Self = Self::new(3, 0x11, 0);
    pub(crate) const BAD_COMMAND: Self = Self::new(5, 0x20, 0);
    pub(crate) const OUT_OF_RANGE: Self = Self::new(5, 0x21, 0);
    pub(crate) const BAD_FIELD: Self = Self::new(5, 0x24, 0);
    pub(crate) const NOT_SAVED: Self = Self::new(5, 0x39, 0);
    pub(crate) const REMOVAL_PREVENTED: Self = Self::new(5, 0x53, 2);
    pub(crate) const MEDIUM_CHANGED: Self = Self::new(6, 0x28, 0);
    pub(crate) const RESET: Self = Self::new(6, 0x29, 0);
}

/// What a packet leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Data(Vec<u8>),
    /// Bytes of the disc from `at` on.
    Read {
        at: u64,
        bytes: u64,
    },
    Failed(Sense),
    /// The tray opens: the medium goes.
    Eject,
}

/// The drive's memory between packets.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// What the last command left for REQUEST SENSE.
    pub sense: Sense,
    /// A unit attention that the next command but a few tells.
    attention: Option<Sense>,
    locked: bool,
    /// The event code that GET EVENT STATUS NOTIFICATION tells next.
    event: u8,
}

const EVENT_NEW_MEDIA: u8 = 2;
const EVENT_REMOVED: u8 = 3;

mod op {
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const INQUIRY: u8 = 0x12;
    pub const MODE_SENSE_6: u8 = 0x1a;
    pub const START_STOP: u8 = 0x1b;
    pub const PREVENT_REMOVAL: u8 = 0x1e;
    pub const READ_CAPACITY: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const SEEK: u8 = 0x2b;
    pub const READ_SUBCHANNEL: u8 = 0x42;
    pub const READ_TOC: u8 = 0x43;
    pub const GET_CONFIGURATION: u8 = 0x46;
    pub const GET_EVENT: u8 = 0x4a;
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    pub const READ_TRACK_INFORMATION: u8 = 0x52;
    pub const MODE_SENSE_10: u8 = 0x5a;
    pub const READ_12: u8 = 0xa8;
    pub const SET_SPEED: u8 = 0xbb;
    pub const MECHANISM_STATUS: u8 = 0xbd;
    pub const READ_CD: u8 = 0xbe;
}

fn be16(cdb: &[u8; 12], at: usize) -> u16 {
    u16::from_be_bytes([0, 1].map(|i| cdb.get(at + i).copied().unwrap_or(0)))
}

fn be32(cdb: &[u8; 12], at: usize) -> u32 {
    u32::from_be_bytes([0, 1, 2, 3].map(|i| cdb.get(at + i).copied().unwrap_or(0)))
}

/// Minutes, seconds and frames of a block, two seconds of lead-in before the first (MMC-5, 4.2.3).
fn msf(lba: u32) -> [u8; 4] {
    let frames = lba.saturating_add(150);
    [
        0,
        (frames / (75 * 60)).min(255) as u8,
        (frames / 75 % 60) as u8,
        (frames % 75) as u8,
    ]
}

fn cut(mut data: Vec<u8>, allocation: impl Into<usize>) -> Reply {
    data.truncate(allocation.into());
    Reply::Data(data)
}

impl Unit {
    /// Power-on or reset: the next command hears of it.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            attention: Some(Sense::RESET),
            ..Self::default()
        };
    }

    /// The medium was changed from outside.
    pub(crate) fn medium_changed(&mut self, present: bool) {
        self.attention = present.then_some(Sense::MEDIUM_CHANGED);
        self.event = if present {
            EVENT_NEW_MEDIA
        } else {
            EVENT_REMOVED
        };
    }

    /// Does what the command block says on a disc of `blocks` blocks, if there is one.
    pub(crate) fn packet(&mut self, cdb: &[u8; 12], blocks: Option<u32>) -> Reply {
        let [operation, ..] = *cdb;
        // Commands that are answered whatever attention stands (SPC-3, 5.8.5).
        let quiet = matches!(
            operation,
            op::INQUIRY | op::REQUEST_SENSE | op::GET_EVENT | op::GET_CONFIGURATION
        );
        let reply = match self.attention.filter(|_| !quiet) {
            Some(sense) => {
                self.attention = None;
                Reply::Failed(sense)
            }
            None => self.execute(cdb, blocks),
        };
        match &reply {
            Reply::Failed(sense) => self.sense = *sense,
            _ if operation != op::REQUEST_SENSE => self.sense = Sense::default(),
            _ => {}
        }
        reply
    }

    fn execute(&mut self, cdb: &[u8; 12], blocks: Option<u32>) -> Reply {
        let [operation, flags, ..] = *cdb;
        match operation {
            op::REQUEST_SENSE => return self.request_sense(cdb),
            op::INQUIRY => return inquiry(cdb),
            op::GET_EVENT => return self.event_status(cdb, blocks.is_some()),
            op::GET_CONFIGURATION => return configuration(cdb, blocks.is_some()),
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => return self.mode_sense(cdb),
            op::PREVENT_REMOVAL => {
                self.locked = cdb[4] & 1 != 0;
                return Reply::Done;
            }
            op::START_STOP => return self.start_stop(cdb[4]),
            op::MECHANISM_STATUS => return cut(vec![0; 8], be16(cdb, 8)),
            op::SET_SPEED => return Reply::Done,
            _ => {}
        }
        let Some(blocks) = blocks else {
            return match operation {
                op::TEST_UNIT_READY
                | op::READ_CAPACITY
                | op::READ_10
                | op::READ_12
                | op::READ_CD
                | op::READ_TOC
                | op::READ_SUBCHANNEL
                | op::READ_DISC_INFORMATION
                | op::READ_TRACK_INFORMATION
                | op::SEEK => Reply::Failed(Sense::NO_MEDIUM),
                _ => Reply::Failed(Sense::BAD_COMMAND),
            };
        };
        let read = |lba: u32, count: u32| match lba.checked_add(count) {
            Some(end) if end <= blocks => match count {
                0 => Reply::Done,
                _ => Reply::Read {
                    at: u64::from(lba) * BLOCK,
                    bytes: u64::from(count) * BLOCK,
                },
            },
            _ => Reply::Failed(Sense::OUT_OF_RANGE),
        };
        match operation {
            op::TEST_UNIT_READY => Reply::Done,
            op::SEEK => match be32(cdb, 2) < blocks {
                true => Reply::Done,
                false => Reply::Failed(Sense::OUT_OF_RANGE),
            },
            op::READ_CAPACITY => {
                let last = blocks.saturating_sub(1).to_be_bytes();
                Reply::Data([last, (BLOCK as u32).to_be_bytes()].concat())
            }
            op::READ_10 => read(be32(cdb, 2), be16(cdb, 7).into()),
            op::READ_12 => read(be32(cdb, 2), be32(cdb, 6)),
            // Only the user data of mode 1 and 2 form 1 sectors are kept in an image.
            op::READ_CD => match cdb[9] & 0xf8 {
                0 => Reply::Done,
                0x10 => read(be32(cdb, 2), be32(cdb, 5) & 0x00ff_ffff),
                _ => Reply::Failed(Sense::BAD_FIELD),
            },
            op::READ_TOC => toc(cdb, flags & 2 != 0, blocks),
            // No audio is playing (MMC-5, 6.24): the header alone.
            op::READ_SUBCHANNEL => cut(vec![0, 0x15, 0, 0], be16(cdb, 7)),
            op::READ_DISC_INFORMATION => {
                let mut d = vec![0; 34];
                // 32 bytes follow; complete, one session, one track.
                for (at, value) in [(1, 32), (2, 0x0e), (3, 1), (4, 1), (5, 1), (6, 1)] {
                    d[at] = value;
                }
                cut(d, be16(cdb, 7))
            }
            op::READ_TRACK_INFORMATION => {
                let mut d = vec![0; 36];
                for (at, value) in [(1, 34), (2, 1), (3, 1), (5, 4), (6, 1)] {
                    d[at] = value;
                }
                d[24..28].copy_from_slice(&blocks.to_be_bytes());
                cut(d, be16(cdb, 7))
            }
            _ => Reply::Failed(Sense::BAD_COMMAND),
        }
    }

    fn request_sense(&mut self, cdb: &[u8; 12]) -> Reply {
        // A pending attention is told here, too.
        let sense = match self.sense.key {
            0 => self.attention.take().unwrap_or_default(),
            _ => self.sense,
        };
        self.sense = Sense::default();
        let mut d = vec![0; 18];
        for (at, value) in [
            (0, 0x70),
            (2, sense.key),
            (7, 10),
            (12, sense.code),
            (13, sense.qualifier),
        ] {
            d[at] = value;
        }
        cut(d, cdb[4])
    }

    /// GET EVENT STATUS NOTIFICATION (MMC-5, 6.6): media events, polled.
    fn event_status(&mut self, cdb: &[u8; 12], present: bool) -> Reply {
        const MEDIA: u8 = 4;
        if cdb[1] & 1 == 0 {
            return Reply::Failed(Sense::BAD_FIELD);
        }
        let allocation = be16(cdb, 8);
        if cdb[4] & 1 << MEDIA == 0 {
            return cut(vec![0, 2, 0x80, 1 << MEDIA], allocation);
        }
        let event = std::mem::take(&mut self.event);
        let status = u8::from(present) << 1;
        cut(
            vec![0, 6, MEDIA, 1 << MEDIA, event, status, 0, 0],
            allocation,
        )
    }

    fn start_stop(&mut self, operation: u8) -> Reply {
        match operation & 3 {
            2 if self.locked => Reply::Failed(Sense::REMOVAL_PREVENTED),
            2 => Reply::Eject,
            _ => Reply::Done,
        }
    }

    fn mode_sense(&mut self, cdb: &[u8; 12]) -> Reply {
        if cdb[2] >> 6 == 3 {
            return Reply::Failed(Sense::NOT_SAVED);
        }
        let pages: &[u8] = &[0x01, 0x0d, 0x0e, 0x2a];
        let wanted = cdb[2] & 0x3f;
        if wanted != 0x3f && !pages.contains(&wanted) {
            return Reply::Failed(Sense::BAD_FIELD);
        }
        let mut body = Vec::new();
        for &page in pages.iter().filter(|&&p| wanted == 0x3f || p == wanted) {
            let content: &[u8] = match page {
                // Read error recovery: no retries.
                0x01 => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                // CD-ROM: 60 seconds a minute, 75 frames a second.
                0x0d => &[0, 0, 0, 60, 0, 75],
                // CD audio control.
                0x0e => &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                // Capabilities: reads CD-R and CD-RW; tray, eject, lock, and its state; 706 KB/s; 512 KiB.
                _ => &[
                    0x3b, 0x00, 0x71, 0x60, 0x29, 0, 0x02, 0xc2, 0, 2, 0x02, 0, 0x02, 0xc2, 0, 0,
                    0, 0, 0, 0,
                ],
            };
            body.extend([page, content.len() as u8]);
            body.extend(content);
            if page == 0x2a && self.locked {
                let lock = body.len() - 16;
                body[lock] |= 2;
            }
        }
        match cdb[0] {
            op::MODE_SENSE_6 => {
                let mut d = vec![(body.len() + 3) as u8, 0, 0, 0];
                d.extend(body);
                cut(d, cdb[4])
            }
            _ => {
                let mut d = ((body.len() + 6) as u16).to_be_bytes().to_vec();
                d.extend([0; 6]);
                d.extend(body);
                cut(d, be16(cdb, 7))
            }
        }
    }
}

fn inquiry(cdb: &[u8; 12]) -> Reply {
    if cdb[1] & 1 != 0 {
        return Reply::Failed(Sense::BAD_FIELD);
    }
    // CD-ROM, removable, ATAPI, response format 2.
    let mut d = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    d.extend(b"FERRY   CD-ROM          1.0 ");
    cut(d, be16(cdb, 3) & 0xff)
}

/// READ TOC/PMA/ATIP (MMC-5, 6.26): one data track and the lead-out.
fn toc(cdb: &[u8; 12], as_msf: bool, blocks: u32) -> Reply {
    let place = |lba: u32| match as_msf {
        true => msf(lba),
        false => lba.to_be_bytes(),
    };
    // Old systems put the format in the control byte.
    let format = match cdb[2] & 0x0f {
        0 => cdb[9] >> 6,
        f => f,
    };
    let track = |number: u8, lba: u32| {
        let mut t = vec![0, 0x14, number, 0];
        t.extend(place(lba));
        t
    };
    let body = match format {
        0 => match cdb[6] {
            0 | 1 => [vec![1, 1], track(1, 0), track(0xaa, blocks)].concat(),
            0xaa => [vec![1, 1], track(0xaa, blocks)].concat(),
            _ => return Reply::Failed(Sense::BAD_FIELD),
        },
        1 => [vec![1, 1], track(1, 0)].concat(),
        2 => {
            let mut body = vec![1, 1];
            for (point, [a, b, c, d]) in [
                (0xa0, [0, 1, 0, 0]),
                (0xa1, [0, 1, 0, 0]),
                (0xa2, msf(blocks)),
                (1, msf(0)),
            ] {
                body.extend([1, 0x14, 0, point, 0, 0, 0, a, b, c, d]);
            }
            body
        }
        _ => return Reply::Failed(Sense::BAD_FIELD),
    };
    let mut d = (body.len() as u16).to_be_bytes().to_vec();
    d.extend(body);
    cut(d, be16(cdb, 7))
}

/// GET CONFIGURATION (MMC-5, 6.5): a CD-ROM profile, and the features that it asks for.
fn configuration(cdb: &[u8; 12], present: bool) -> Reply {
    const CD_ROM: u16 = 8;
    let wanted = cdb[1] & 3;
    let first = be16(cdb, 2);
    let features: [(u16, u8, &[u8]); 5] = [
        // Profile list, core (ATAPI), removable medium (tray, lock), random read, CD read.
        (0, 0x03, &[0, 8, 1, 0]),
        (1, 0x0b, &[0, 0, 0, 2, 1, 0, 0, 0]),
        (3, 0x03, &[0x29, 0, 0, 0]),
        (0x10, 0x01, &[0, 0, 8, 0, 0, 1, 0, 0]),
        (0x1e, 0x01, &[0, 0, 0, 0]),
    ];
    let mut body = Vec::new();
    for (code, flags, content) in features {
        let current = flags & 1 != 0 && (code < 0x10 || present);
        let take = match wanted {
            0 => code >= first,
            1 => code >= first && current,
            _ => code == first,
        };
        if take {
            body.extend(code.to_be_bytes());
            body.extend([flags & !1 | u8::from(current), content.len() as u8]);
            body.extend(content);
        }
    }
    let profile = if present { CD_ROM } else { 0 };
    let mut d = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    d.extend([0, 0]);
    d.extend(profile.to_be_bytes());
    d.extend(body);
    cut(d, be16(cdb, 7))
}
