//! What a machine tells about itself, as JSON.

use machine::Machine;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// All counters: the processor's, the translator's, and what the run cost the host.
pub fn stats(machine: &Machine) -> serde_json::Result<Value> {
    let of_cpu = machine.stats();
    let instructions = of_cpu.instructions;
    let mut stats = serde_json::to_value(of_cpu)?;
    if let Some(engine) = machine.engine_stats() {
        stats["engine"] = serde_json::to_value(engine)?;
    }
    let seconds = cpu_seconds();
    stats["cpu_seconds"] = rounded(seconds);
    stats["mips"] = rounded(instructions as f64 / 1e6 / seconds.max(1e-9));
    Ok(stats)
}

/// The drives whose media can be changed.
pub(crate) fn block(machine: &Machine) -> Value {
    json!({ "removable": machine.media().names() })
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn rounded(v: f64) -> Value {
    ((v * 1e3).round() / 1e3).into()
}
