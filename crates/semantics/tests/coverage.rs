//! Which forms the table has.

use arch::cpuid::{Feature, FeatureSet};
use decode::Code;
use semantics::table;
use std::collections::HashSet;

/// Every form of MMX, SSE to SSE4.2, FXSAVE and XSAVE has a row, and no form has two.
#[test]
fn vector_extensions_are_complete() {
    use Feature::*;
    let vectors = [
        Mmx, Sse, Sse2, Sse3, Ssse3, Sse4_1, Sse4_2, Fxsr, Xsave, Xsaveopt,
    ];
    let known = FeatureSet::of(&vectors).with(Fpu).with(Lm);
    let mut rows = HashSet::new();
    for (code, _, name) in table::forms() {
        assert!(
            rows.insert(code),
            "{code:?} stands twice, the second time as {name}"
        );
    }
    let mut count = 0;
    for code in Code::values() {
        let Some(needs) = decode::required_features(code) else {
            continue;
        };
        if known.covers(needs) && vectors.iter().any(|&f| needs.has(f)) {
            assert!(rows.contains(&code), "{code:?} has no row");
            count += 1;
        }
    }
    assert!(count > 380, "{count} forms");
}
