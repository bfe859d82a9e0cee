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
use translate::Compiled;

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
            self.note_steps(t);
        }
        if self.shows.any()
            && let Err(e) = self.try_show(cpu, t)
        {
            self.trouble.get_or_insert(e);
        }
    }

    /// Keeps what the evaluator is to compare with.
    pub(crate) fn note_steps(&mut self, t: &Translated<'_>) {
        let body = |i: &Insn| {
            let row = table::row::<Cpu>(i.code)?;
            Some(Step {
                body: row.body,
                insn: *i,
            })
        };
        let steps = t.insns.iter().map_while(body).collect();
        self.verify.note_block(t.entry, steps, t.rounds);
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
            && (d.guest || d.host)
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

    /// Tells of a region: its guest code, its Cranelift IR and its host code, one behind the other.
    pub(crate) fn show_region(&mut self, linear: u64, page: &[u8], c: &Compiled, entry: u64) {
        if let Err(e) = self.try_show_region(linear, page, c, entry) {
            self.trouble.get_or_insert(e);
        }
    }

    fn try_show_region(
        &mut self,
        linear: u64,
        page: &[u8],
        c: &Compiled,
        entry: u64,
    ) -> Result<(), Error> {
        let symbols = self.options.symbols.clone();
        let symbol = symbols.and_then(|s| s.name(linear));
        if let Some(map) = &mut self.shows.map {
            let name = match &symbol {
                Some(s) => format!("region {s}"),
                None => format!("region {linear:#x}"),
            };
            map.add(entry, c.code.len(), &name)?;
        }
        let (from, to) = c.plan.extent();
        let base = linear - u64::from(c.plan.head());
        if let (Some(d), Some(out)) = (&self.options.dump, &mut self.shows.dump)
            && d.wants(base + u64::from(from), u64::from(to - from))
        {
            let mut text = format!(
                "region {linear:#x}{}, mode {:#x}: {} instructions in {} blocks; host {entry:#x}, {} bytes, {} ways out\n",
                symbol.map(|s| format!(" {s}")).unwrap_or_default(),
                c.plan.mode.0,
                c.plan.instructions(),
                c.plan.blocks.len(),
                c.code.len(),
                c.exits.len(),
            );
            let mut put = |line: &str| {
                text.push_str("  ");
                text.push_str(line);
                text.push('\n');
            };
            if d.guest {
                for b in &c.plan.blocks {
                    let mut at = b.start;
                    for i in &b.insns {
                        let bytes = page.get(at as usize..).unwrap_or_default();
                        let address = base + u64::from(at);
                        let name = decode::disassemble_any(bytes, c.plan.mode, address).1;
                        put(&format!("{address:x}  {name}"));
                        at += u32::from(i.len);
                    }
                    put("");
                }
            }
            if d.clif {
                c.text.iter().flat_map(|t| t.lines()).for_each(&mut put);
                put("");
            }
            if d.host {
                let mut at = 0;
                while at < c.code.len() {
                    let (line, len) = dump::one(&c.code, entry, at);
                    put(&line);
                    at += len;
                }
            }
            out.write_all(text.as_bytes())
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
