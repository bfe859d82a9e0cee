//! `cargo xtask check`: what CI checks, on this machine. `.ci/run` has the same steps.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::host;

/// What CI checks
#[derive(clap::Args)]
pub struct Args {
    /// Only these steps
    #[arg(long, value_delimiter = ',')]
    only: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// rustfmt
    Format,
    /// clippy, warnings denied
    Lints,
    /// crates/README.md against Cargo
    Map,
    /// tools/test
    Tests,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for step in Step::value_variants() {
        if !args.only.is_empty() && !args.only.contains(step) {
            continue;
        }
        let start = Instant::now();
        let result = match step {
            Step::Format => repo_command("cargo", &["fmt", "--all", "--check"]),
            Step::Lints => repo_command(
                "cargo",
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
            ),
            Step::Map => check_map(),
            Step::Tests => repo_command("tools/test", &[]),
        };
        let seconds = start.elapsed().as_secs();
        match result {
            Ok(()) => host::say(&format!("{step:?}: passed in {seconds} s")),
            Err(error) => {
                host::say(&format!("{step:?}: FAILED in {seconds} s: {error:#}"));
                failed.push(step);
            }
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("failed: {failed:?}")
}

fn repo_command(program: &str, args: &[&str]) -> Result<()> {
    let repo = host::repo()?;
    let path = match program.contains('/') {
        true => repo.join(program),
        false => program.into(),
    };
    let status = Command::new(path).args(args).current_dir(&repo).status()?;
    ensure!(
        status.success(),
        "{program} {} ended with {status}",
        args.join(" ")
    );
    Ok(())
}

/// One row of the table in `crates/README.md`.
struct Row {
    layer: Option<u32>,
    uses: Vec<String>,
}

/// Holds the crate table of `crates/README.md` against what Cargo says: every crate has a row, uses what its row says at most,
/// and only lower layers.
fn check_map() -> Result<()> {
    let repo = host::repo()?;
    let text = std::fs::read_to_string(repo.join("crates/README.md"))
        .context("crates/README.md, the code map")?;
    let metadata = host::output_text(host::command("cargo").current_dir(&repo).args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let complaints = compare(&table(&text), &dependencies(&metadata)?);
    ensure!(
        complaints.is_empty(),
        "crates/README.md:\n  {}",
        complaints.join("\n  ")
    );
    Ok(())
}

fn table(text: &str) -> BTreeMap<String, Row> {
    let unquote = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, layer, name, uses, _, ..] = cells[..]
            && name.starts_with('`')
        {
            let uses = uses
                .split(',')
                .map(unquote)
                .filter(|name| !name.is_empty())
                .collect();
            rows.insert(
                unquote(name),
                Row {
                    layer: layer.parse().ok(),
                    uses,
                },
            );
        }
    }
    rows
}

/// The crates of the workspace (by the name of their folder) and which of them each uses, dev-dependencies aside.
fn dependencies(metadata: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata)?;
    // Ferry's crates are known by their folder; the tools are no part of the program.
    let folder = |manifest: &str| {
        let dir = manifest.strip_suffix("/Cargo.toml")?;
        let (_, name) = dir.rsplit_once('/')?;
        (name != "xtask").then(|| name.to_owned())
    };
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut crates = BTreeMap::new();
    for package in packages {
        let Some(name) = package["manifest_path"].as_str().and_then(folder) else {
            continue;
        };
        let listed = package["dependencies"].as_array().into_iter().flatten();
        let uses = listed
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| {
                folder(&format!("{}/Cargo.toml", dependency["path"].as_str()?))
            })
            .collect();
        crates.insert(name, uses);
    }
    Ok(crates)
}

fn compare(table: &BTreeMap<String, Row>, crates: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in table.keys().filter(|name| !crates.contains_key(*name)) {
        complaints.push(format!("`{name}` has a row, but there is no such crate"));
    }
    for (name, uses) in crates {
        let Some(row) = table.get(name) else {
            complaints.push(format!("`{name}` has no row"));
            continue;
        };
        let Some(layer) = row.layer else {
            continue; // for tests only: outside the layers
        };
        for used in uses.iter().filter(|used| !row.uses.contains(used)) {
            complaints.push(format!(
                "`{name}` uses `{used}`, which its row does not name"
            ));
        }
        for used in &row.uses {
            if table
                .get(used)
                .and_then(|row| row.layer)
                .is_none_or(|below| below >= layer)
            {
                complaints.push(format!(
                    "`{name}` (layer {layer}) may not use `{used}`: not on a lower layer"
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| layer | crate | uses | is |\n|---|---|---|---|\n| 0 | `arch` | | words |\n\
                         | 1 | `decode` | `arch` | bytes |\n| - | `testkit` | any | tests |\n";

    fn check(crates: &[(&str, &[&str])]) -> Vec<String> {
        let crates = crates.iter().map(|(name, uses)| {
            (
                name.to_string(),
                uses.iter().map(|used| used.to_string()).collect(),
            )
        });
        compare(&table(TABLE), &crates.collect())
    }

    #[test]
    fn the_table_holds_what_cargo_says() {
        assert!(
            check(&[
                ("arch", &[]),
                ("decode", &["arch"]),
                ("testkit", &["decode"])
            ])
            .is_empty()
        );
        let complaints = check(&[("arch", &["decode"]), ("new", &[]), ("testkit", &[])]);
        assert_eq!(
            complaints,
            [
                "`decode` has a row, but there is no such crate",
                "`arch` uses `decode`, which its row does not name",
                "`new` has no row"
            ]
        );
    }

    #[test]
    fn a_row_may_not_name_its_own_layer() {
        let text = "| 1 | `a` | `b` | |\n| 1 | `b` | | |\n";
        let crates = BTreeMap::from([("a".to_owned(), vec![]), ("b".to_owned(), vec![])]);
        assert_eq!(compare(&table(text), &crates).len(), 1);
    }

    #[test]
    fn the_code_map_is_true() {
        check_map().unwrap();
    }
}
