//! Vectors: 128 bits, held as bytes.

use crate::emit::Typed;
use crate::integer::kind;
use crate::lift::ClifEmitter;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use semantics::emit::{W64, Width};
use semantics::vector::VecOp;

fn lanes<W: Width>() -> Type {
    match W::BITS {
        8 => I8X16,
        16 => I16X8,
        32 => I32X4,
        _ => I64X2,
    }
}

impl ClifEmitter<'_> {
    /// The same bits as lanes of another kind.
    fn as_lanes(&mut self, kind: Type, v: Value) -> Value {
        if self.b.func.dfg.value_type(v) == kind {
            return v;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.b.ins().bitcast(kind, flags, v)
    }

    /// T1 raises what a crooked address of a vector raises.
    pub(crate) fn aligned(&mut self, addr: Typed<W64>) {
        let low = self.b.ins().band_imm_s(addr.0, 15);
        let crooked = self.b.ins().icmp_imm_u(IntCC::NotEqual, low, 0);
        self.give_up_if(crooked);
    }

    pub(crate) fn lanes_from<W: Width>(&mut self, v: Value) -> Value {
        let v = match W::BITS {
            8 | 16 => self.resize(v, W::BITS, types::I32),
            _ => v,
        };
        let kind = if W::BITS == 64 { I64X2 } else { I32X4 };
        let v = self.b.ins().scalar_to_vector(kind, v);
        self.as_lanes(I8X16, v)
    }

    pub(crate) fn lane<W: Width>(&mut self, v: Value, n: u32) -> Value {
        let v = self.as_lanes(lanes::<W>(), v);
        let n = (n & (16 / W::BYTES - 1)) as u8;
        let lane = self.b.ins().extractlane(v, n);
        debug_assert_eq!(self.b.func.dfg.value_type(lane), kind::<W>());
        lane
    }

    pub(crate) fn with_lane<W: Width>(&mut self, v: Value, n: u32, lane: Value) -> Value {
        let v = self.as_lanes(lanes::<W>(), v);
        let n = (n & (16 / W::BYTES - 1)) as u8;
        let v = self.b.ins().insertlane(v, lane, n);
        self.as_lanes(I8X16, v)
    }

    /// The operation in a few instructions of the host; `None` if T1 does it better.
    pub(crate) fn vector_operation(&mut self, op: VecOp, a: Value, b: Value) -> Option<Value> {
        use VecOp as V;
        let (kind, write): (Type, fn(&mut Self, Value, Value) -> Value) = match op {
            V::And => (I64X2, |e, a, b| e.b.ins().band(a, b)),
            V::AndNot => (I64X2, |e, a, b| e.b.ins().band_not(b, a)),
            V::Or => (I64X2, |e, a, b| e.b.ins().bor(a, b)),
            V::Xor => (I64X2, |e, a, b| e.b.ins().bxor(a, b)),
            V::Paddb => (I8X16, |e, a, b| e.b.ins().iadd(a, b)),
            V::Paddw => (I16X8, |e, a, b| e.b.ins().iadd(a, b)),
            V::Paddd => (I32X4, |e, a, b| e.b.ins().iadd(a, b)),
            V::Paddq => (I64X2, |e, a, b| e.b.ins().iadd(a, b)),
            V::Psubb => (I8X16, |e, a, b| e.b.ins().isub(a, b)),
            V::Psubw => (I16X8, |e, a, b| e.b.ins().isub(a, b)),
            V::Psubd => (I32X4, |e, a, b| e.b.ins().isub(a, b)),
            V::Psubq => (I64X2, |e, a, b| e.b.ins().isub(a, b)),
            V::Pminub => (I8X16, |e, a, b| e.b.ins().umin(a, b)),
            V::Pmaxub => (I8X16, |e, a, b| e.b.ins().umax(a, b)),
            V::Pcmpeqb => (I8X16, |e, a, b| e.b.ins().icmp(IntCC::Equal, a, b)),
            V::Pcmpeqw => (I16X8, |e, a, b| e.b.ins().icmp(IntCC::Equal, a, b)),
            V::Pcmpeqd => (I32X4, |e, a, b| e.b.ins().icmp(IntCC::Equal, a, b)),
            V::Pcmpgtb => (I8X16, |e, a, b| {
                e.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
            }),
            V::Pcmpgtw => (I16X8, |e, a, b| {
                e.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
            }),
            V::Pcmpgtd => (I32X4, |e, a, b| {
                e.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
            }),
            _ => return None,
        };
        let (a, b) = (self.as_lanes(kind, a), self.as_lanes(kind, b));
        let v = write(self, a, b);
        Some(self.as_lanes(I8X16, v))
    }
}
