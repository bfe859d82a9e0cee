//! What stands between a guest's messages and the server of the crate `p9`.
//!
//! Invariant: no name that reaches the server is empty, `.`, `..`, or has a `/` in it; no file that it opens is other than a regular file or
//! a directory; and of a folder that is shared read-only, nothing that writes reaches it. Formats are those of Linux's `include/net/9p/9p.h`.

use crate::Access;
use p9::{Config, Server};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Message types; an answer's is its request's plus one.
mod kind {
    pub const RLERROR: u8 = 7;
    pub const STATFS: u8 = 8;
    pub const LOPEN: u8 = 12;
    pub const LCREATE: u8 = 14;
    pub const READLINK: u8 = 22;
    pub const GETATTR: u8 = 24;
    pub const XATTRWALK: u8 = 30;
    pub const READDIR: u8 = 40;
    pub const FSYNC: u8 = 50;
    pub const LOCK: u8 = 52;
    pub const GETLOCK: u8 = 54;
    pub const LINK: u8 = 70;
    pub const MKDIR: u8 = 72;
    pub const RENAMEAT: u8 = 74;
    pub const UNLINKAT: u8 = 76;
    pub const VERSION: u8 = 100;
    pub const AUTH: u8 = 102;
    pub const ATTACH: u8 = 104;
    pub const FLUSH: u8 = 108;
    pub const WALK: u8 = 110;
    pub const READ: u8 = 116;
    pub const CLUNK: u8 = 120;
    pub const REMOVE: u8 = 122;
}
use kind::*;

/// Size, type and tag.
const HEADER: usize = 7;
/// Flags of LOPEN that do not only read: write, read and write, create, truncate, append.
const WRITES: u32 = 0o3 | 0o100 | 0o1000 | 0o2000;
/// O_DIRECT: the server's buffers are not aligned for it.
const DIRECT: u32 = 0o40000;
/// Files that a guest has hold of, at most; each may take two of this process's descriptors.
const MOST_FIDS: u64 = 16_384;

/// A guest's conversation with the server.
pub struct Session {
    server: Server,
    config: Config,
    access: Access,
    fids: BTreeSet<u32>,
    most: usize,
}

/// Why a request is refused, as the guest sees it.
fn refused(tag: [u8; 2], errno: Errno) -> Vec<u8> {
    let mut answer = (HEADER as u32 + 4).to_le_bytes().to_vec();
    answer.push(RLERROR);
    answer.extend(tag);
    answer.extend(errno.raw_os_error().to_le_bytes());
    answer
}

/// Takes a message apart.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Errno> {
        let (part, rest) = self.0.split_at_checked(n).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(part)
    }
    fn number(&mut self, bytes: usize) -> Result<u32, Errno> {
        let part = self.take(bytes)?.iter().rev();
        Ok(part.fold(0, |v, b| v << 8 | u32::from(*b)))
    }
    /// One name that stays below the directory that it is looked up in.
    fn name(&mut self) -> Result<(), Errno> {
        let n = self.number(2)? as usize;
        match self.take(n)? {
            b"" | b"." | b".." => Err(Errno::ACCESS),
            name if name.iter().any(|b| matches!(b, b'/' | 0)) => Err(Errno::ACCESS),
            _ => Ok(()),
        }
    }
}

impl Session {
    /// A server of `folder`, which may be reached by a symbolic link.
    pub(crate) fn new(folder: &Path, access: Access) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        // Whether it is a directory that can be read shows now.
        std::fs::read_dir(&root)?;
        let config = Config {
            root: root.into(),
            ..Config::default()
        };
        Ok(Self {
            server: Server::with_config(config.clone())?,
            config,
            access,
            fids: BTreeSet::new(),
            most: most_fids(),
        })
    }

    /// Bytes of a message at most.
    pub fn largest(&self) -> usize {
        self.config.msize as usize
    }

    /// Forgets what the guest had hold of.
    pub fn reset(&mut self) {
        match Server::with_config(self.config.clone()) {
            Ok(server) => self.server = server,
            Err(error) => {
                tracing::warn!(target: "share", %error, "a shared folder keeps files open after a reset");
            }
        }
        self.fids.clear();
    }

    /// The answer to a message; `None` to what is none.
    pub fn answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let (header, _) = message.split_at_checked(HEADER)?;
        let [a, b, c, d, kind, tag @ ..] = header else {
            return None;
        };
        let tag: [u8; 2] = tag.try_into().ok()?;
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        // What stands behind the message is not looked at.
        let message = message.get(..size).filter(|m| m.len() >= HEADER)?;
        let mut message = message.to_vec();
        match self.allow(*kind, &mut message) {
            Ok(()) => {}
            Err(errno) => return Some(refused(tag, errno)),
        }
        let answer = self.serve(&message);
        if answer.is_empty() {
            return Some(refused(tag, Errno::IO));
        }
        self.follow(*kind, &message, &answer);
        Some(answer)
    }

    fn serve(&mut self, message: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        // An error is a message that cannot be decoded: there is no answer then.
        match self.server.handle_message(&mut &*message, &mut answer) {
            Ok(()) => answer,
            Err(_) => Vec::new(),
        }
    }

    /// Whether the server may have this message, which may be changed first.
    fn allow(&mut self, kind: u8, message: &mut [u8]) -> Result<(), Errno> {
        if self.access == Access::ReadOnly && !only_reads(kind) {
            return Err(Errno::ROFS);
        }
        let body = message.get_mut(HEADER..).unwrap_or_default();
        let mut f = Fields(body);
        match kind {
            WALK => {
                f.take(4)?;
                let new = f.number(4)?;
                for _ in 0..f.number(2)? {
                    f.name()?;
                }
                self.room_for(new)
            }
            ATTACH => {
                let new = f.number(4)?;
                self.room_for(new)
            }
            LCREATE => {
                f.take(4)?;
                f.name()?;
                let flags = f.number(4)?;
                let at = body.len() - f.0.len() - 4;
                clear(body, at, flags)
            }
            LOPEN => {
                let (fid, flags) = (f.number(4)?, f.number(4)?);
                if self.access == Access::ReadOnly && flags & WRITES != 0 {
                    return Err(Errno::ROFS);
                }
                clear(body, 4, flags)?;
                self.is_file_or_directory(fid)
            }
            MKDIR | UNLINKAT => {
                f.take(4)?;
                f.name()
            }
            LINK => {
                f.take(8)?;
                f.name()
            }
            RENAMEAT => {
                f.take(4)?;
                f.name()?;
                f.take(4)?;
                f.name()
            }
            _ => Ok(()),
        }
    }

    fn room_for(&self, fid: u32) -> Result<(), Errno> {
        match self.fids.contains(&fid) || self.fids.len() < self.most {
            true => Ok(()),
            false => Err(Errno::MFILE),
        }
    }

    /// Opening a FIFO would wait for its other end, and a device is no file of the folder.
    fn is_file_or_directory(&mut self, fid: u32) -> Result<(), Errno> {
        const MODE: u64 = 1;
        let mut message = (HEADER as u32 + 12).to_le_bytes().to_vec();
        message.extend([GETATTR, 0, 0]);
        message.extend(fid.to_le_bytes());
        message.extend(MODE.to_le_bytes());
        let answer = self.serve(&message);
        if answer.get(4) != Some(&(GETATTR + 1)) {
            return Err(Errno::BADF);
        }
        // What is valid, the qid (type, version, path), and the mode.
        let mut f = Fields(answer.get(HEADER..).unwrap_or_default());
        f.take(8 + 13)?;
        match FileType::from_raw_mode(f.number(4)?) {
            FileType::RegularFile | FileType::Directory => Ok(()),
            _ => Err(Errno::ACCESS),
        }
    }

    /// Keeps count of what the guest has hold of.
    fn follow(&mut self, kind: u8, message: &[u8], answer: &[u8]) {
        let worked = answer.get(4) == Some(&(kind + 1));
        let number = |at: usize| {
            let bytes = message.get(HEADER + at..HEADER + at + 4);
            let bytes = bytes.and_then(|b| b.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        match kind {
            VERSION => self.fids.clear(),
            ATTACH if worked => _ = self.fids.insert(number(0)),
            // Part of a way makes no new one.
            WALK if worked
                && answer.get(HEADER..HEADER + 2) == message.get(HEADER + 8..HEADER + 10) =>
            {
                self.fids.insert(number(4));
            }
            CLUNK | REMOVE if worked => _ = self.fids.remove(&number(0)),
            _ => {}
        }
    }
}

/// Whether a message changes nothing.
fn only_reads(kind: u8) -> bool {
    matches!(
        kind,
        STATFS
            | LOPEN
            | READLINK
            | GETATTR
            | XATTRWALK
            | READDIR
            | FSYNC
            | LOCK
            | GETLOCK
            | VERSION
            | AUTH
            | ATTACH
            | FLUSH
            | WALK
            | READ
            | CLUNK
    )
}

/// Takes what the server cannot do out of the flags at `at`.
fn clear(body: &mut [u8], at: usize, flags: u32) -> Result<(), Errno> {
    let place = body.get_mut(at..at + 4).ok_or(Errno::INVAL)?;
    place.copy_from_slice(&(flags & !DIRECT).to_le_bytes());
    Ok(())
}

/// As many files as this process may have open allow; what it may raise that to is raised.
fn most_fids() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Fewer are an answer, too.
    let _ = setrlimit(Resource::Nofile, raised);
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (now / 4).min(MOST_FIDS) as usize
}
