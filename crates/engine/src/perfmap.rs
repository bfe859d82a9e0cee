//! Names of translated code: the guest's symbols, and the map that perf(1) reads.
//!
//! perf takes `/tmp/perf-PID.map` for code that belongs to no file: a line a block, `START SIZE name` in hexadecimal (Linux,
//! `tools/perf/Documentation/jit-interface.txt`). A place in the code cache that is used again has several lines there.

use crate::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Symbols of a kernel, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(Vec<(u64, String)>);

/// Distance from a symbol at which code is hardly its own any more.
const FAR: u64 = 1 << 20;

impl Symbols {
    /// Reads what `nm` and the kernel's `System.map` consist of: lines of address, type and name. The code among it is taken.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for (n, line) in (1..).zip(text.lines()) {
            let mut words = line.split_whitespace();
            let (Some(addr), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
            else {
                return Err(format!("line {n} is not an address, a type and a name"));
            };
            let addr = u64::from_str_radix(addr, 16)
                .map_err(|_| format!("line {n}: '{addr}' is not an address in hexadecimal"))?;
            if matches!(kind, "T" | "t" | "W" | "w") {
                all.push((addr, name.to_string()));
            }
        }
        if all.is_empty() {
            return Err("there is no symbol of code (type T, t, W or w)".into());
        }
        all.sort_by_key(|s| s.0);
        Ok(Self(all))
    }

    /// The symbol that an address belongs to, with the distance from it.
    pub fn name(&self, addr: u64) -> Option<String> {
        let after = self.0.partition_point(|s| s.0 <= addr);
        let (start, name) = self.0.get(after.checked_sub(1)?)?;
        let distance = addr - start;
        match distance {
            0 => Some(name.clone()),
            d if d < FAR => Some(format!("{name}+{d:#x}")),
            _ => None,
        }
    }
}

/// The map of this process.
pub struct PerfMap {
    file: BufWriter<File>,
    path: PathBuf,
}

impl PerfMap {
    pub fn create() -> Result<Self, Error> {
        let path = Path::new("/tmp").join(format!("perf-{}.map", std::process::id()));
        let file = File::create(&path).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            file: BufWriter::new(file),
            path,
        })
    }

    /// `len` bytes of host code at `at` are the guest's `name`.
    pub fn add(&mut self, at: u64, len: usize, name: &str) -> Result<(), Error> {
        writeln!(self.file, "{at:x} {len:x} {name}").map_err(|e| self.trouble(e))
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|e| self.trouble(e))
    }

    fn trouble(&self, source: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_the_symbol_before() {
        let map = "ffffffff81000000 T _stext\nffffffff81000100 t early\nffffffff81000180 D data\n";
        let s = Symbols::parse(map).unwrap();
        assert_eq!(s.name(0xffff_ffff_8100_0000).as_deref(), Some("_stext"));
        assert_eq!(
            s.name(0xffff_ffff_8100_00ff).as_deref(),
            Some("_stext+0xff")
        );
        assert_eq!(s.name(0xffff_ffff_8100_0190).as_deref(), Some("early+0x90"));
        assert_eq!(s.name(0x401000), None);
        assert_eq!(s.name(u64::MAX), None);
    }

    #[test]
    fn what_is_no_symbol_map_is_refused() {
        let of = |t: &str| Symbols::parse(t).unwrap_err();
        assert!(of("").contains("no symbol of code"));
        assert!(of("hello\n").contains("line 1"));
        assert!(of("0 T a\nxyz T b\n").contains("line 2: 'xyz'"));
    }
}
