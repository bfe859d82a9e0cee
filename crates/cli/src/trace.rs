//! `--trace`: friendly names for the machine's events.
//!
//! An event is printed if its target was asked for, or if it names a device (the bus does) that was.

use crate::config::{Refusal, refuse};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

/// What a category stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// All events.
    All,
    /// Events of targets with these beginnings.
    Targets(&'static [&'static str]),
    /// Accesses to the device of this name.
    Device(&'static str),
}

/// Category, what it shows in words, and in terms of the machine.
const CATEGORIES: &[(&str, &str, Shows)] = &[
    ("all", "everything below", Shows::All),
    (
        "machine",
        "power on, reset, stop",
        Shows::Targets(&["machine"]),
    ),
    (
        "cpu",
        "exceptions, interrupts and refused model-specific registers",
        Shows::Targets(&["cpu"]),
    ),
    (
        "regions",
        "hot loops compiled, and those that did not pay",
        Shows::Targets(&["regions"]),
    ),
    (
        "exception",
        "exceptions that the guest takes",
        Shows::Targets(&["cpu::exception"]),
    ),
    (
        "interrupt",
        "interrupts that the processor takes",
        Shows::Targets(&["cpu::interrupt"]),
    ),
    (
        "msr",
        "refused model-specific registers",
        Shows::Targets(&["cpu::msr"]),
    ),
    (
        "port",
        "port reads and writes",
        Shows::Targets(&["bus::port"]),
    ),
    (
        "mmio",
        "memory-mapped reads and writes",
        Shows::Targets(&["bus::mmio"]),
    ),
    (
        "post",
        "codes written to port 0x80",
        Shows::Targets(&["devices::post"]),
    ),
    ("pic", "accesses to the 8259 pair", Shows::Device("i8259")),
    (
        "ioapic",
        "accesses to the I/O APIC",
        Shows::Device("ioapic"),
    ),
    ("pit", "accesses to the 8254 timer", Shows::Device("i8254")),
    (
        "hpet",
        "accesses to the high precision event timer",
        Shows::Device("hpet"),
    ),
    (
        "rtc",
        "accesses to the real-time clock",
        Shows::Device("mc146818"),
    ),
    (
        "acpi",
        "accesses to the ACPI power management block",
        Shows::Device("acpi-pm"),
    ),
    (
        "serial",
        "accesses to the serial port",
        Shows::Device("uart0"),
    ),
    (
        "keyboard",
        "accesses to the keyboard controller",
        Shows::Device("i8042"),
    ),
    (
        "pci",
        "accesses to PCI configuration space",
        Shows::Device("pci"),
    ),
    (
        "dma",
        "accesses to the DMA controllers",
        Shows::Device("i8237"),
    ),
];

/// Which events are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    shows: Vec<Shows>,
}

/// The list that `--trace help` prints.
pub fn list() -> String {
    let line = |(name, what, _): &(&str, &str, Shows)| format!("{name:<10} {what}");
    CATEGORIES.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Selection {
    /// Categories separated by commas.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let find = |name: &str| {
            let found = CATEGORIES.iter().find(|(n, ..)| *n == name);
            found.map(|(.., shows)| *shows).ok_or_else(|| {
                let names: Vec<_> = CATEGORIES.iter().map(|(n, ..)| *n).collect();
                let names = names.join(", ");
                refuse(
                    "--trace",
                    format!("unknown category '{name}'; accepted are {names}, separated by commas"),
                )
            })
        };
        let shows = text.split(',').map(str::trim).map(find);
        Ok(Self {
            shows: shows.collect::<Result<_, _>>()?,
        })
    }

    /// Prints the selected events to standard error from now on.
    pub fn start(self) {
        let print = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .without_time()
            .with_level(false)
            .with_ansi(false)
            .fmt_fields(debug_fn(write_field).delimited(" "));
        tracing_subscriber::registry().with(self).with(print).init();
    }

    /// Whether some event of this target may be shown.
    fn may_show(&self, target: &str) -> bool {
        self.shows.iter().any(|s| match s {
            Shows::All => true,
            Shows::Targets(wanted) => is_within(target, wanted),
            Shows::Device(_) => target.starts_with("bus::"),
        })
    }

    fn shows(&self, target: &str, device: Option<&str>) -> bool {
        self.shows.iter().any(|s| match s {
            Shows::All => true,
            Shows::Targets(wanted) => is_within(target, wanted),
            Shows::Device(name) => device == Some(name),
        })
    }
}

fn is_within(target: &str, wanted: &[&str]) -> bool {
    let within = |w: &&str| {
        target
            .strip_prefix(w)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    wanted.iter().any(within)
}

impl<S: Subscriber> Layer<S> for Selection {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::TRACE && self.may_show(metadata.target())
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let mut device = DeviceName::default();
        event.record(&mut device);
        self.shows(event.metadata().target(), device.0.as_deref())
    }
}

/// Picks the field "device" out of an event.
#[derive(Default)]
struct DeviceName(Option<String>);

impl Visit for DeviceName {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "device" {
            self.0 = Some(value.to_string());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Numbers in hexadecimal, as manuals and disassemblies write them.
fn write_field(
    to: &mut tracing_subscriber::fmt::format::Writer<'_>,
    field: &Field,
    value: &dyn fmt::Debug,
) -> fmt::Result {
    match field.name() {
        "message" => write!(to, "{value:?}"),
        name => write!(to, "{name}={value:#x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_add_up() {
        let s = Selection::parse("exception, port,pit").unwrap();
        assert!(s.shows("cpu::exception", None));
        assert!(!s.shows("cpu::interrupt", None));
        assert!(s.shows("bus::port", Some("i8042")));
        assert!(!s.shows("bus::mmio", Some("hpet")) && s.may_show("bus::mmio"));
        assert!(s.shows("bus::mmio", Some("i8254")));
        assert!(
            Selection::parse("cpu")
                .unwrap()
                .shows("cpu::interrupt", None)
        );
        assert!(!Selection::parse("cpu").unwrap().shows("cpuid", None));
    }

    #[test]
    fn unknown_categories_are_refused() {
        let e = Selection::parse("port,bogus").unwrap_err().to_string();
        assert!(e.contains("'bogus'") && e.contains("mmio"), "{e}");
        assert!(Selection::parse("").is_err());
    }
}
