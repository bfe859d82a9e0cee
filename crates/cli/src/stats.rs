//! `--stats`: the counters of the processor as text or JSON.

use serde_json::Value;
use std::fmt::Write;

/// One line a counter, nested names joined by dots.
pub fn text(stats: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", stats, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<width$}  {value}");
    }
    out
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let join = |key: &str| match name {
        "" => key.to_string(),
        _ => format!("{name}.{key}"),
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| flatten(&join(k), v, lines)),
        Value::Array(list) => {
            for (i, v) in list.iter().enumerate() {
                flatten(&join(&i.to_string()), v, lines);
            }
        }
        Value::String(s) => lines.push((name.to_string(), s.clone())),
        other => lines.push((name.to_string(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_counters_become_lines() {
        let v = serde_json::json!({"tlb": {"hits": 1, "misses": [2, 3]}, "x": "y"});
        assert_eq!(
            text(&v),
            "tlb.hits      1\ntlb.misses.0  2\ntlb.misses.1  3\nx             y\n"
        );
    }
}
