//! Frames in a file as tcpdump and Wireshark read it (pcap, the classic format).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const LONGEST: u32 = 1 << 18;

/// A file of frames.
pub struct Dump {
    file: Option<BufWriter<File>>,
}

impl Dump {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> std::io::Result<Self> {
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
    pub fn frame(&mut self, frame: &[u8]) {
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
    pub fn flush(&mut self) {
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
