//! The board: wiring, loaders, ACPI tables; run, pause, reset.
