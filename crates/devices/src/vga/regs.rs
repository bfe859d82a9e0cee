//! Register numbers and bits (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; FreeVGA names). Ports are offsets from
//! 0x3B0.

/// CRT controller as colour systems have it; the monochrome one is 0x20 lower.
pub const CRTC_INDEX: u16 = 0x24;
pub const CRTC_DATA: u16 = 0x25;
pub const INPUT_STATUS_1: u16 = 0x2a;
pub const ATTRIBUTE: u16 = 0x10;
pub const ATTRIBUTE_READ: u16 = 0x11;
/// Written: miscellaneous output. Read: input status 0.
pub const MISC_WRITE: u16 = 0x12;
pub const ENABLE: u16 = 0x13;
pub const SEQUENCER_INDEX: u16 = 0x14;
pub const SEQUENCER_DATA: u16 = 0x15;
pub const DAC_MASK: u16 = 0x16;
/// Written: read index. Read: DAC state.
pub const DAC_READ_INDEX: u16 = 0x17;
pub const DAC_WRITE_INDEX: u16 = 0x18;
pub const DAC_DATA: u16 = 0x19;
pub const FEATURE_READ: u16 = 0x1a;
pub const MISC_READ: u16 = 0x1c;
pub const GRAPHICS_INDEX: u16 = 0x1e;
pub const GRAPHICS_DATA: u16 = 0x1f;

/// The CRTC answers at 0x3Dx.
pub const MISC_COLOR: u8 = 1 << 0;
/// The processor may access display memory.
pub const MISC_RAM: u8 = 1 << 1;

/// Input status 1: no pixels are being drawn.
pub const STATUS_BLANK: u8 = 1 << 0;
pub const STATUS_RETRACE: u8 = 1 << 3;
/// Input status 0: a monitor is there.
pub const STATUS_SENSE: u8 = 1 << 4;

pub mod seq {
    pub const CLOCKING: usize = 1;
    pub const MAP_MASK: usize = 2;
    pub const CHARACTER_MAP: usize = 3;
    pub const MEMORY_MODE: usize = 4;
    /// Bits that exist in each register.
    pub const BITS: [u8; 8] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff];
    pub const CLOCKING_8_DOTS: u8 = 1 << 0;
    pub const CLOCKING_HALF: u8 = 1 << 3;
    pub const CLOCKING_OFF: u8 = 1 << 5;
    /// Off: even addresses go to even planes.
    pub const MEMORY_SEQUENTIAL: u8 = 1 << 2;
    pub const MEMORY_CHAIN4: u8 = 1 << 3;
}

pub mod crtc {
    pub const DISPLAY_END: usize = 0x01;
    pub const OVERFLOW: usize = 0x07;
    pub const PRESET_ROW: usize = 0x08;
    pub const MAX_SCAN: usize = 0x09;
    pub const CURSOR_START: usize = 0x0a;
    pub const CURSOR_END: usize = 0x0b;
    pub const START_HIGH: usize = 0x0c;
    pub const START_LOW: usize = 0x0d;
    pub const CURSOR_HIGH: usize = 0x0e;
    pub const CURSOR_LOW: usize = 0x0f;
    pub const RETRACE_END: usize = 0x11;
    pub const VERTICAL_END: usize = 0x12;
    pub const OFFSET: usize = 0x13;
    pub const UNDERLINE: usize = 0x14;
    pub const MODE: usize = 0x17;
    pub const LINE_COMPARE: usize = 0x18;
    /// Registers that exist.
    pub const COUNT: u8 = 0x19;
    /// Registers 0 to 7 cannot be written.
    pub const PROTECT: u8 = 1 << 7;
    pub const OVERFLOW_LINE_COMPARE: u8 = 1 << 4;
    pub const MAX_SCAN_DOUBLE: u8 = 1 << 7;
    pub const CURSOR_OFF: u8 = 1 << 5;
    pub const UNDERLINE_DWORD: u8 = 1 << 6;
    pub const MODE_NO_ROW0: u8 = 1 << 0;
    pub const MODE_NO_ROW1: u8 = 1 << 1;
    pub const MODE_WRAP: u8 = 1 << 5;
    pub const MODE_BYTE: u8 = 1 << 6;
}

pub mod gfx {
    pub const SET_RESET: usize = 0;
    pub const ENABLE_SET_RESET: usize = 1;
    pub const COMPARE: usize = 2;
    pub const ROTATE: usize = 3;
    pub const READ_MAP: usize = 4;
    pub const MODE: usize = 5;
    pub const MISC: usize = 6;
    pub const CARE: usize = 7;
    pub const BIT_MASK: usize = 8;
    /// Bits that exist in each register.
    pub const BITS: [u8; 16] = [
        0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff, 0, 0, 0, 0, 0, 0, 0,
    ];
    pub const MODE_READ_COMPARE: u8 = 1 << 3;
    pub const MODE_ODD_EVEN: u8 = 1 << 4;
    pub const MODE_INTERLEAVE: u8 = 1 << 5;
    pub const MODE_256: u8 = 1 << 6;
    pub const MISC_GRAPHICS: u8 = 1 << 0;
    pub const MISC_CHAIN: u8 = 1 << 1;
}

pub mod attr {
    pub const MODE: usize = 0x10;
    pub const PLANES: usize = 0x12;
    pub const PANNING: usize = 0x13;
    pub const COLOR_SELECT: usize = 0x14;
    /// Registers that exist.
    pub const COUNT: u8 = 0x15;
    pub const MODE_MONO: u8 = 1 << 1;
    pub const MODE_LINE: u8 = 1 << 2;
    pub const MODE_BLINK: u8 = 1 << 3;
    pub const MODE_PANNING_SPLIT: u8 = 1 << 5;
    pub const MODE_SELECT_54: u8 = 1 << 7;
    /// In the index register: the palette drives the screen; without, it is blank.
    pub const VIDEO_ON: u8 = 1 << 5;
}
