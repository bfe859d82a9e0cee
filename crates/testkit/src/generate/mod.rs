//! Random cases over iced's instruction table, reproducible from (seed, index).
//!
//! A case is made in three steps: encode a row with random operands ([`encode`]), decode the bytes as the CPU will, and aim the state
//! at what was decoded ([`aim`]), so that odd prefixes and REX bits are as well served as the plain form.

pub mod aim;
pub mod codes;
pub mod encode;
pub mod values;

use crate::case::{Bits, CODE, Case, State};
use crate::rng::Rng;
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic};

/// Makes cases.
pub struct Generator {
    seed: u64,
    codes: [Vec<Code>; 3],
    info: InstructionInfoFactory,
}

const MODES: [Bits; 3] = [Bits::B16, Bits::B32, Bits::B64];

impl Generator {
    /// All rows that this host can run.
    pub fn new(seed: u64) -> Self {
        Self::with_filter(seed, |_| true)
    }

    /// Only rows for which `keep` holds.
    pub fn with_filter(seed: u64, keep: impl Fn(Code) -> bool) -> Self {
        let codes = MODES.map(|bits| {
            let mut codes = codes::codes(bits);
            codes.retain(|&c| codes::host_has(c) && keep(c));
            codes
        });
        Self {
            seed,
            codes,
            info: InstructionInfoFactory::new(),
        }
    }

    /// The rows for `bits`.
    pub fn codes(&self, bits: Bits) -> &[Code] {
        &self.codes[bits as usize]
    }

    /// Whether an operand lies in the kernel's half of the address space: what a user access meets there is the host kernel's business,
    /// and a paravirtual host's may end the child for it.
    fn touches_kernel(&mut self, case: &Case, i: &Instruction) -> bool {
        let used = self.info.info(i).used_memory();
        case.bits == Bits::B64
            && used
                .iter()
                .any(|m| aim::linear(case, m) >= 0xffff_7fff_ffff_f000)
    }

    /// Case `index`, and what it decodes to. `None` only if no row is left by the filter.
    pub fn case(&mut self, index: u64) -> Option<(Case, Instruction)> {
        let mut rng = Rng::new(self.seed, index);
        // A try can fail: an operand combination without encoding, or prefixes that made another instruction of it.
        for _ in 0..1000 {
            let bits = match rng.below(20) {
                0 | 1 => Bits::B16,
                2..=7 => Bits::B32,
                _ => Bits::B64,
            };
            let rows = &self.codes[bits as usize];
            if rows.is_empty() {
                continue;
            }
            let code = rng.pick(rows);
            let start = CODE + 0x200 + rng.below(0xc00);
            let rip = start - bits.cs_base();
            let Some(bytes) = encode::encode(&mut rng, code, bits, rip) else {
                continue;
            };
            let i = encode::decode(bits, rip, &bytes);
            if !accept(bits, &bytes, &i)
                || rows.binary_search(&i.code()).is_err() && i.code() != Code::INVALID
            {
                continue;
            }
            let mut gpr = [0; 16];
            gpr.fill_with(|| rng.edge());
            let state = State {
                gpr,
                rip,
                rflags: values::rflags(&mut rng),
                seg: [0; 6],
                fx: values::fxsave(&mut rng),
            };
            let mut case = Case {
                seed: self.seed,
                index,
                bits,
                code: bytes,
                state,
                mem: Vec::new(),
            };
            aim::Aim::new(&mut rng, &mut case, i).run(&mut self.info);
            if self.touches_kernel(&case, &i) {
                continue;
            }
            return Some((case, i));
        }
        None
    }
}

/// Whether `bytes` are one whole instruction that both vendors know, or an instruction that only LOCK makes invalid.
fn accept(bits: Bits, bytes: &[u8], i: &Instruction) -> bool {
    if i.code() != Code::INVALID {
        // 66 before a near return in 64-bit mode: ignored by Intel, a 16-bit return on AMD.
        if bits == Bits::B64 && i.mnemonic() == Mnemonic::Ret && bytes.contains(&0x66) {
            return false;
        }
        return i.len() == bytes.len() && codes::excluded(i.code(), bits).is_none();
    }
    let rest: Vec<u8> = bytes.iter().copied().filter(|&b| b != 0xf0).collect();
    if rest.len() + 1 != bytes.len() {
        return false;
    }
    let i = encode::decode(bits, 0, &rest);
    // At CPL 3 a privileged instruction with LOCK has two reasons to fault, and the vendors choose differently.
    let plain = i.code() != Code::INVALID && i.len() == rest.len() && i.code().op_code().cpl3();
    // LOCK VERW is executed by AMD processors.
    plain
        && !matches!(i.mnemonic(), Mnemonic::Verr | Mnemonic::Verw)
        && !i.code().op_code().is_input_output()
        && codes::excluded(i.code(), bits).is_none()
}

#[cfg(test)]
mod tests;
