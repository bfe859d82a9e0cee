//! Frames in a file as tcpdump and Wireshark read it (pcap, the classic format).

use crate::{Backend, Error, Gso, Nic};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const LONGEST: u32 = 1 << 18;

/// A file of frames.
struct Dump {
    file: Option<BufWriter<File>>,
}

impl Dump {
    /// Makes the file, or empties it.
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut header = MAGIC.to_le_bytes().to_vec();
        header.extend([2, 0, 4, 0]);
        header.extend([0; 8]);
        header.extend(LONGEST.to_le_bytes());
        header.extend(ETHERNET.to_le_bytes());
        file.write_all(&header)?;
        file.flush()?;
        Ok(Self { file: Some(file) })
    }

    /// Appends a frame. Trouble ends the dump, not the network.
    fn frame(&mut self, frame: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let bytes = (frame.len() as u32).min(LONGEST);
        let mut record = Vec::with_capacity(16);
        for word in [now.as_secs() as u32, now.subsec_micros(), bytes, bytes] {
            record.extend(word.to_le_bytes());
        }
        let part = frame.get(..bytes as usize).unwrap_or_default();
        let written = file.write_all(&record).and_then(|()| file.write_all(part));
        self.check(written);
    }

    /// Writes what is still in memory.
    fn flush(&mut self) {
        let done = self.file.as_mut().map_or(Ok(()), |f| f.flush());
        self.check(done);
    }

    fn check(&mut self, done: std::io::Result<()>) {
        if let Err(error) = done {
            tracing::error!(target: "net", %error, "no more frames are dumped");
            self.file = None;
        }
    }
}

/// A network whose frames, both ways, are also written to a file.
pub struct Dumped {
    inner: Arc<dyn Backend>,
    dump: Arc<Mutex<Dump>>,
}

impl Dumped {
    /// The file at `path` is made, or emptied.
    pub fn new(inner: Arc<dyn Backend>, path: &Path) -> Result<Self, Error> {
        let dump = Dump::create(path).map_err(|source| Error::Dump {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            inner,
            dump: Arc::new(Mutex::new(dump)),
        })
    }
}

impl Backend for Dumped {
    fn attach(&self, nic: Arc<dyn Nic>) {
        let dump = self.dump.clone();
        self.inner.attach(Arc::new(Tapped { nic, dump }));
    }

    fn kick(&self) {
        self.inner.kick();
    }

    fn takes_offloads(&self) -> bool {
        self.inner.takes_offloads()
    }
}

/// The card, with someone listening in.
struct Tapped {
    nic: Arc<dyn Nic>,
    dump: Arc<Mutex<Dump>>,
}

impl Tapped {
    fn dump(&self) -> MutexGuard<'_, Dump> {
        self.dump.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nic for Tapped {
    fn take(&self, frame: &mut Vec<u8>) -> bool {
        let taken = self.nic.take(frame);
        if taken {
            self.dump().frame(frame);
        }
        taken
    }

    fn give(&self, frame: &[u8], gso: Option<Gso>) -> bool {
        let given = self.nic.give(frame, gso);
        if given {
            self.dump().frame(frame);
        }
        given
    }

    fn takes_gso(&self) -> bool {
        self.nic.takes_gso()
    }

    fn disarm(&self) {
        self.nic.disarm();
    }

    fn arm(&self, starved: bool) -> bool {
        // The network is about to sleep.
        self.dump().flush();
        self.nic.arm(starved)
    }
}
