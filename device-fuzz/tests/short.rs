//! A moment of each device's campaign, and what the campaign relies on.

use device_fuzz::campaign::Campaign;
use device_fuzz::drive::{self, Seen};
use device_fuzz::{ROWS, input, table};

/// Every device takes some hundred inputs, and answers.
fn check(name: &str) {
    let row = table::by_name(name).expect("a row");
    let mut campaign = Campaign::new(row, 7);
    for _ in 0..300 {
        let input = campaign.invent();
        campaign.run(input);
    }
    let (kept, seen) = campaign.found();
    assert!(
        kept > 3 && seen > 100,
        "{name}: {kept} inputs, {seen} answers"
    );
}

macro_rules! devices {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { check($name); })*
        /// A new row gets its test.
        #[test]
        fn every_row_has_a_test() {
            let names: Vec<&str> = ROWS.iter().map(|r| r.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

devices! {
    uart16550: "uart16550",
    i8254: "i8254",
    i8259: "i8259",
    mc146818: "mc146818",
    i8042: "i8042",
    hpet: "hpet",
    ioapic: "ioapic",
    local_apic: "local-apic",
    acpi_pm: "acpi-pm",
    i8237: "i8237",
    reset: "reset",
    fw_cfg: "fw-cfg",
    testdev: "testdev",
    flash: "flash",
    floppy: "floppy",
    ide: "ide",
    ahci: "ahci",
    vga: "vga",
    pci_config: "pci-config",
    virtio_blk: "virtio-blk",
    virtio_rng: "virtio-rng",
    virtio_net: "virtio-net",
    e1000: "e1000",
    rtl8139: "rtl8139",
    virtio_9p: "virtio-9p",
}

/// The actions reach what registers alone do not: a disk's bytes come to memory by DMA of each controller.
#[test]
fn inputs_reach_dma() {
    for name in ["floppy", "ide", "ahci", "virtio-blk"] {
        // Some hundred inputs are enough as a rule; a campaign that took a wrong turn is begun anew.
        let tries = (3..11).find_map(|seed| inputs_until_dma(name, seed, 2000));
        assert!(tries.is_some(), "{name}");
    }
}

/// How many inputs it takes until sectors came to memory, if it is no more than `most`.
fn inputs_until_dma(name: &str, seed: u64, most: u32) -> Option<u32> {
    let row = table::by_name(name)?;
    let mut campaign = Campaign::new(row, seed);
    (1..=most).find(|_| {
        let bytes = campaign.invent();
        let mut target = (row.make)();
        drive::run(&mut target, &bytes, &mut Seen::default());
        campaign.run(bytes);
        let mut play = vec![0; input::PLAY_BYTES as usize];
        let read = target
            .world
            .ram
            .read(arch::GuestPhys(input::PLAY), &mut play);
        read.expect("memory to play in is RAM");
        // Longer than what an input itself stores there at once.
        play.chunks(256)
            .any(|c| c[0] != 0 && c.iter().all(|b| *b == c[0]))
    })
}
