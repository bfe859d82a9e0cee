//! Compare what an engine made of a case with what the host's CPU made of it.

use crate::case::{Bits, CHUNK, Case, Outcome, State, byte_before};
use crate::generate::Generator;
use crate::native::{Lost, Native, Unavailable};
use crate::undefined::{self, Open, Tolerance};
use iced_x86::{Code, Formatter, Instruction, IntelFormatter};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Something that runs cases: an evaluator, a translator.
pub trait Engine {
    /// Run one instruction.
    fn run(&mut self, case: &Case) -> Outcome;
}

/// Names of [`State::gpr`].
pub const GPR: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEG: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
/// End of user addresses under Linux.
const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;
/// TF and RF depend on how a case is stopped.
const FLAGS_COMPARED: u64 = 0x003f_ffff & !0x1_0100;

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Register, flag or address.
    pub what: String,
    /// The host's value.
    pub native: String,
    /// The engine's value.
    pub engine: String,
}

struct List(Vec<Difference>);

impl List {
    fn hex(&mut self, what: &str, native: u64, engine: u64) {
        if native != engine {
            self.0.push(Difference {
                what: what.to_string(),
                native: format!("{native:#x}"),
                engine: format!("{engine:#x}"),
            });
        }
    }

    fn text(&mut self, what: &str, native: String, engine: String) {
        if native != engine {
            self.0.push(Difference {
                what: what.to_string(),
                native,
                engine,
            });
        }
    }
}

/// What differs, less what is open.
pub fn compare(
    case: &Case,
    i: &Instruction,
    native: &Outcome,
    engine: &Outcome,
) -> Vec<Difference> {
    let open = undefined::open(case, i, native);
    if open.all {
        return Vec::new();
    }
    let mut list = List(Vec::new());
    if !(open.fault_order && native.fault.is_some() && engine.fault.is_some()) {
        list.text("fault", fault(native), fault(engine));
    }
    let (n, e) = (&native.state, &engine.state);
    let mask = if case.bits == Bits::B64 && n.seg[1] == Bits::B64.cs() {
        u64::MAX
    } else {
        0xffff_ffff
    };
    list.hex("rip", n.rip & mask, e.rip & mask);
    for (r, name) in GPR.iter().enumerate() {
        let mask = if r < 8 { mask } else { u64::MAX };
        let destination = Some(r) == crate::generate::aim::gpr_index(i.op0_register());
        if !(open.registers || open.destination && destination) {
            list.hex(name, n.gpr[r] & mask, e.gpr[r] & mask);
        }
    }
    let flags = FLAGS_COMPARED & !open.flags;
    if (n.rflags ^ e.rflags) & flags != 0 {
        list.text(
            "rflags",
            flag_names(n.rflags & flags),
            flag_names(e.rflags & flags),
        );
        if list.0.last().is_none_or(|d| d.what != "rflags") {
            list.hex("rflags", n.rflags & flags, e.rflags & flags);
        }
    }
    for (s, name) in SEG.iter().enumerate() {
        list.hex(name, null(n.seg[s]), null(e.seg[s]));
    }
    x87(&mut list, &open, n, e);
    sse(&mut list, &open, n, e);
    memory(&mut list, &open, case, native, engine);
    list.0
}

/// The trap that ends a case returns through IRET, which makes a null selector 0 whatever its RPL was (SDM Vol. 2A, IRET).
fn null(selector: u16) -> u64 {
    if selector < 4 { 0 } else { selector.into() }
}

fn fault(o: &Outcome) -> String {
    match o.fault {
        None => "none".to_string(),
        // In the kernel's half, and in the last page before it, Linux reports P = 1 whatever is there.
        Some(f) if f.vector == 14 => {
            let hidden = u32::from(f.cr2 >= TASK_SIZE_MAX);
            format!("#PF({:#x}) at {:#x}", f.error | hidden, f.cr2)
        }
        Some(f) => format!("vector {} ({:#x})", f.vector, f.error),
    }
}

fn flag_names(flags: u64) -> String {
    const NAMES: [(u64, &str); 12] = [
        (1, "CF"),
        (4, "PF"),
        (0x10, "AF"),
        (0x40, "ZF"),
        (0x80, "SF"),
        (0x200, "IF"),
        (0x400, "DF"),
        (0x800, "OF"),
        (0x3000, "IOPL"),
        (0x4000, "NT"),
        (0x4_0000, "AC"),
        (0x20_0000, "ID"),
    ];
    let set: Vec<&str> = NAMES
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|&(_, name)| name)
        .collect();
    set.join(" ")
}

fn x87(list: &mut List, open: &Open, n: &State, e: &State) {
    list.hex("fcw", u64::from(n.fx16(0)), u64::from(e.fx16(0)));
    list.hex(
        "fsw",
        u64::from(n.fx16(2) & !open.fsw),
        u64::from(e.fx16(2) & !open.fsw),
    );
    list.hex("ftw", u64::from(n.fx[4]), u64::from(e.fx[4]));
    for r in 0..8 {
        let (a, b) = (n.st(r), e.st(r));
        let near = matches!(open.tolerance, Tolerance::Ulps(ulps) if ulp_distance(a, b) <= ulps);
        if a != b && !near {
            list.text(&format!("st({r})"), hex80(a), hex80(b));
        }
    }
}

fn sse(list: &mut List, open: &Open, n: &State, e: &State) {
    list.hex("mxcsr", u64::from(n.mxcsr()), u64::from(e.mxcsr()));
    for r in 0..16 {
        let (a, b) = (n.xmm(r), e.xmm(r));
        let near = matches!(open.tolerance, Tolerance::Relative(limit) if lanes_near(a, b, limit));
        if a != b && !near {
            list.text(&format!("xmm{r}"), format!("{a:032x}"), format!("{b:032x}"));
        }
    }
}

fn hex80(v: [u8; 10]) -> String {
    v.iter().rev().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Distance of two 80-bit values in units of the last place; far if signs or kinds differ.
fn ulp_distance(a: [u8; 10], b: [u8; 10]) -> u64 {
    let order = |v: [u8; 10]| {
        let significand = u64::from_le_bytes(std::array::from_fn(|i| v[i]));
        let head = u16::from_le_bytes([v[8], v[9]]);
        (
            head >> 15,
            u128::from(head & 0x7fff) << 63 | u128::from(significand & (u64::MAX >> 1)),
            head & 0x7fff == 0x7fff,
        )
    };
    let ((sa, va, specials_a), (sb, vb, specials_b)) = (order(a), order(b));
    if sa != sb || specials_a || specials_b {
        return if a == b { 0 } else { u64::MAX };
    }
    u64::try_from(va.abs_diff(vb)).unwrap_or(u64::MAX)
}

/// Whether all singles are within `limit` of each other. A result about the least normal number may be flushed to zero (SDM Vol. 2B,
/// RCPPS: between 1.111...b * 2^125 and 2^126 it is open).
fn lanes_near(a: u128, b: u128, limit: f32) -> bool {
    (0..4).all(|lane| {
        let (x, y) = ((a >> (32 * lane)) as u32, (b >> (32 * lane)) as u32);
        let (fx, fy) = (f32::from_bits(x), f32::from_bits(y));
        let flushed = (x ^ y) >> 31 == 0
            && fx.abs().min(fy.abs()) == 0.0
            && fx.abs().max(fy.abs()) <= f32::MIN_POSITIVE * (1.0 + limit);
        let near = fx.is_normal() && fy.is_normal() && (fx - fy).abs() <= fx.abs() * limit;
        x == y || flushed || near
    })
}

fn memory(list: &mut List, open: &Open, case: &Case, native: &Outcome, engine: &Outcome) {
    let addresses: std::collections::BTreeSet<u64> = native
        .mem
        .iter()
        .chain(&engine.mem)
        .map(|c| c.addr)
        .collect();
    let find = |o: &Outcome, addr| o.mem.iter().find(|c| c.addr == addr).map(|c| c.bytes);
    for addr in addresses {
        let before: [u8; CHUNK] = std::array::from_fn(|i| byte_before(case, addr + i as u64));
        let (n, e) = (
            find(native, addr).unwrap_or(before),
            find(engine, addr).unwrap_or(before),
        );
        let differs: Vec<usize> = (0..CHUNK)
            .filter(|&i| {
                let at = addr + i as u64;
                n[i] != e[i]
                    && !(open.partial_stores && e[i] == before[i])
                    && !open
                        .memory
                        .iter()
                        .any(|&(from, to)| (from..to).contains(&at))
            })
            .collect();
        if let (Some(&from), Some(&to)) = (differs.first(), differs.last())
            && !open.destination
        {
            let text = |b: &[u8]| {
                b.iter()
                    .map(|b| format!("{b:02x}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            list.text(
                &format!("[{:#x}]", addr + from as u64),
                text(&n[from..=to]),
                text(&e[from..=to]),
            );
        }
    }
}

/// The instruction in Intel's syntax.
pub fn disassemble(i: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(i, &mut text);
    text
}

/// All that is worth knowing about a mismatch, and the line that shows it again.
pub fn describe(case: &Case, i: &Instruction, differences: &[Difference], options: &str) -> String {
    let mut s = String::new();
    let bytes: Vec<String> = case.code.iter().map(|b| format!("{b:02x}")).collect();
    let _ = writeln!(
        s,
        "case {}: {}-bit  {}   ; {} {:?}",
        case.index,
        case.bits.count(),
        disassemble(i),
        bytes.join(" "),
        i.code()
    );
    let state = &case.state;
    for (n, row) in state.gpr.chunks(4).enumerate() {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(k, v)| format!("{:>4} {v:016x}", GPR[4 * n + k]))
            .collect();
        let _ = writeln!(s, "  {}", cells.join(" "));
    }
    let seg: Vec<String> = (0..6)
        .map(|k| format!("{} {:02x}", SEG[k], state.seg[k]))
        .collect();
    let _ = writeln!(
        s,
        "  rip {:x} flags {:x} ({}) {}",
        state.rip,
        state.rflags,
        flag_names(state.rflags),
        seg.join(" ")
    );
    if undefined::is_x87(i)
        || i.op_kinds().any(|_| true) && format!("{:?}", i.code()).contains("mm")
    {
        let _ = writeln!(
            s,
            "  fcw {:x} fsw {:x} ftw {:x} mxcsr {:x}",
            state.fx16(0),
            state.fx16(2),
            state.fx[4],
            state.mxcsr()
        );
    }
    if undefined::is_x87(i) {
        for r in 0..8 {
            let _ = writeln!(s, "  st({r}) {}", hex80(state.st(r)));
        }
    } else if format!("{:?}", i.code()).contains("xmm") {
        for r in i.op_kinds().enumerate().filter_map(|(n, _)| {
            let r = i.op_register(n as u32);
            r.is_xmm().then(|| r.number())
        }) {
            let _ = writeln!(s, "  xmm{r} {:032x}", state.xmm(r));
        }
    }
    for p in &case.mem {
        let bytes: Vec<String> = p
            .bytes
            .iter()
            .take(32)
            .map(|b| format!("{b:02x}"))
            .collect();
        let _ = writeln!(s, "  [{:x}] {}", p.addr, bytes.join(" "));
    }
    for d in differences {
        let _ = writeln!(s, "  {:<8} host {}   engine {}", d.what, d.native, d.engine);
    }
    let _ = writeln!(
        s,
        "  again: cargo xtask insn-diff --seed {} --only {}{options}",
        case.seed, case.index
    );
    s
}

/// What a run found.
#[derive(Default)]
pub struct Report {
    /// Cases run.
    pub cases: u64,
    /// Cases that differed.
    pub mismatches: u64,
    /// Cases that the host could not answer, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Mismatches by row of iced's table, with the first index.
    pub by_code: BTreeMap<String, (u64, u64)>,
    /// Descriptions of the first mismatches.
    pub shown: Vec<String>,
}

impl Report {
    /// Add another thread's findings.
    pub fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.mismatches += other.mismatches;
        for (why, n) in other.lost {
            *self.lost.entry(why).or_default() += n;
        }
        for (code, (n, first)) in other.by_code {
            let entry = self.by_code.entry(code).or_insert((0, first));
            entry.0 += n;
            entry.1 = entry.1.min(first);
        }
        self.shown.extend(other.shown);
    }
}

/// What to run.
#[derive(Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// First case and number of cases.
    pub first: u64,
    /// Number of cases.
    pub count: u64,
    /// Which rows.
    pub keep: fn(Code, &str) -> bool,
    /// The second argument of `keep`.
    pub filter: String,
    /// What to add to the line that shows a mismatch again.
    pub options: String,
    /// How many mismatches to describe; of each row at most a few.
    pub show: usize,
}

const BATCH: u64 = 4096;

/// Run `plan` on the host and in `engine`.
pub fn run(plan: &Plan, engine: &mut dyn Engine) -> Result<Report, Unavailable> {
    let mut native = Native::new()?;
    let keep = |code: Code| (plan.keep)(code, &plan.filter);
    let mut generator = Generator::with_filter(plan.seed, keep);
    let mut report = Report::default();
    let end = plan.first + plan.count;
    let mut first = plan.first;
    while first < end {
        let cases: Vec<(Case, Instruction)> = (first..end.min(first + BATCH))
            .filter_map(|index| generator.case(index))
            .collect();
        let batch: Vec<Case> = cases.iter().map(|c| c.0.clone()).collect();
        let outcomes = native.run(&batch);
        for ((case, i), outcome) in cases.iter().zip(outcomes) {
            judge(&mut report, plan, &mut native, engine, case, i, outcome);
        }
        first += BATCH;
    }
    Ok(report)
}

fn judge(
    report: &mut Report,
    plan: &Plan,
    native: &mut Native,
    engine: &mut dyn Engine,
    case: &Case,
    i: &Instruction,
    outcome: Result<Outcome, Lost>,
) {
    report.cases += 1;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(why) => {
            *report
                .lost
                .entry(format!("{:?}: {why}", i.code()))
                .or_default() += 1;
            return;
        }
    };
    if plan.count == 1 {
        // A case asked for by number is shown whatever comes of it.
        println!("{}", describe(case, i, &[], &plan.options));
    }
    let result = engine.run(case);
    let mut differences = compare(case, i, &outcome, &result);
    if !differences.is_empty() {
        // An interrupt of the host in the middle can disturb what hardware does not save (the upper half of ESP on a 16-bit stack).
        if let Some(Ok(again)) = native.run(std::slice::from_ref(case)).pop() {
            differences = compare(case, i, &again, &result);
        }
    }
    if differences.is_empty() {
        return;
    }
    report.mismatches += 1;
    let entry = report
        .by_code
        .entry(format!("{:?}", i.code()))
        .or_insert((0, case.index));
    entry.0 += 1;
    if entry.0 <= 2 && report.shown.len() < plan.show {
        report
            .shown
            .push(describe(case, i, &differences, &plan.options));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second child as engine: cases must be functions of their inputs.
    struct Twin(Native);

    impl Engine for Twin {
        fn run(&mut self, case: &Case) -> Outcome {
            self.0
                .run(std::slice::from_ref(case))
                .pop()
                .and_then(Result::ok)
                .expect("the twin answers")
        }
    }

    #[test]
    fn the_host_agrees_with_itself() {
        let Ok(native) = Native::new() else {
            println!("skipped: no native oracle on this host");
            return;
        };
        let plan = Plan {
            seed: 5,
            first: 0,
            count: 30_000,
            keep: |_, _| true,
            filter: String::new(),
            options: String::new(),
            show: 5,
        };
        let report = run(&plan, &mut Twin(native)).expect("the oracle starts");
        for text in &report.shown {
            println!("{text}");
        }
        assert_eq!(
            (report.cases, report.mismatches),
            (30_000, 0),
            "{:?}",
            report.by_code
        );
    }

    #[test]
    fn distance_counts_units_in_the_last_place() {
        let one = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f];
        let above = [1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f];
        let below = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x3f];
        assert_eq!(
            (ulp_distance(one, above), ulp_distance(below, above)),
            (1, 2)
        );
    }
}
