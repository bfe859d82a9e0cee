//! What is told of each block when it has been translated: to `--verify`, `--dump` and the perf map.

use crate::dump::{self, Listing};
use crate::perfmap::PerfMap;
use crate::run::Engine;
use crate::{Error, Options};
use cpu::Cpu;
use cpu::block::Step;
use decode::Insn;
use semantics::table;
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Where it goes.
pub(crate) struct Shows {
    dump: Option<Box<dyn Write + Send>>,
    map: Option<PerfMap>,
}

/// A block that has been translated.
pub(crate) struct Translated<'a> {
    pub linear: u64,
    /// Guest-physical.
    pub addr: u64,
    pub insns: &'a [Insn],
    /// The host code, and its address.
    pub host: Vec<u8>,
    pub entry: u64,
    /// The rare ways: address and bytes.
    pub rare: (u64, Vec<u8>),
    pub marks: Vec<u32>,
    /// It goes on at its start by itself.
    pub rounds: bool,
}

impl Shows {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let dump: Option<Box<dyn Write + Send>> = match &options.dump {
            None => None,
            Some(d) => Some(match &d.file {
                None => Box::new(io::stderr()),
                Some(path) => {
                    let file = File::create(path).map_err(|source| Error::Write {
                        path: path.clone(),
                        source,
                    })?;
                    Box::new(BufWriter::new(file))
                }
            }),
        };
        let map = options.perf_map.then(PerfMap::create).transpose()?;
        Ok(Self { dump, map })
    }

    pub(crate) fn any(&self) -> bool {
        self.dump.is_some() || self.map.is_some()
    }
}

impl Engine {
    /// Tells of a translation.
    pub(crate) fn show(&mut self, cpu: &mut Cpu, t: &Translated<'_>) {
        if self.options.verify {
            let body = |i: &Insn| {
                let row = table::row::<Cpu>(i.code)?;
                Some(Step {
                    body: row.body,
                    insn: *i,
                })
            };
            let steps = t.insns.iter().map_while(body).collect();
            self.verify.steps.insert(t.entry, (steps, t.rounds));
        }
        if self.shows.any()
            && let Err(e) = self.try_show(cpu, t)
        {
            self.trouble.get_or_insert(e);
        }
    }

    fn try_show(&mut self, cpu: &mut Cpu, t: &Translated<'_>) -> Result<(), Error> {
        let symbols = self.options.symbols.clone();
        let symbol = symbols.and_then(|s| s.name(t.linear));
        if let Some(map) = &mut self.shows.map {
            let name = match &symbol {
                Some(s) => format!("guest {s}"),
                None => format!("guest {:#x}", t.linear),
            };
            map.add(t.entry, t.host.len(), &name)?;
            map.add(t.rare.0, t.rare.1.len(), &format!("{name} (rare)"))?;
        }
        let bytes = t.insns.iter().map(|i| u64::from(i.len)).sum();
        if let (Some(d), Some(to)) = (&self.options.dump, &mut self.shows.dump)
            && d.wants(t.linear, bytes)
        {
            let guest = dump::guest(cpu, cpu.mode, cpu.rip, t.insns);
            let listing = Listing {
                title: format!(
                    "block {:#x}{}, guest-physical {:#x}, mode {:#x}: {} instructions, {bytes} bytes; host {:#x}, {} bytes, rare ways {:#x}, {} bytes",
                    t.linear,
                    symbol.map(|s| format!(" {s}")).unwrap_or_default(),
                    t.addr,
                    cpu.mode.0,
                    t.insns.len(),
                    t.entry,
                    t.host.len(),
                    t.rare.0,
                    t.rare.1.len()
                ),
                guest,
                host: &t.host,
                at: t.entry,
                rare: (t.rare.0, &t.rare.1),
                marks: &t.marks,
            };
            to.write_all(listing.text(d).as_bytes())
                .map_err(|source| Error::Write {
                    path: d.file.clone().unwrap_or_else(|| "standard error".into()),
                    source,
                })?;
        }
        Ok(())
    }

    /// What is told is out when a run ends.
    pub(crate) fn flush_shows(&mut self) {
        let map = self.shows.map.as_mut().map_or(Ok(()), PerfMap::flush);
        let dump = self.shows.dump.as_mut().map_or(Ok(()), |d| d.flush());
        let dump = dump.map_err(|source| Error::Write {
            path: "the dump".into(),
            source,
        });
        if let Err(e) = map.and(dump) {
            self.trouble.get_or_insert(e);
        }
    }
}
