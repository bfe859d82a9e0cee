//! The parent's side: fill slots, wake the child, turn its records into outcomes; end a child that hangs and start another.
//!
//! # Unsafe
//! Owns the shared mapping and the child. Invariant: the child touches the slots only between the byte on `wake` and the byte on
//! `done` (or its death), and the parent only outside that time, so neither ever sees the other's writes half done.
#![expect(unsafe_code, reason = "fork, shared memory and pipes")]

use super::child::{self, World};
use super::{Lost, Unavailable};
use crate::case::{Bits, CHUNK, Case, Chunk, Fault, Outcome, PATCH_MAX, PATCHES_MAX, State, sreg};
use std::io::Error;
use std::ptr;

/// Cases in one go.
pub(super) const SLOTS: usize = 1024;
/// How long a case may take before it counts as endless, in ms; twice.
const PATIENCE: i32 = 2500;
const CHUNKS: usize = 24;

#[repr(C)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) progress: u64,
    pub(super) setup: u64,
}

#[repr(C)]
pub(super) struct SlotPatch {
    pub(super) addr: u64,
    pub(super) len: u64,
    pub(super) bytes: [u8; PATCH_MAX],
}

#[repr(C)]
pub(super) struct SlotChunk {
    pub(super) addr: u64,
    pub(super) bytes: [u64; CHUNK / 8],
}

#[repr(C)]
pub(super) struct Record {
    pub(super) gpr: [u64; 16],
    pub(super) rip: u64,
    pub(super) rflags: u64,
    pub(super) cr2: u64,
    pub(super) trap: u32,
    pub(super) error: u32,
    pub(super) signal: u32,
    pub(super) chunk_count: u32,
    pub(super) seg: [u16; 6],
    pub(super) fx: [u8; 512],
    pub(super) chunks: [SlotChunk; CHUNKS],
}

#[repr(C, align(64))]
pub(super) struct Slot {
    pub(super) fx: [u8; 512],
    pub(super) gpr: [u64; 16],
    pub(super) rflags: u64,
    pub(super) eip: u32,
    pub(super) bits64: u32,
    pub(super) seg: [u16; 6],
    pub(super) touches_segments: u32,
    pub(super) code_addr: u64,
    pub(super) code_len: u32,
    pub(super) patch_count: u32,
    pub(super) code: [u8; 16],
    pub(super) patches: [SlotPatch; PATCHES_MAX],
    pub(super) out: Record,
}

pub(super) struct Native {
    shared: *mut u8,
    world: World,
    child: Option<Child>,
}

struct Child {
    pid: i32,
    wake: i32,
    done: i32,
    /// It has run a batch, so its set-up was good.
    proven: bool,
}

// SAFETY: the mapping belongs to this value alone; nothing in it is tied to a thread.
unsafe impl Send for Native {}

const SHARED_LEN: usize = 4096 + SLOTS * size_of::<Slot>();

impl Native {
    pub(super) fn new() -> Result<Self, Unavailable> {
        // SAFETY: a fresh anonymous mapping.
        let shared = unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            libc::mmap(
                ptr::null_mut(),
                SHARED_LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if shared == libc::MAP_FAILED {
            return Err(system("mmap"));
        }
        let mut native = Self {
            shared: shared.cast(),
            world: World::new(),
            child: None,
        };
        native.start()?;
        // An empty batch proves that the child could set its world up.
        match native.batch(0, 0) {
            Ok(()) => Ok(native),
            Err((_, Lost::Setup(what))) => Err(Unavailable::System {
                what: "the child's set-up",
                error: Error::other(what),
            }),
            Err((_, lost)) => Err(Unavailable::System {
                what: "the child",
                error: Error::other(lost.to_string()),
            }),
        }
    }

    fn header(&self) -> *mut Header {
        self.shared.cast()
    }

    fn slots(&self) -> *mut Slot {
        // SAFETY: the mapping is longer than a page; slots start there, aligned.
        unsafe { self.shared.add(4096).cast() }
    }

    fn start(&mut self) -> Result<(), Unavailable> {
        let (header, slots) = (self.header(), self.slots());
        // SAFETY: pipes and fork; the child runs nothing but `child::main`, which keeps to what a forked child may do.
        unsafe {
            (*header).setup = 0;
            let (mut wake, mut done) = ([0; 2], [0; 2]);
            if libc::pipe2(wake.as_mut_ptr(), libc::O_CLOEXEC) != 0
                || libc::pipe2(done.as_mut_ptr(), libc::O_CLOEXEC) != 0
            {
                return Err(system("pipe"));
            }
            let pid = libc::fork();
            if pid < 0 {
                return Err(system("fork"));
            }
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setrlimit(
                    libc::RLIMIT_CORE,
                    &libc::rlimit {
                        rlim_cur: 0,
                        rlim_max: 0,
                    },
                );
                libc::close(wake[1]);
                libc::close(done[0]);
                child::main(&mut self.world, header, slots, wake[0], done[1]);
            }
            libc::close(wake[0]);
            libc::close(done[1]);
            self.child = Some(Child {
                pid,
                wake: wake[1],
                done: done[0],
                proven: false,
            });
        }
        Ok(())
    }

    fn end(&mut self) -> i32 {
        let Some(child) = self.child.take() else {
            return 0;
        };
        let mut status = 0;
        // SAFETY: our own child and descriptors, each given up once.
        unsafe {
            libc::kill(child.pid, libc::SIGKILL);
            libc::waitpid(child.pid, &mut status, 0);
            libc::close(child.wake);
            libc::close(child.done);
        }
        status
    }

    /// Let the child run slots `first..end`. On failure, which slot and why; the child is gone then.
    fn batch(&mut self, first: usize, end: usize) -> Result<(), (usize, Lost)> {
        if self.child.is_none()
            && let Err(e) = self.start()
        {
            return Err((first, Lost::Setup(e.to_string())));
        }
        let Some(Child {
            wake, done, proven, ..
        }) = self.child
        else {
            return Ok(());
        };
        let header = self.header();
        let mut byte = 0u8;
        let mut seen = u64::MAX;
        // SAFETY: the child sleeps until the byte is written; `progress` is read volatile while it runs.
        unsafe {
            (*header).first = first as u64;
            (*header).end = end as u64;
            (*header).progress = first as u64;
            libc::write(wake, ptr::from_ref(&byte).cast(), 1);
            loop {
                let mut poll = libc::pollfd {
                    fd: done,
                    events: libc::POLLIN,
                    revents: 0,
                };
                let ready = libc::poll(&mut poll, 1, PATIENCE);
                let progress = ptr::read_volatile(&raw const (*header).progress);
                if ready > 0 {
                    if libc::read(done, ptr::from_mut(&mut byte).cast(), 1) == 1 {
                        if let Some(child) = &mut self.child {
                            child.proven = true;
                        }
                        return Ok(());
                    }
                    let setup = (*header).setup;
                    let status = self.end();
                    let steps = [
                        "",
                        "map the alias",
                        "map its stack",
                        "map the regions",
                        "call modify_ldt",
                        "call sigaltstack",
                        "call sigaction",
                    ];
                    let why = match steps.get(setup as usize) {
                        Some(step) if setup != 0 && !proven => Lost::Setup((*step).to_string()),
                        _ => Lost::Died(status),
                    };
                    return Err((progress as usize, why));
                }
                if ready == 0 && progress == seen {
                    self.end();
                    return Err((progress as usize, Lost::Hang));
                }
                seen = progress;
            }
        }
    }

    pub(super) fn run(&mut self, cases: &[Case]) -> Vec<Result<Outcome, Lost>> {
        let mut out = Vec::with_capacity(cases.len());
        for cases in cases.chunks(SLOTS) {
            for (i, case) in cases.iter().enumerate() {
                // SAFETY: the child sleeps.
                fill(unsafe { &mut *self.slots().add(i) }, case);
            }
            let mut lost = Vec::new();
            let mut first = 0;
            while first < cases.len() {
                match self.batch(first, cases.len()) {
                    Ok(()) => break,
                    Err((at, why)) => {
                        let at = at.max(first);
                        lost.push((at, why));
                        first = at + 1;
                    }
                }
            }
            for (i, case) in cases.iter().enumerate() {
                let why = lost.iter().find(|l| l.0 == i).map(|l| l.1.clone());
                // SAFETY: the child sleeps or is gone.
                out.push(why.map_or_else(
                    || Ok(outcome(unsafe { &(*self.slots().add(i)).out }, case)),
                    Err,
                ));
            }
        }
        out
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.end();
        // SAFETY: our own mapping, and nobody is left to use it.
        unsafe { libc::munmap(self.shared.cast(), SHARED_LEN) };
    }
}

fn system(what: &'static str) -> Unavailable {
    Unavailable::System {
        what,
        error: Error::last_os_error(),
    }
}

fn fill(slot: &mut Slot, case: &Case) {
    let s = &case.state;
    assert!(
        case.code.len() <= 15 && case.mem.len() <= PATCHES_MAX,
        "case {} does not fit a slot",
        case.index
    );
    assert_eq!(
        s.rflags & 0x1_0100,
        0,
        "TF and RF stay clear: the trap at the end must be INT3's"
    );
    slot.fx = s.fx;
    slot.gpr = s.gpr;
    slot.rflags = s.rflags;
    slot.eip = s.rip as u32;
    slot.bits64 = u32::from(case.bits == Bits::B64);
    slot.seg = s.seg;
    slot.code_addr = s.rip + case.bits.cs_base();
    slot.code_len = case.code.len() as u32;
    slot.code[..case.code.len()].copy_from_slice(&case.code);
    slot.patch_count = case.mem.len() as u32;
    for (to, from) in slot.patches.iter_mut().zip(&case.mem) {
        to.addr = from.addr;
        to.len = from.bytes.len() as u64;
        to.bytes[..from.bytes.len()].copy_from_slice(&from.bytes);
    }
    // MOV, POP, far loads to FS and GS: 8E, 0F A1, 0F A9, 0F B4, 0F B5; WRFSBASE, WRGSBASE: 0F AE. Being wrong costs two system calls.
    slot.touches_segments = u32::from(
        case.code
            .iter()
            .any(|b| [0x8e, 0xa1, 0xa9, 0xae, 0xb4, 0xb5].contains(b)),
    );
    slot.out.trap = u32::MAX;
}

/// The end of a case as the CPU saw it: INT3 or a fetch that faults after a branch is where the case is over, not a fault of its own.
fn outcome(r: &Record, case: &Case) -> Outcome {
    const PF_FETCH: u32 = 1 << 4;
    let cs_base = crate::case::seg_base(r.seg[sreg::CS]);
    let (mut rip, mut fault) = (r.rip, None);
    let moved = r.rip != case.state.rip;
    match r.trap {
        3 => rip = rip.wrapping_sub(1),
        14 if moved && r.error & PF_FETCH != 0 && r.cr2 == rip.wrapping_add(cs_base) => {}
        14 => {
            fault = Some(Fault {
                vector: 14,
                error: r.error,
                cr2: r.cr2,
            })
        }
        trap => {
            fault = Some(Fault {
                vector: trap as u8,
                error: r.error,
                cr2: 0,
            })
        }
    }
    let state = State {
        gpr: r.gpr,
        rip,
        rflags: r.rflags,
        seg: r.seg,
        fx: r.fx,
    };
    let chunks = &r.chunks[..(r.chunk_count as usize).min(CHUNKS)];
    let mem = chunks
        .iter()
        .map(|c| Chunk {
            addr: c.addr,
            bytes: bytes(&c.bytes),
        })
        .collect();
    Outcome { state, fault, mem }
}

fn bytes(words: &[u64; CHUNK / 8]) -> [u8; CHUNK] {
    std::array::from_fn(|i| words[i / 8].to_le_bytes()[i % 8])
}
