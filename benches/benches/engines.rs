//! Translation cost, chained blocks, TLB hits and misses, the evaluator.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Translation, decoding included, of random blocks: time for each guest instruction.
#[cfg(target_arch = "x86_64")]
fn translation(c: &mut Criterion) {
    use arch::{Mode, Size};
    use baseline::{Baseline, x64::X64};
    use testkit::blocks::Maker;
    let mode = Mode::new(
        Size::B64,
        3,
        Mode::PROTECTED
            | Mode::LONG
            | Mode::FLAT
            | Mode::OSFXSR
            | Mode::FP_MASKED
            | Mode::X87_MASKED,
    );
    let maker = Maker::new(1);
    let blocks: Vec<Vec<u8>> = (0..2000)
        .map(|n| maker.block(n).0)
        .filter(|b| b.bits == testkit::case::Bits::B64)
        .map(|b| b.assemble())
        .collect();
    let decode = |code: &[u8], to: &mut Vec<decode::Insn>| {
        to.clear();
        let mut at = 0;
        while let Ok(i) = decode::decode(&code[at..], mode) {
            at += usize::from(i.len);
            to.push(i);
        }
    };
    let mut insns = Vec::new();
    let total: usize = blocks
        .iter()
        .map(|b| {
            decode(b, &mut insns);
            insns.len()
        })
        .sum();
    let mut group = c.benchmark_group("translation");
    group.throughput(Throughput::Elements(total as u64));
    group.bench_function("decoding", |b| {
        b.iter(|| blocks.iter().for_each(|block| decode(block, &mut insns)));
    });
    let mut writer = Baseline::<X64>::new();
    group.bench_function("decoding and writing", |b| {
        b.iter(|| {
            let mut bytes = 0;
            for block in &blocks {
                decode(block, &mut insns);
                bytes += writer
                    .translate(mode, 0, &insns, None)
                    .map_or(0, |b| b.code.len());
            }
            bytes
        });
    });
    group.finish();
}

/// Guest instructions in loops, by engine.
#[cfg(target_arch = "x86_64")]
fn execution(c: &mut Criterion) {
    use benches::{CHAIN, HITS, LOOP};
    use testkit::blocks::Rounds;
    const ROUNDS: u32 = 10_000;
    let mut group = c.benchmark_group("execution");
    for program in [LOOP, CHAIN, HITS] {
        let mut rounds = Rounds::new(program.code).expect("memory for code");
        let count = program.instructions * u64::from(ROUNDS);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("translated: {}", program.name), |b| {
            b.iter(|| rounds.translated(ROUNDS));
        });
        group.bench_function(format!("evaluator: {}", program.name), |b| {
            b.iter(|| rounds.evaluated(ROUNDS));
        });
    }
    // One access a page, nothing in the TLB: the page walk.
    let mut rounds = Rounds::new(HITS.code).expect("memory for code");
    group.throughput(Throughput::Elements(1));
    group.bench_function("entry and leave", |b| b.iter(|| rounds.translated(1)));
    group.bench_function("entry and leave with a TLB miss", |b| {
        b.iter(|| {
            rounds.forget();
            rounds.translated(1)
        });
    });
    group.bench_function("evaluator: a round with a TLB miss", |b| {
        b.iter(|| {
            rounds.forget();
            rounds.evaluated(1)
        });
    });
    group.finish();
}

#[cfg(not(target_arch = "x86_64"))]
fn translation(_: &mut Criterion) {}

#[cfg(not(target_arch = "x86_64"))]
fn execution(_: &mut Criterion) {}

criterion_group!(all, translation, execution);
criterion_main!(all);
