//! The real-mode vectors of a Harris 80286 in the evaluator.

use std::collections::BTreeMap;
use testkit::evaluator::real::Real;
use testkit::moo;
use testkit::vectors::{Rule, Verdict, judge};

#[test]
fn vectors_80286() {
    let Some(folder) = moo::folder() else {
        println!("skipped: no vectors beside the repository, and FERRY_VECTORS names none");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder.join("80286"))
        .expect("the folder lists")
        .map(|e| e.expect("an entry").path())
        .collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "gz"));
    files.sort();
    let mut cpu = Real::new();
    let (mut passed, mut total) = (0u32, 0u32);
    let mut excluded: BTreeMap<Rule, u32> = BTreeMap::new();
    let mut failed: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for path in &files {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace(".MOO.gz", "");
        for t in moo::read(path).expect("a readable file") {
            total += 1;
            match judge(&t, &mut cpu) {
                Verdict::Pass => passed += 1,
                Verdict::Excluded(rule) => *excluded.entry(rule).or_default() += 1,
                Verdict::Fail(why) => {
                    cpu.scrub();
                    failed.entry(file.clone()).or_insert((0, why)).0 += 1;
                }
            }
        }
    }
    for (file, (n, first)) in &failed {
        println!("{file}: {n} fail; {first}");
    }
    let out: u32 = excluded.values().sum();
    println!("{passed} of {total} pass; {out} excluded: {excluded:?}");
    assert!(
        failed.is_empty(),
        "{} files have failing tests",
        failed.len()
    );
    assert!(out * 100 < total, "too many exclusions");
}
