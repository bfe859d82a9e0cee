//! What LOCK comes to where one processor runs: nobody looks at memory between the load and the store of an instruction (Vol. 3A, 9.1).
//! Devices that write memory beside the processor are not a second one: drivers share no word with them that both modify.

use crate::emit::{Emit, Rmw, W64, Width};
use arch::Seg;

/// [`Emit::rmw`] as a load and a store.
pub fn rmw<E: Emit, W: Width>(
    e: &mut E,
    op: Rmw,
    seg: Seg,
    addr: E::Val<W64>,
    v: E::Val<W>,
) -> Result<E::Val<W>, E::Stop> {
    let old = e.load_modify::<W>(seg, addr)?;
    let new = match op {
        Rmw::Add => e.add(old, v),
        Rmw::And => e.and(old, v),
        Rmw::Or => e.or(old, v),
        Rmw::Xor => e.xor(old, v),
        Rmw::Xchg => v,
    };
    e.store::<W>(seg, addr, new)?;
    Ok(old)
}

/// [`Emit::cas`] as a load and a store.
pub fn cas<E: Emit, W: Width>(
    e: &mut E,
    seg: Seg,
    addr: E::Val<W64>,
    expected: E::Val<W>,
    new: E::Val<W>,
) -> Result<E::Val<W>, E::Stop> {
    let old = e.load_modify::<W>(seg, addr)?;
    let same = e.eq::<W>(old, expected);
    let v = e.select::<W>(same, new, old);
    e.store::<W>(seg, addr, v)?;
    Ok(old)
}
