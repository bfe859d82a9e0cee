//! What can be seen of a machine that stands still: registers, devices and where they answer, PCI functions.

use crate::Machine;
use arch::{Seg, Segment};
use bus::AccessSize;
use devices::pci::Address;
use serde_json::{Value, json};

const GPR: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

fn hex(v: u64) -> Value {
    format!("{v:#x}").into()
}

fn segment(s: &Segment) -> Value {
    json!({
        "selector": hex(s.selector.into()),
        "base": hex(s.base),
        "limit": hex(s.limit.into()),
        "attributes": hex(s.attributes.into()),
    })
}

impl Machine {
    /// The processor's registers.
    pub fn registers(&mut self) -> Value {
        let rflags = self.cpu.rflags();
        let c = &self.cpu;
        let mut r = json!({
            "rip": hex(c.rip),
            "rflags": hex(rflags),
            "cpl": c.cpl,
            "halted": c.halted,
            "cr0": hex(c.mmu.paging.cr0.bits()),
            "cr2": hex(c.cr2),
            "cr3": hex(c.mmu.paging.cr3),
            "cr4": hex(c.mmu.paging.cr4.bits()),
            "efer": hex(c.mmu.paging.efer.bits()),
            "ldtr": segment(&c.ldtr),
            "tr": segment(&c.tr),
            "gdtr": { "base": hex(c.gdtr.base), "limit": hex(c.gdtr.limit.into()) },
            "idtr": { "base": hex(c.idtr.base), "limit": hex(c.idtr.limit.into()) },
        });
        for (name, v) in GPR.iter().zip(c.gpr) {
            r[*name] = hex(v);
        }
        for (name, seg) in [
            ("cs", Seg::Cs),
            ("ss", Seg::Ss),
            ("ds", Seg::Ds),
            ("es", Seg::Es),
            ("fs", Seg::Fs),
            ("gs", Seg::Gs),
        ] {
            r[name] = segment(&c.seg[seg as usize]);
        }
        r
    }

    /// The devices, each with the ranges at which it answers now.
    pub fn devices(&self) -> Value {
        let ranges = |list: Vec<(usize, u64, u64)>, n: usize| -> Vec<Value> {
            let own = list.into_iter().filter(|r| r.0 == n);
            own.map(|(_, first, last)| format!("{first:#x}-{last:#x}").into())
                .collect()
        };
        let names = self.bus.names().into_iter().enumerate();
        names
            .map(|(n, name)| {
                json!({
                    "name": name,
                    "ports": ranges(self.bus.port_ranges(), n),
                    "memory": ranges(self.bus.mmio_ranges(), n),
                })
            })
            .collect()
    }

    /// The functions of PCI bus 0.
    pub fn pci_functions(&self) -> Value {
        let dword = |at, offset| self.pci.config_read(at, offset, AccessSize::Dword);
        let all = (0..32).flat_map(|d| (0..8).map(move |f| (d, f)));
        all.filter_map(|(device, function)| {
            let at = Address::new(device, function);
            let id = dword(at, 0);
            if id == u32::MAX {
                return None;
            }
            let bars: Vec<Value> = (0..6)
                .map(|n| hex(dword(at, 0x10 + 4 * n).into()))
                .collect();
            Some(json!({
                "address": format!("00:{device:02x}.{function}"),
                "vendor": format!("{:04x}", id & 0xffff),
                "device": format!("{:04x}", id >> 16),
                "class": format!("{:06x}", dword(at, 8) >> 8),
                "command": hex((dword(at, 4) & 0xffff).into()),
                "bars": bars,
                "interrupt": dword(at, 0x3c) & 0xff,
            }))
        })
        .collect()
    }
}
