//! The ACPI fixed hardware (ACPI Specification 6.4, 4.8): PM1 event and control blocks, PM timer, GPE0 block, the SMI command port that
//! hands them over, and the reset register.
//!
//! There is no system management mode: without SCI_EN nobody is interrupted.

use crate::{bytes, lock};
use bus::{AccessSize, Alarm, Clock, Device, IrqLine, ResetSource, StopReason, StopRequest};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::{Arc, Mutex};

/// Region number of the PM block, 16 ports: PM1_STS at 0, PM1_EN at 2, PM1_CNT at 4, PM_TMR at 8.
pub const REGION_PM: usize = 0;
/// Region number of the GPE0 block, 4 ports: GPE0_STS at 0, GPE0_EN at 2.
pub const REGION_GPE0: usize = 1;
/// Region number of SMI_CMD and the status byte beside it (0xB2, 0xB3).
pub const REGION_SMI: usize = 2;
/// Region number of the one-byte reset register.
pub const REGION_RESET: usize = 3;

/// FADT ACPI_ENABLE.
pub const ACPI_ENABLE: u8 = 0xf1;
/// FADT ACPI_DISABLE.
pub const ACPI_DISABLE: u8 = 0xf0;
/// FADT RESET_VALUE.
pub const RESET_VALUE: u8 = 0x0f;
/// SLP_TYPa of `\_S5`: the PIIX4's soft off (82371AB datasheet, 7.2.3), which OVMF and small kernels write without asking ACPI.
pub const SLP_TYP_S5: u8 = 0;
/// The PM timer's clock.
pub const TIMER_HZ: u64 = 3_579_545;

mod regs {
    pub const TMR_STS: u16 = 1 << 0;
    pub const GBL_STS: u16 = 1 << 5;
    pub const PWRBTN_STS: u16 = 1 << 8;
    /// Bits of PM1_STS that exist: timer, bus master, global, power button, sleep button, RTC, wake.
    pub const STS_BITS: u16 = 0x8731;
    pub const EN_BITS: u16 = 0x0721;
    pub const SCI_EN: u16 = 1 << 0;
    pub const GBL_RLS: u16 = 1 << 2;
    /// BM_RLD and SLP_TYP; SLP_EN and GBL_RLS read as zero.
    pub const CNT_BITS: u16 = 0x1c02;
    pub const SLP_EN: u16 = 1 << 13;
}

/// FADT flag TMR_VAL_EXT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWidth {
    Bits24,
    Bits32,
}

/// The power management block. Clones are handles to the same one.
#[derive(Clone)]
pub struct AcpiPm {
    shared: Arc<Mutex<Pm>>,
}

struct Pm {
    clock: Arc<Clock>,
    alarm: Alarm,
    sci: IrqLine,
    stop: StopRequest,
    width: TimerWidth,
    s: State,
}

impl AcpiPm {
    /// A block in reset state; `sci` is level-triggered.
    pub fn new(
        clock: Arc<Clock>,
        alarm: Alarm,
        sci: IrqLine,
        stop: StopRequest,
        width: TimerWidth,
    ) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Pm {
                clock,
                alarm,
                sci,
                stop,
                width,
                s: State::default(),
            })),
        }
    }

    /// The user presses the power button.
    pub fn press_power_button(&self) {
        let mut pm = lock(&self.shared);
        pm.s.status |= PWRBTN_STS;
        pm.update();
    }

    /// General-purpose event `n` (0-15) happens.
    pub fn raise_gpe(&self, n: u32) {
        let mut pm = lock(&self.shared);
        pm.s.gpe_status |= 1 << (n & 15);
        pm.update();
    }
}

impl Pm {
    fn count(&self) -> u64 {
        (u128::from(self.clock.now()) * u128::from(TIMER_HZ) / 1_000_000_000) as u64
    }

    fn timer_bits(&self) -> u32 {
        match self.width {
            TimerWidth::Bits24 => 24,
            TimerWidth::Bits32 => 32,
        }
    }

    /// TMR_STS is set by every change of the timer's top bit.
    fn sync(&mut self) {
        let half = self.count() >> (self.timer_bits() - 1);
        if half != self.s.timer_half {
            self.s.timer_half = half;
            self.s.status |= TMR_STS;
        }
    }

    fn update(&mut self) {
        self.sync();
        let events =
            self.s.status & self.s.enable != 0 || self.s.gpe_status & self.s.gpe_enable != 0;
        let level = events && self.s.control & SCI_EN != 0;
        if level != self.s.sci {
            self.s.sci = level;
            self.sci.set(level);
        }
        if self.s.enable & !self.s.status & TMR_STS != 0 {
            let next = u128::from(self.s.timer_half.wrapping_add(1)) << (self.timer_bits() - 1);
            let ns = (next * 1_000_000_000).div_ceil(TIMER_HZ.into());
            self.alarm.set(u64::try_from(ns).unwrap_or(u64::MAX));
        } else {
            self.alarm.cancel();
        }
    }

    fn timer(&self) -> u32 {
        match self.width {
            TimerWidth::Bits24 => self.count() as u32 & 0xff_ffff,
            TimerWidth::Bits32 => self.count() as u32,
        }
    }

    fn read(&self, region: usize, offset: u16, timer: u32) -> u8 {
        let s = &self.s;
        match (region, offset) {
            (REGION_PM, 0..2) => bytes::of(s.status.into(), offset),
            (REGION_PM, 2..4) => bytes::of(s.enable.into(), offset - 2),
            (REGION_PM, 4..6) => bytes::of(s.control.into(), offset - 4),
            (REGION_PM, 8..12) => bytes::of(timer.into(), offset - 8),
            (REGION_PM, _) => 0,
            (REGION_GPE0, 0..2) => bytes::of(s.gpe_status.into(), offset),
            (REGION_GPE0, 2..4) => bytes::of(s.gpe_enable.into(), offset - 2),
            (REGION_SMI, 0..2) => bytes::of(s.smi.into(), offset),
            _ => 0xff,
        }
    }

    fn write(&mut self, region: usize, offset: u16, value: u8) {
        let wide = |old: u16, o: u16| {
            let shift = 8 * (o & 1);
            old & !(0xff << shift) | u16::from(value) << shift
        };
        match (region, offset) {
            (REGION_PM, 0..2) => self.s.status &= !wide(0, offset),
            (REGION_PM, 2..4) => self.s.enable = wide(self.s.enable, offset) & EN_BITS,
            (REGION_PM, 4..6) => self.control(wide(self.s.control, offset)),
            (REGION_GPE0, 0..2) => self.s.gpe_status &= !wide(0, offset),
            (REGION_GPE0, 2..4) => self.s.gpe_enable = wide(self.s.gpe_enable, offset),
            (REGION_SMI, 0..2) => {
                self.s.smi = wide(self.s.smi, offset);
                match (offset, value) {
                    (0, ACPI_ENABLE) => self.s.control |= SCI_EN,
                    (0, ACPI_DISABLE) => self.s.control &= !SCI_EN,
                    _ => {}
                }
            }
            (REGION_RESET, 0) if value == RESET_VALUE => {
                self.stop.request(StopReason::Reset(ResetSource::Acpi));
            }
            _ => {}
        }
    }

    /// PM1_CNT. SCI_EN belongs to the firmware: it changes through SMI_CMD only.
    fn control(&mut self, value: u16) {
        self.s.control = self.s.control & SCI_EN | value & CNT_BITS;
        // Nobody but the operating system holds the global lock, so its release is answered at once.
        if value & GBL_RLS != 0 {
            self.s.status |= GBL_STS;
        }
        if value & SLP_EN != 0 && value >> 10 & 7 == u16::from(SLP_TYP_S5) {
            self.stop.request(StopReason::PowerOff);
        }
        self.s.status &= STS_BITS;
    }
}

impl Device for AcpiPm {
    fn name(&self) -> &str {
        "acpi-pm"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let mut pm = lock(&self.shared);
        pm.sync();
        let timer = pm.timer();
        bytes::read(offset, size, |o| pm.read(region, o, timer))
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let mut pm = lock(&self.shared);
        pm.sync();
        bytes::write(offset, size, value, |o, v| pm.write(region, o, v));
        pm.update();
    }

    fn expire(&mut self, _: u64) {
        lock(&self.shared).update();
    }

    fn reset(&mut self) {
        let mut pm = lock(&self.shared);
        let (sci, timer_half) = (pm.s.sci, pm.count() >> (pm.timer_bits() - 1));
        pm.s = State {
            sci,
            timer_half,
            ..State::default()
        };
        pm.update();
    }

    fn save(&self) -> Result<Section, Error> {
        let Pm {
            clock: _,
            alarm: _,
            sci: _,
            stop: _,
            width: _,
            s,
        } = &*lock(&self.shared);
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s = section.read(self.name(), state::VERSION)?;
        let mut pm = lock(&self.shared);
        pm.s = s;
        pm.update();
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub status: u16,
        pub enable: u16,
        pub control: u16,
        pub gpe_status: u16,
        pub gpe_enable: u16,
        /// SMI_CMD and its status byte, as written.
        pub smi: u16,
        /// Half periods of the PM timer seen so far.
        pub timer_half: u64,
        /// The level of the SCI.
        pub sci: bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fuzz, Wire, advance, clock};

    const W: AccessSize = AccessSize::Word;

    fn bench(width: TimerWidth) -> (Arc<Clock>, AcpiPm, Arc<Wire>, StopRequest) {
        let (clock, wire, stop) = (clock(), Wire::new(), StopRequest::new(vec![]));
        let pm = AcpiPm::new(
            clock.clone(),
            clock.alarm(0),
            wire.line(9),
            stop.clone(),
            width,
        );
        (clock, pm, wire, stop)
    }

    fn enable(pm: &mut AcpiPm) {
        pm.port_write(REGION_SMI, 0, AccessSize::Byte, ACPI_ENABLE.into());
    }

    #[test]
    fn timer_counts_and_overflows() {
        let (clock, mut pm, wire, _) = bench(TimerWidth::Bits24);
        enable(&mut pm);
        pm.port_write(REGION_PM, 2, W, 1);
        advance(&clock, &mut pm, 1_000_000_000);
        assert_eq!(pm.port_read(REGION_PM, 8, AccessSize::Dword), 3_579_545);
        assert!(!wire.level(9));
        advance(&clock, &mut pm, 1_500_000_000);
        assert!(wire.level(9), "bit 23 changed after 2.34 s");
        assert_eq!(pm.port_read(REGION_PM, 0, W), 1);
        pm.port_write(REGION_PM, 0, W, 1);
        assert!(!wire.level(9));
        advance(&clock, &mut pm, 2_500_000_000);
        assert!(wire.level(9), "and back");
        assert!(pm.port_read(REGION_PM, 8, AccessSize::Dword) < 1 << 24);
        let (clock, mut pm, ..) = bench(TimerWidth::Bits32);
        advance(&clock, &mut pm, 10_000_000_000);
        assert_eq!(pm.port_read(REGION_PM, 8, AccessSize::Dword), 35_795_450);
    }

    #[test]
    fn power_button_interrupts_once_acpi_is_on() {
        let (_, mut pm, wire, _) = bench(TimerWidth::Bits32);
        pm.port_write(REGION_PM, 2, W, 0x100);
        pm.clone().press_power_button();
        assert!(!wire.level(9));
        assert_eq!(pm.port_read(REGION_PM, 4, W), 0);
        enable(&mut pm);
        assert_eq!(pm.port_read(REGION_PM, 4, W), 1);
        assert!(wire.level(9));
        pm.port_write(REGION_PM, 0, W, 0x100);
        assert!(!wire.level(9));
        pm.port_write(REGION_GPE0, 2, W, 4);
        pm.raise_gpe(2);
        assert!(wire.level(9));
        pm.port_write(REGION_GPE0, 0, W, 4);
        assert!(!wire.level(9));
        pm.port_write(REGION_SMI, 0, AccessSize::Byte, ACPI_DISABLE.into());
        assert_eq!(pm.port_read(REGION_PM, 4, W), 0);
    }

    #[test]
    fn sleep_and_reset_stop_the_machine() {
        let (_, mut pm, _, stop) = bench(TimerWidth::Bits32);
        pm.port_write(REGION_PM, 4, W, 1 << 10 | 1 << 13);
        assert_eq!(stop.take(), None, "S1 is not offered");
        pm.port_write(REGION_PM, 4, W, 0);
        assert_eq!(stop.take(), None);
        pm.port_write(REGION_PM, 4, W, 1 << 13);
        assert_eq!(stop.take(), Some(StopReason::PowerOff));
        pm.port_write(REGION_RESET, 0, AccessSize::Byte, RESET_VALUE.into());
        assert_eq!(stop.take(), Some(StopReason::Reset(ResetSource::Acpi)));
    }

    #[test]
    fn state_survives_saving() {
        let (_, mut pm, ..) = bench(TimerWidth::Bits32);
        pm.port_write(REGION_PM, 2, W, 0xffff);
        let s = pm.save().unwrap();
        pm.reset();
        assert_eq!(pm.port_read(REGION_PM, 2, W), 0);
        pm.restore(&s).unwrap();
        assert_eq!(pm.port_read(REGION_PM, 2, W), 0x721);
    }

    #[test]
    fn survives_anything() {
        let (clock, mut pm, ..) = bench(TimerWidth::Bits24);
        let mut f = Fuzz::new(9);
        for _ in 0..1_000_000 {
            f.ports(&mut pm, &[(0, 16), (1, 4), (2, 2), (3, 1)]);
            if f.below(4) == 0 {
                f.time(&clock, &mut pm);
            }
        }
    }
}
