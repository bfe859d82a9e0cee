//! The register files: ports 0x3B0 to 0x3DF.

use super::regs::*;
use super::state::State;

/// Nanoseconds of a frame and of a line of the 720 by 400 modes at 70 Hz, and where in them nothing is drawn.
const FRAME_NS: u64 = 14_268_000;
const LINE_NS: u64 = 31_778;
const LINE_DRAWN_NS: u64 = 25_422;
const LINES_DRAWN: u64 = 400;
const RETRACE: std::ops::Range<u64> = 412..414;

impl State {
    /// Where the CRTC answers: `port`, as colour systems have it, or `None` if the other place is decoded.
    fn crtc_port(&self, port: u16) -> Option<u16> {
        let color = self.misc & MISC_COLOR != 0;
        match port {
            0x04 | 0x05 | 0x0a if !color => Some(port + 0x20),
            CRTC_INDEX | CRTC_DATA | INPUT_STATUS_1 if color => Some(port),
            _ => None,
        }
    }

    /// IN of one byte; `now` is virtual time.
    pub fn port_in(&mut self, port: u16, now: u64) -> u8 {
        match port {
            ATTRIBUTE if !self.attribute_data => self.attribute.index,
            ATTRIBUTE | ATTRIBUTE_READ => self.attribute.get((self.attribute.index & 31).into()),
            MISC_WRITE => STATUS_SENSE,
            ENABLE => self.enable,
            SEQUENCER_INDEX => self.sequencer.index,
            SEQUENCER_DATA => self.sequencer.selected(),
            DAC_MASK => self.dac.mask,
            DAC_READ_INDEX => self.dac.state,
            DAC_WRITE_INDEX => self.dac.write_index,
            DAC_DATA => self.dac_read(),
            FEATURE_READ => self.feature,
            MISC_READ => self.misc,
            GRAPHICS_INDEX => self.graphics.index,
            GRAPHICS_DATA => self.graphics.selected(),
            _ => match self.crtc_port(port) {
                Some(CRTC_INDEX) => self.crtc.index,
                Some(CRTC_DATA) => self.crtc.selected(),
                Some(_) => {
                    self.attribute_data = false;
                    input_status_1(now)
                }
                None => 0xff,
            },
        }
    }

    /// OUT of one byte.
    pub fn port_out(&mut self, port: u16, value: u8) {
        match port {
            ATTRIBUTE => self.attribute_write(value),
            MISC_WRITE => self.misc = value,
            ENABLE => self.enable = value & 1,
            SEQUENCER_INDEX => self.sequencer.index = value & 7,
            SEQUENCER_DATA => {
                let n = usize::from(self.sequencer.index & 7);
                self.sequencer.regs[n] = value & seq::BITS[n];
            }
            DAC_MASK => self.dac.mask = value,
            DAC_READ_INDEX => {
                self.dac.read_index = value;
                self.dac.component = 0;
                self.dac.state = 3;
            }
            DAC_WRITE_INDEX => {
                self.dac.write_index = value;
                self.dac.component = 0;
                self.dac.state = 0;
            }
            DAC_DATA => self.dac_write(value),
            GRAPHICS_INDEX => self.graphics.index = value & 15,
            GRAPHICS_DATA => {
                let n = usize::from(self.graphics.index & 15);
                self.graphics.regs[n] = value & gfx::BITS[n];
            }
            _ => match self.crtc_port(port) {
                Some(CRTC_INDEX) => self.crtc.index = value & 0x3f,
                Some(CRTC_DATA) => self.crtc_write(value),
                Some(_) => self.feature = value & 3,
                None => {}
            },
        }
    }

    fn attribute_write(&mut self, value: u8) {
        let data = self.attribute_data;
        self.attribute_data = !data;
        if !data {
            self.attribute.index = value & 0x3f;
            return;
        }
        let n = self.attribute.index & 31;
        let bits = match n {
            // The palette is closed while it drives the screen.
            0..=15 if self.attribute.index & attr::VIDEO_ON != 0 => return,
            0..=15 => 0x3f,
            0x10 => 0xef,
            0x12 => 0x3f,
            0x13 | 0x14 => 0x0f,
            n if n < attr::COUNT => 0xff,
            _ => return,
        };
        self.attribute.regs[usize::from(n)] = value & bits;
    }

    fn crtc_write(&mut self, value: u8) {
        let n = self.crtc.index;
        if n >= crtc::COUNT {
            return;
        }
        let protected = self.crtc.has(crtc::RETRACE_END, crtc::PROTECT);
        let Some(r) = self.crtc.regs.get_mut(usize::from(n)) else {
            return;
        };
        if protected && n <= 7 {
            if usize::from(n) == crtc::OVERFLOW {
                let bit = crtc::OVERFLOW_LINE_COMPARE;
                *r = *r & !bit | value & bit;
            }
            return;
        }
        *r = value;
    }

    /// Bits that a colour component has.
    fn dac_bits(&self) -> u8 {
        if self.dispi.has_wide_dac() {
            0xff
        } else {
            0x3f
        }
    }

    fn dac_read(&mut self) -> u8 {
        let bits = self.dac_bits();
        let d = &mut self.dac;
        let color = d.colors.get(usize::from(d.read_index)).copied();
        let value = color.unwrap_or_default()[usize::from(d.component % 3)];
        d.component = (d.component + 1) % 3;
        if d.component == 0 {
            d.read_index = d.read_index.wrapping_add(1);
        }
        value & bits
    }

    fn dac_write(&mut self, value: u8) {
        let bits = self.dac_bits();
        let d = &mut self.dac;
        d.latch[usize::from(d.component % 3)] = value & bits;
        d.component = (d.component + 1) % 3;
        if d.component == 0 {
            if let Some(c) = d.colors.get_mut(usize::from(d.write_index)) {
                *c = d.latch;
            }
            d.write_index = d.write_index.wrapping_add(1);
        }
    }
}

/// Where the beam is.
fn input_status_1(now: u64) -> u8 {
    let t = now % FRAME_NS;
    let (line, within) = (t / LINE_NS, t % LINE_NS);
    let mut status = 0;
    if line >= LINES_DRAWN || within >= LINE_DRAWN_NS {
        status |= STATUS_BLANK;
    }
    if RETRACE.contains(&line) {
        status |= STATUS_BLANK | STATUS_RETRACE;
    }
    status
}
