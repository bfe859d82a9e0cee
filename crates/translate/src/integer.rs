//! Integers and conditions.

use crate::lift::ClifEmitter;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use hashbrown::HashMap;
use semantics::emit::Width;

/// The CLIF type of a width.
pub(crate) fn kind<W: Width>() -> Type {
    match W::BITS {
        8 => types::I8,
        16 => types::I16,
        32 => types::I32,
        _ => types::I64,
    }
}

/// Which values are parts of each other.
#[derive(Default)]
pub(crate) struct Widths {
    /// What an I64 was zero-extended from.
    origins: HashMap<Value, Value>,
    /// The I64 that a value is the low part of.
    wholes: HashMap<Value, Value>,
    /// What a value was extended to and reduced to on this path.
    extended: HashMap<Value, Value>,
    reduced: HashMap<(Value, Type), Value>,
}

impl Widths {
    pub(crate) fn forget(&mut self) {
        self.extended.clear();
        self.reduced.clear();
    }
}

impl ClifEmitter<'_> {
    pub(crate) fn constant<W: Width>(&mut self, v: u64) -> Value {
        let v = v & W::MASK;
        let signed = (v << (64 - W::BITS)) as i64 >> (64 - W::BITS);
        // An immediate of a narrow type is given zero-extended.
        let given = if W::BITS == 64 { signed } else { v as i64 };
        let c = self.b.ins().iconst(kind::<W>(), given);
        self.constants.insert(c, v);
        c
    }

    /// A constant that is known as one.
    pub(crate) fn known(&self, v: Value) -> Option<u64> {
        self.constants.get(&v).copied()
    }

    pub(crate) fn sum(&mut self, a: Value, b: Value, wide: bool) -> Value {
        let (a, b) = if self.known(a).is_some() {
            (b, a)
        } else {
            (a, b)
        };
        let by = self.known(b);
        if by == Some(0) {
            return a;
        }
        let v = self.b.ins().iadd(a, b);
        if let (true, Some(by)) = (wide, by) {
            self.note_sum(v, a, by as i64);
        }
        v
    }

    pub(crate) fn difference(&mut self, a: Value, b: Value, wide: bool) -> Value {
        let by = self.known(b);
        if by == Some(0) {
            return a;
        }
        let v = self.b.ins().isub(a, b);
        if let (true, Some(by)) = (wide, by) {
            self.note_sum(v, a, (by as i64).wrapping_neg());
        }
        v
    }

    /// `v` is `a` and a constant: small ones are known as distances from where `a` itself comes from.
    fn note_sum(&mut self, v: Value, a: Value, by: i64) {
        let (root, distance) = self.sums.get(&a).copied().unwrap_or((a, 0));
        let all = distance.wrapping_add(by);
        if all.unsigned_abs() < 1 << 30 && by.unsigned_abs() < 1 << 30 {
            self.sums.insert(v, (root, all));
        }
    }

    pub(crate) fn compare(&mut self, c: IntCC, a: Value, b: Value) -> Value {
        let v = self.b.ins().icmp(c, a, b);
        self.conditions.insert(v, (c, a, b));
        v
    }

    pub(crate) fn opposite(&mut self, v: Value) -> Value {
        match self.conditions.get(&v).copied() {
            Some((c, a, b)) => self.compare(c.complement(), a, b),
            None => {
                let zero = self.b.ins().iconst(types::I8, 0);
                self.compare(IntCC::Equal, v, zero)
            }
        }
    }

    /// Zero-extends or truncates.
    pub(crate) fn resize(&mut self, v: Value, from: u32, to: Type) -> Value {
        match from.cmp(&to.bits()) {
            std::cmp::Ordering::Equal => v,
            std::cmp::Ordering::Less => match self.known(v) {
                Some(c) => {
                    let wide = self.b.ins().iconst(to, c as i64);
                    self.constants.insert(wide, c);
                    wide
                }
                None if to == types::I64 => self.extend(v),
                None => self.b.ins().uextend(to, v),
            },
            std::cmp::Ordering::Greater => self.reduce(v, to),
        }
    }

    fn extend(&mut self, v: Value) -> Value {
        if let Some(&wide) = self.widths.extended.get(&v) {
            return wide;
        }
        let wide = self.b.ins().uextend(types::I64, v);
        self.widths.extended.insert(v, wide);
        self.widths.origins.insert(wide, v);
        wide
    }

    fn reduce(&mut self, v: Value, to: Type) -> Value {
        let origin = self.widths.origins.get(&v).copied();
        if let Some(o) = origin
            && self.b.func.dfg.value_type(o) == to
        {
            return o;
        }
        if let Some(&narrow) = self.widths.reduced.get(&(v, to)) {
            return narrow;
        }
        let narrow = self.b.ins().ireduce(to, v);
        self.widths.reduced.insert((v, to), narrow);
        if self.b.func.dfg.value_type(v) == types::I64 {
            self.widths.wholes.insert(narrow, v);
        }
        narrow
    }

    /// An I64 whose low part `v` is.
    pub(crate) fn whole(&mut self, v: Value) -> Option<Value> {
        self.widths.wholes.get(&v).copied()
    }

    /// The upper half of the division's dividend must be what a quotient of one width leaves there: else T1 divides.
    pub(crate) fn expect(&mut self, hi: Value, wanted: Value) {
        let differ = self.b.ins().icmp(IntCC::NotEqual, hi, wanted);
        self.give_up_if(differ);
    }
}
