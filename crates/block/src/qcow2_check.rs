//! `ferry disk check` of qcow2: counts how often each cluster is used and compares with the image's own reference counts. Counts of clusters
//! that nothing uses, which a killed writer leaves behind, are taken back when an image is opened for writing ([`repair_leaks`]).
//!
//! Layout: QEMU's docs/interop/qcow2.txt, sections "Header", "Host cluster management" and "Cluster mapping".
//! Absent: bitmaps and other extensions beyond their clusters' being counted as leaked; extended L2 entries.

use crate::bytes::{be32, be64, read_padded};
use crate::lock::{self, Direct};
use crate::{Access, Error, Format};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Clusters of the file.
    pub clusters: u64,
    /// Clusters that hold guest data.
    pub data: u64,
    /// Clusters counted but not used: lost space, nothing worse.
    pub leaked: u64,
    /// What is wrong; the first hundred in words.
    pub errors: u64,
    pub messages: Vec<String>,
}

impl Report {
    fn wrong(&mut self, message: impl FnOnce() -> String) {
        self.errors += 1;
        if self.messages.len() < 100 {
            self.messages.push(message());
        }
    }
}

const COMPRESSED: u64 = 1 << 62;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Incompatible features that this check understands: dirty, corrupt, external data, compression type.
const FEATURES: u64 = 0b1111;
/// Largest file that is counted.
const CLUSTER_LIMIT: u64 = 1 << 31;

struct Image {
    file: File,
    header: Vec<u8>,
    cluster_bits: u32,
    used: Vec<u16>,
    /// Where the counts of leaked clusters stand, and their bytes.
    leaks: Vec<(u64, usize)>,
}

fn image(path: &Path, access: Access) -> Result<Image, Error> {
    let file = lock::open(path, access, Direct::No)?;
    let mut header = vec![0; 112];
    let cannot = |source| Error::Work {
        what: "read",
        path: path.to_owned(),
        source,
    };
    read_padded(&file, 0, &mut header).map_err(cannot)?;
    let malformed = |reason: String| Error::Malformed {
        path: path.to_owned(),
        format: Format::Qcow2,
        reason,
    };
    if !header.starts_with(b"QFI\xfb") {
        return Err(malformed("its signature is missing".into()));
    }
    let version = be32(&header, 4);
    let cluster_bits = be32(&header, 20);
    if !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
        return Err(malformed(format!(
            "version {version} with clusters of 2^{cluster_bits} bytes"
        )));
    }
    if version == 3 && be64(&header, 72) & !FEATURES != 0 {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            format: Format::Qcow2,
            reason: "it has features that this check does not know".into(),
        });
    }
    let bytes = file.metadata().map_err(cannot)?.len();
    let clusters = bytes.div_ceil(1 << cluster_bits);
    if clusters > CLUSTER_LIMIT {
        return Err(malformed(format!("the file has {clusters} clusters")));
    }
    Ok(Image {
        file,
        header,
        cluster_bits,
        used: vec![0; clusters as usize],
        leaks: Vec::new(),
    })
}

/// Bytes of a cluster.
pub(crate) fn cluster_bytes(path: &Path) -> Result<u64, Error> {
    Ok(1 << image(path, Access::ReadOnly)?.cluster_bits)
}

/// Checks a qcow2 image; `progress` hears (done, all) L1 entries.
pub fn check(path: &Path, progress: impl FnMut(u64, u64)) -> Result<Report, Error> {
    let mut image = image(path, Access::ReadOnly)?;
    let mut report = Report::default();
    image
        .check(&mut report, progress)
        .map_err(|source| Error::Work {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
    Ok(report)
}

/// The largest image that [`repair_leaks`] looks through, in L1 entries and clusters of the file: a moment's work, since most entries are
/// empty and an L2 table is read once.
const REPAIR_LIMIT: (u32, u64) = (1 << 16, 1 << 21);
/// Header extension of bitmaps, which use clusters that are not followed here.
const BITMAPS: [u8; 4] = [0x23, 0x85, 0x28, 0x75];

/// Takes back the counts of clusters that nothing uses; tells how many. Images with anything that might use clusters in a way that is not
/// followed here, and those with errors, are left alone.
pub(crate) fn repair_leaks(path: &Path) -> Result<u64, Error> {
    let cannot = |source| Error::Work {
        what: "repair",
        path: path.to_owned(),
        source,
    };
    let mut image = image(path, Access::ReadWrite)?;
    let header = &image.header;
    let (l1_limit, cluster_limit) = REPAIR_LIMIT;
    let plain = be32(header, 32) == 0
        && be32(header, 60) == 0
        && (be32(header, 4) == 2 || (be64(header, 72) | be64(header, 88) == 0))
        && be32(header, 36) <= l1_limit
        && image.used.len() as u64 <= cluster_limit;
    let mut first = vec![0; 1 << image.cluster_bits.min(16)];
    read_padded(&image.file, 0, &mut first).map_err(cannot)?;
    if !plain || first.windows(4).any(|w| w == BITMAPS) {
        return Ok(0);
    }
    let mut report = Report::default();
    image.check(&mut report, |_, _| ()).map_err(cannot)?;
    if report.errors > 0 {
        return Ok(0);
    }
    let leaks = std::mem::take(&mut image.leaks);
    for (at, bytes) in &leaks {
        let zero = [0; 8];
        let zero = zero.get(..*bytes).unwrap_or_default();
        image.file.write_all_at(zero, *at).map_err(cannot)?;
    }
    if !leaks.is_empty() {
        image.file.sync_data().map_err(cannot)?;
    }
    Ok(leaks.len() as u64)
}

impl Image {
    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Counts the clusters of a structure.
    fn mark(&mut self, report: &mut Report, what: &str, at: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let (first, last) = (
            at >> self.cluster_bits,
            at.saturating_add(bytes - 1) >> self.cluster_bits,
        );
        if last >= self.used.len() as u64 {
            report.wrong(|| format!("{what} at {at:#x} lies beyond the end of the file"));
            return;
        }
        for n in first..=last {
            if let Some(count) = self.used.get_mut(n as usize) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// A table of big-endian quadwords; what is beyond the file reads as zero.
    fn table(&self, at: u64, entries: u64) -> io::Result<Vec<u64>> {
        let limit = (self.used.len() as u64) << self.cluster_bits;
        let entries = entries.min(limit / 8 + 1);
        let mut bytes = vec![0; (entries * 8) as usize];
        read_padded(&self.file, at, &mut bytes)?;
        Ok((0..entries as usize).map(|n| be64(&bytes, n * 8)).collect())
    }

    fn check(&mut self, report: &mut Report, mut progress: impl FnMut(u64, u64)) -> io::Result<()> {
        report.clusters = self.used.len() as u64;
        let external = be32(&self.header, 4) == 3 && be64(&self.header, 72) & 4 != 0;
        if be32(&self.header, 4) == 3 && be64(&self.header, 72) & 2 != 0 {
            report.wrong(|| "the image is marked as corrupt".into());
        }
        self.mark(report, "the header", 0, self.cluster());
        let (l1_at, l1_entries) = (be64(&self.header, 40), u64::from(be32(&self.header, 36)));
        self.mark(report, "the L1 table", l1_at, l1_entries * 8);
        let l1 = self.table(l1_at, l1_entries)?;
        let mut seen = HashSet::new();
        for (n, entry) in l1.iter().enumerate() {
            progress(n as u64, l1_entries);
            let l2_at = entry & OFFSET;
            if l2_at == 0 {
                continue;
            }
            if l2_at & (self.cluster() - 1) != 0 {
                report.wrong(|| format!("L1 entry {n}: {entry:#x} is no cluster"));
                continue;
            }
            self.mark(report, "an L2 table", l2_at, self.cluster());
            if !seen.insert(l2_at) {
                // Used twice: that is wrong and stands in the counts.
                continue;
            }
            for entry in self.table(l2_at, self.cluster() / 8)? {
                self.data(report, entry, external);
            }
        }
        self.snapshots(report)?;
        self.refcounts(report)?;
        progress(l1_entries, l1_entries);
        Ok(())
    }

    /// One L2 entry.
    fn data(&mut self, report: &mut Report, entry: u64, external: bool) {
        if entry & COMPRESSED != 0 {
            // Descriptor: x = 62 - (cluster_bits - 8) bits of offset, then sectors beyond the first.
            let x = 62 - (self.cluster_bits - 8);
            let at = entry & ((1 << x) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> x;
            let bytes = (sectors + 1) * 512 - (at & 511);
            self.mark(report, "compressed data", at, bytes);
            report.data += 1;
            return;
        }
        let at = entry & OFFSET;
        if at == 0 || external {
            return;
        }
        if at & (self.cluster() - 1) != 0 {
            report.wrong(|| format!("the L2 entry {entry:#x} is no cluster"));
            return;
        }
        report.data += 1;
        self.mark(report, "data", at, self.cluster());
    }

    /// Internal snapshots use clusters of their own and share those of the disk.
    fn snapshots(&mut self, report: &mut Report) -> io::Result<()> {
        let count = be32(&self.header, 60).min(65536);
        let start = be64(&self.header, 64);
        let mut at = start;
        for _ in 0..count {
            let mut entry = [0; 40];
            read_padded(&self.file, at, &mut entry)?;
            let (l1_at, l1_entries) = (be64(&entry, 0), u64::from(be32(&entry, 8)));
            self.mark(report, "a snapshot's L1 table", l1_at, l1_entries * 8);
            for entry in self.table(l1_at, l1_entries)? {
                let l2_at = entry & OFFSET;
                if l2_at != 0 {
                    self.mark(report, "a snapshot's L2 table", l2_at, self.cluster());
                    for entry in self.table(l2_at, self.cluster() / 8)? {
                        self.data(report, entry, false);
                    }
                }
            }
            let [id, name] =
                [12, 14].map(|o| u64::from(u16::from_be_bytes(crate::bytes::array(&entry, o))));
            let extra = u64::from(be32(&entry, 36));
            at = at
                .saturating_add(40 + extra + id + name)
                .next_multiple_of(8);
        }
        if count > 0 {
            self.mark(report, "the snapshot table", start, at - start);
        }
        Ok(())
    }

    /// The image's own counts against ours.
    fn refcounts(&mut self, report: &mut Report) -> io::Result<()> {
        let order = match be32(&self.header, 4) {
            3 => be32(&self.header, 96).min(6),
            _ => 4,
        };
        let bits = 1u64 << order;
        let (at, table_clusters) = (be64(&self.header, 48), u64::from(be32(&self.header, 56)));
        let bytes = table_clusters << self.cluster_bits;
        self.mark(report, "the refcount table", at, bytes);
        let table = self.table(at, bytes / 8)?;
        for block in &table {
            let block_at = block & OFFSET;
            if block_at != 0 {
                self.mark(report, "a refcount block", block_at, self.cluster());
            }
        }
        let per_block = self.cluster() * 8 / bits;
        let mut block = vec![0; self.cluster() as usize];
        let used = std::mem::take(&mut self.used);
        for (number, counts) in used.chunks(per_block as usize).enumerate() {
            let block_at = table.get(number).map_or(0, |b| b & OFFSET);
            match block_at {
                0 => block.fill(0),
                at => read_padded(&self.file, at, &mut block)?,
            }
            for (n, &ours) in counts.iter().enumerate() {
                let theirs = count(&block, n, bits);
                let cluster = number as u64 * per_block + n as u64;
                let ours = u64::from(ours);
                if theirs > ours {
                    report.leaked += 1;
                    let bytes = (bits / 8) as usize;
                    if ours == 0 && bytes > 0 {
                        self.leaks.push((block_at + (n * bytes) as u64, bytes));
                    }
                } else if theirs < ours {
                    report.wrong(|| {
                        format!("cluster {cluster} is used {ours} times and counted {theirs} times")
                    });
                }
            }
        }
        Ok(())
    }
}

/// Entry `n` of a refcount block with `bits` an entry: big-endian, small ones from the low bits up.
fn count(block: &[u8], n: usize, bits: u64) -> u64 {
    let byte = |i: usize| u64::from(block.get(i).copied().unwrap_or(0));
    match bits {
        8.. => {
            let width = (bits / 8) as usize;
            (0..width).fold(0, |v, i| v << 8 | byte(n * width + i))
        }
        _ => {
            let per = (8 / bits) as usize;
            byte(n / per) >> (n % per) as u64 * bits & ((1 << bits) - 1)
        }
    }
}
