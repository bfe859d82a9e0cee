//! What an instruction does with the status flags, as far as it can be told while decoding (Vol. 1, appendix A).

use crate::{Insn, Operand};
use arch::Rflags;
use iced_x86::Mnemonic as M;

/// What happens to the status flags in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusEffects {
    /// Flags that it reads, or that are seen while it runs: by a fault, a branch or a helper.
    pub reads: Rflags,
    /// Flags that it sets in any case.
    pub writes: Rflags,
}

/// The effects of `i`. What is not known to be harmless sees all flags and sets none.
pub fn status_effects(i: &Insn) -> StatusEffects {
    let effects = |reads, writes| StatusEffects { reads, writes };
    let (none, all) = (Rflags::empty(), Rflags::STATUS);
    let seen = effects(all, none);
    let m = i.code.mnemonic();
    let plain = |o: &Operand| {
        matches!(
            o,
            Operand::Gpr(_) | Operand::GprHigh(_) | Operand::Imm(_) | Operand::None
        )
    };
    let harmless = i.ops.iter().all(plain) || matches!(m, M::Lea | M::Nop);
    if !harmless || i.lock {
        return seen;
    }
    // A masked count of zero leaves the flags alone.
    let counted = i
        .ops
        .iter()
        .any(|o| matches!(o, Operand::Imm(n) if n & 31 != 0));
    match m {
        M::Mov
        | M::Movzx
        | M::Movsx
        | M::Movsxd
        | M::Lea
        | M::Nop
        | M::Not
        | M::Bswap
        | M::Xchg => effects(none, none),
        M::Add
        | M::Sub
        | M::Cmp
        | M::And
        | M::Or
        | M::Xor
        | M::Test
        | M::Neg
        | M::Imul
        | M::Mul => effects(none, all),
        M::Adc | M::Sbb => effects(Rflags::CF, all),
        M::Inc | M::Dec => effects(none, all.difference(Rflags::CF)),
        M::Shl | M::Shr | M::Sar if counted => effects(none, all),
        M::Rol | M::Ror if counted => effects(none, Rflags::CF | Rflags::OF),
        M::Rcl | M::Rcr if counted => effects(Rflags::CF, Rflags::CF | Rflags::OF),
        M::Bt | M::Bts | M::Btr | M::Btc => effects(none, Rflags::CF),
        _ => seen,
    }
}

impl Insn {
    /// Whether the first operand is overwritten without being read: what follows does not depend on what it was. A narrow register's
    /// other bits stay, which is not told here.
    pub fn only_writes_first(&self) -> bool {
        match self.code.mnemonic() {
            M::Mov
            | M::Movzx
            | M::Movsx
            | M::Movsxd
            | M::Lea
            | M::Movaps
            | M::Movups
            | M::Movapd
            | M::Movupd
            | M::Movdqa
            | M::Movdqu
            | M::Movd
            | M::Movq
            | M::Pshufd
            | M::Pshuflw
            | M::Pshufhw
            | M::Cvtps2pd
            | M::Cvtpd2ps
            | M::Cvtdq2ps
            | M::Cvtdq2pd
            | M::Cvttss2si
            | M::Cvttsd2si
            | M::Popcnt => true,
            M::Movss | M::Movsd => self.ops[1] == Operand::Mem,
            M::Xor | M::Pxor | M::Xorps | M::Xorpd | M::Sub => self.ops[0] == self.ops[1],
            _ => false,
        }
    }
}

/// Whether control may come back to the instruction before the next.
fn repeats(i: &Insn) -> bool {
    use M::*;
    matches!(
        i.code.mnemonic(),
        Cmpsb | Cmpsw | Cmpsd | Cmpsq | Scasb | Scasw | Scasd | Scasq
    )
}

/// For each of `insns`, which run one behind the other and then leave, whether no status flag that it leaves can be seen.
pub fn dead_flags(insns: &[Insn], dead: &mut Vec<bool>) {
    dead.clear();
    dead.resize(insns.len(), false);
    let mut live = Rflags::STATUS;
    for (i, d) in insns.iter().zip(dead.iter_mut()).rev() {
        // Between two iterations an interrupt sees those of a string instruction.
        *d = live.is_empty() && !repeats(i);
        let e = status_effects(i);
        live = live.difference(e.writes) | e.reads;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::{Mode, Size};

    fn dead(code: &[u8]) -> Vec<bool> {
        let mode = Mode::new(Size::B64, 3, Mode::FLAT);
        let (mut insns, mut at) = (Vec::new(), 0);
        while at < code.len() {
            let i = crate::decode(&code[at..], mode).expect("an instruction");
            at += usize::from(i.len);
            insns.push(i);
        }
        let mut out = Vec::new();
        dead_flags(&insns, &mut out);
        out
    }

    #[test]
    fn flags_are_dead_where_they_are_overwritten_unseen() {
        // ror eax, 6; xor eax, edx; add eax, [rsp]; cmp eax, edx
        let code = [0xc1, 0xc8, 6, 0x31, 0xd0, 0x03, 0x04, 0x24, 0x39, 0xd0];
        assert_eq!(dead(&code), [true, false, true, false]);
    }

    #[test]
    fn a_carry_that_inc_keeps_is_not_dead() {
        // sub eax, edx; inc ecx; adc eax, 0; xor eax, eax
        let code = [0x29, 0xd0, 0xff, 0xc1, 0x83, 0xd0, 0, 0x31, 0xc0];
        assert_eq!(dead(&code), [false, false, true, false]);
    }
}
