//! `--trace`: friendly names for the targets of the machine's events.

use crate::config::{Refusal, refuse};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Category, what it shows, targets.
const CATEGORIES: &[(&str, &str, &[&str])] = &[
    ("all", "everything below", &[]),
    ("machine", "start, reset, stop", &["machine"]),
    (
        "cpu",
        "the processor: modes, exceptions, interrupts, model-specific registers",
        &["cpu"],
    ),
    (
        "exception",
        "exceptions that the guest takes",
        &["cpu::exception"],
    ),
    (
        "interrupt",
        "interrupts, from the line to the processor",
        &[
            "cpu::interrupt",
            "devices::irq",
            "devices::i8259",
            "devices::ioapic",
            "devices::local_apic",
        ],
    ),
    ("port", "port reads and writes", &["bus::port"]),
    ("mmio", "memory-mapped reads and writes", &["bus::mmio"]),
    ("pic", "8259 pair", &["devices::i8259"]),
    ("ioapic", "I/O APIC", &["devices::ioapic"]),
    ("apic", "local APIC", &["devices::local_apic"]),
    ("pit", "8254 timer", &["devices::i8254"]),
    ("hpet", "high precision event timer", &["devices::hpet"]),
    ("rtc", "real-time clock and CMOS", &["devices::rtc"]),
    (
        "acpi",
        "power management",
        &["devices::acpi_pm", "devices::pm"],
    ),
    (
        "serial",
        "16550 serial line",
        &["devices::uart16550", "devices::ns16550", "devices::uart"],
    ),
    ("keyboard", "i8042 keyboard controller", &["devices::i8042"]),
    ("devices", "all devices", &["devices"]),
];

/// Which events are printed.
#[derive(Debug)]
pub struct Selection {
    targets: Vec<&'static str>,
}

/// The list that `--trace help` prints.
pub fn list() -> String {
    let line = |(name, what, _): &(&str, &str, &[&str])| format!("{name:<10} {what}");
    CATEGORIES.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Selection {
    /// Categories separated by commas.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let mut targets = Vec::new();
        for name in text.split(',').map(str::trim) {
            let found = CATEGORIES.iter().find(|(n, ..)| *n == name);
            let (_, _, wanted) = found.ok_or_else(|| {
                let names: Vec<_> = CATEGORIES.iter().map(|(n, ..)| *n).collect();
                let names = names.join(", ");
                refuse(
                    "--trace",
                    format!("unknown category '{name}'; accepted are {names}, separated by commas"),
                )
            })?;
            match name {
                "all" => targets.extend(CATEGORIES.iter().flat_map(|(_, _, t)| t.iter())),
                _ => targets.extend(wanted.iter()),
            }
        }
        Ok(Self { targets })
    }

    /// Prints the selected events to standard error from now on.
    pub fn start(&self) {
        let filter = Targets::new().with_targets(self.targets.iter().map(|t| (*t, Level::TRACE)));
        let print = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .without_time()
            .with_level(false)
            .with_ansi(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(print)
            .init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_add_up() {
        let s = Selection::parse("exception, port").unwrap();
        assert_eq!(s.targets, ["cpu::exception", "bus::port"]);
        assert!(
            Selection::parse("all")
                .unwrap()
                .targets
                .contains(&"devices")
        );
        let e = Selection::parse("port,bogus").unwrap_err().to_string();
        assert!(e.contains("'bogus'") && e.contains("mmio"), "{e}");
        assert!(Selection::parse("").is_err());
    }
}
