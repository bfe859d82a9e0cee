//! The pair of 8259A interrupt controllers (Intel 8259A datasheet, order 231468; ELCR: 82371SB, 3.4.3).
//!
//! Edges latch: a request seen once stays until it is acknowledged, even if the wire falls before (the real chip would then answer
//! with its spurious level 7). Level inputs follow their wire.
//! Invariant: the pair's lock is taken after that of any chip that drives it, and before the lock of whoever listens to INTR.

use crate::lock;
use bus::line::IrqSink;
use bus::{AccessSize, Device, IrqLine};
use regs::*;
use snapshot::{Error, Section};
use state::{Chip, Init, State};
use std::sync::{Arc, Mutex};

/// Region number of the master's two ports (0x20).
pub const REGION_MASTER: usize = 0;
/// Region number of the slave's two ports (0xA0).
pub const REGION_SLAVE: usize = 1;
/// Region number of the edge/level control registers (0x4D0, 0x4D1).
pub const REGION_ELCR: usize = 2;

mod regs {
    /// ICW1: command word that starts the initialization sequence.
    pub const ICW1_INIT: u8 = 1 << 4;
    pub const ICW1_IC4: u8 = 1 << 0;
    pub const ICW1_SNGL: u8 = 1 << 1;
    pub const ICW1_LTIM: u8 = 1 << 3;
    pub const ICW4_AEOI: u8 = 1 << 1;
    pub const ICW4_SFNM: u8 = 1 << 4;
    /// OCW3 is told from OCW2 by this bit.
    pub const OCW3_SELECT: u8 = 1 << 3;
    pub const OCW3_POLL: u8 = 1 << 2;
    pub const OCW3_RR: u8 = 1 << 1;
    pub const OCW3_RIS: u8 = 1 << 0;
    pub const OCW3_ESMM: u8 = 1 << 6;
    pub const OCW3_SMM: u8 = 1 << 5;
    /// The master's input that the slave's INT is wired to.
    pub const CASCADE: u8 = 2;
    /// ELCR bits that can be set: never the timer, the keyboard, the cascade, the RTC, the FPU.
    pub const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];
}

/// The two chips of a PC. Clones are handles to the same pair.
#[derive(Clone)]
pub struct I8259 {
    shared: Arc<Shared>,
}

struct Shared {
    pair: Mutex<Pair>,
}

struct Pair {
    s: State,
    intr: IrqLine,
}

impl I8259 {
    /// A pair in power-on state, whose INTR output drives `intr`.
    pub fn new(intr: IrqLine) -> Self {
        Self {
            shared: Arc::new(Shared {
                pair: Mutex::new(Pair {
                    s: State::default(),
                    intr,
                }),
            }),
        }
    }

    /// The wire to input `irq` (0-15) of the pair.
    pub fn line(&self, irq: u32) -> IrqLine {
        IrqLine::new(self.shared.clone(), irq)
    }

    /// Two INTA cycles: the vector of the request of highest priority, or that of level 7 if it went away ("spurious").
    pub fn acknowledge(&self) -> u8 {
        lock(&self.shared.pair).acknowledge()
    }

    /// For the APIC bus, which must not keep the pair alive.
    pub(crate) fn acknowledger(&self) -> impl Fn() -> Option<u8> + Send + Sync + 'static {
        let weak = Arc::downgrade(&self.shared);
        move || weak.upgrade().map(|s| lock(&s.pair).acknowledge())
    }
}

impl IrqSink for Shared {
    fn set_level(&self, input: u32, level: bool) {
        let mut pair = lock(&self.pair);
        let chip = usize::from(input & 8 != 0);
        pair.s.chips[chip].set_input(input as u8 & 7, level);
        pair.update();
    }
}

impl Pair {
    /// Carries the slave's INT to the master and the master's to the processor.
    fn update(&mut self) {
        let [master, slave] = &mut self.s.chips;
        master.set_input(CASCADE, slave.request(false).is_some());
        let level = master.request(true).is_some();
        if level != self.s.intr {
            self.s.intr = level;
            self.intr.set(level);
        }
    }

    fn acknowledge(&mut self) -> u8 {
        let [master, slave] = &mut self.s.chips;
        let level = master.request(true);
        let vector = match level {
            Some(CASCADE) => {
                let inner = slave.request(false);
                if let Some(n) = inner {
                    slave.take(n);
                }
                master.take(CASCADE);
                slave.base | inner.unwrap_or(7)
            }
            Some(n) => {
                master.take(n);
                master.base | n
            }
            None => master.base | 7,
        };
        self.update();
        vector
    }

    fn chip(&mut self, region: usize) -> &mut Chip {
        &mut self.s.chips[usize::from(region == REGION_SLAVE)]
    }

    fn read(&mut self, region: usize, a0: bool) -> u8 {
        let master = region != REGION_SLAVE;
        let chip = self.chip(region);
        if chip.poll {
            // "The 8259A treats the next RD pulse as an interrupt acknowledge" (datasheet, "Poll Command").
            chip.poll = false;
            let word = match chip.request(master) {
                Some(n) => {
                    chip.take(n);
                    0x80 | n
                }
                None => 0,
            };
            self.update();
            return word;
        }
        match (a0, chip.read_isr) {
            (true, _) => chip.imr,
            (false, true) => chip.isr,
            (false, false) => chip.irr,
        }
    }

    fn write(&mut self, region: usize, a0: bool, value: u8) {
        let chip = self.chip(region);
        match a0 {
            false if value & ICW1_INIT != 0 => chip.icw1(value),
            false if value & OCW3_SELECT != 0 => chip.ocw3(value),
            false => chip.ocw2(value),
            true => chip.data(value),
        }
        self.update();
    }

    fn elcr_write(&mut self, chip: usize, value: u8) {
        if let (Some(c), Some(mask)) = (self.s.chips.get_mut(chip), ELCR_WRITABLE.get(chip)) {
            c.elcr = value & mask;
            c.follow_levels();
        }
        self.update();
    }
}

impl Chip {
    /// Inputs that follow their wire.
    fn level_mask(&self) -> u8 {
        if self.ltim {
            0xff
        } else {
            self.elcr | self.cascade
        }
    }

    fn set_input(&mut self, n: u8, level: bool) {
        let bit = 1 << (n & 7);
        if level {
            if self.lines & bit == 0 {
                self.irr |= bit;
            }
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
        self.follow_levels();
    }

    fn follow_levels(&mut self) {
        let level = self.level_mask();
        self.irr = self.irr & !level | self.lines & level;
    }

    /// Bits of `mask` by falling priority: the level after the lowest one comes first.
    fn highest(&self, mask: u8) -> Option<u8> {
        (1..=8u8)
            .map(|i| self.lowest.wrapping_add(i) & 7)
            .find(|n| mask & 1 << n != 0)
    }

    fn rank(&self, n: u8) -> u8 {
        n.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    /// The level that INT asks for, if any.
    fn request(&self, master: bool) -> Option<u8> {
        let wanted = self.highest(self.irr & !self.imr)?;
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        // Special fully nested mode: a slave in service is not locked out (datasheet, "Special Fully Nest Mode").
        if self.sfnm && master {
            serving &= !(1 << CASCADE);
        }
        match self.highest(serving) {
            Some(s) if self.rank(s) <= self.rank(wanted) => None,
            _ => Some(wanted),
        }
    }

    /// INTA for level `n`.
    fn take(&mut self, n: u8) {
        let bit = 1 << (n & 7);
        if self.level_mask() & bit == 0 {
            self.irr &= !bit;
        }
        if self.aeoi {
            if self.rotate_aeoi {
                self.lowest = n & 7;
            }
        } else {
            self.isr |= bit;
        }
    }

    fn icw1(&mut self, value: u8) {
        let Chip {
            lines,
            elcr,
            base,
            cascade,
            ..
        } = *self;
        *self = Chip {
            lines,
            elcr,
            base,
            cascade,
            ltim: value & ICW1_LTIM != 0,
            init: Init::Icw2 {
                single: value & ICW1_SNGL != 0,
                icw4: value & ICW1_IC4 != 0,
            },
            ..Chip::default()
        };
        self.follow_levels();
    }

    fn data(&mut self, value: u8) {
        let after3 = |icw4| if icw4 { Init::Icw4 } else { Init::Ready };
        match self.init {
            Init::Ready => self.imr = value,
            Init::Icw2 { single, icw4 } => {
                self.base = value & 0xf8;
                self.init = if single {
                    after3(icw4)
                } else {
                    Init::Icw3 { icw4 }
                };
            }
            // The board's cascade is fixed, so the word is taken and not looked at.
            Init::Icw3 { icw4 } => self.init = after3(icw4),
            Init::Icw4 => {
                self.aeoi = value & ICW4_AEOI != 0;
                self.sfnm = value & ICW4_SFNM != 0;
                self.init = Init::Ready;
            }
        }
    }

    fn ocw2(&mut self, value: u8) {
        let n = value & 7;
        match value >> 5 {
            // Non-specific EOI, and with rotation. A masked level is passed over in special mask mode.
            cmd @ (1 | 5) => {
                let serving = if self.special_mask {
                    self.isr & !self.imr
                } else {
                    self.isr
                };
                if let Some(h) = self.highest(serving) {
                    self.isr &= !(1 << h);
                    if cmd == 5 {
                        self.lowest = h;
                    }
                }
            }
            3 => self.isr &= !(1 << n),
            7 => {
                self.isr &= !(1 << n);
                self.lowest = n;
            }
            4 => self.rotate_aeoi = true,
            0 => self.rotate_aeoi = false,
            6 => self.lowest = n,
            _ => {}
        }
    }

    fn ocw3(&mut self, value: u8) {
        if value & OCW3_POLL != 0 {
            self.poll = true;
        }
        if value & OCW3_RR != 0 {
            self.read_isr = value & OCW3_RIS != 0;
        }
        if value & OCW3_ESMM != 0 {
            self.special_mask = value & OCW3_SMM != 0;
        }
    }
}

impl Device for I8259 {
    fn name(&self) -> &str {
        "i8259"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let mut pair = lock(&self.shared.pair);
        crate::bytes::read(offset, size, |o| match region {
            REGION_ELCR => pair.s.chips.get(usize::from(o)).map_or(0xff, |c| c.elcr),
            _ => pair.read(region, o & 1 != 0),
        })
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let mut pair = lock(&self.shared.pair);
        crate::bytes::write(offset, size, value, |o, v| match region {
            REGION_ELCR => pair.elcr_write(o.into(), v),
            _ => pair.write(region, o & 1 != 0, v),
        });
    }

    fn reset(&mut self) {
        let mut pair = lock(&self.shared.pair);
        let lines = pair.s.chips.map(|c| c.lines);
        let intr = pair.s.intr;
        pair.s = State {
            intr,
            ..State::default()
        };
        for (chip, lines) in pair.s.chips.iter_mut().zip(lines) {
            chip.lines = lines;
        }
        pair.update();
    }

    fn save(&self) -> Result<Section, Error> {
        let Pair { s, intr: _ } = &*lock(&self.shared.pair);
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s = section.read(self.name(), state::VERSION)?;
        lock(&self.shared.pair).s = s;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    pub struct State {
        /// Master, slave.
        pub chips: [Chip; 2],
        /// The level of INTR.
        pub intr: bool,
    }

    impl Default for State {
        fn default() -> Self {
            let master = Chip {
                cascade: 1 << super::regs::CASCADE,
                ..Chip::default()
            };
            Self {
                chips: [master, Chip::default()],
                intr: false,
            }
        }
    }

    /// Where the initialization sequence stands.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Init {
        #[default]
        Ready,
        Icw2 {
            single: bool,
            icw4: bool,
        },
        Icw3 {
            icw4: bool,
        },
        Icw4,
    }

    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    pub struct Chip {
        pub irr: u8,
        pub isr: u8,
        pub imr: u8,
        /// The wires.
        pub lines: u8,
        pub elcr: u8,
        /// The master's input from the slave, which follows its wire: the slave holds INT until it is served.
        pub cascade: u8,
        /// Vector of level 0 (ICW2).
        pub base: u8,
        pub init: Init,
        pub ltim: bool,
        pub aeoi: bool,
        pub sfnm: bool,
        pub rotate_aeoi: bool,
        pub special_mask: bool,
        pub poll: bool,
        pub read_isr: bool,
        /// The level of lowest priority.
        pub lowest: u8,
    }

    impl Default for Chip {
        fn default() -> Self {
            Self {
                irr: 0,
                isr: 0,
                imr: 0,
                lines: 0,
                elcr: 0,
                cascade: 0,
                base: 0,
                init: Init::Ready,
                ltim: false,
                aeoi: false,
                sfnm: false,
                rotate_aeoi: false,
                special_mask: false,
                poll: false,
                read_isr: false,
                lowest: 7,
            }
        }
    }
}

#[cfg(test)]
mod tests;
