//! A guest that sends what is typed to COM1.

/// Sends each byte of the keyboard to COM1, without end.
pub const KEYS: &[u8] = &[
    0xe4, 0x64, // in al, 0x64
    0xa8, 0x01, // test al, 1
    0x74, 0xfa, // jz to the start
    0xe4, 0x60, // in al, 0x60
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xee, // out dx, al
    0xeb, 0xf1, // jmp to the start
];
