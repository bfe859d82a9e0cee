//! Benches of the engines: `cargo bench -p benches`. The guest is `testkit`'s world of blocks; here is its code.

/// Guest code for 64-bit user mode.
pub struct Program {
    pub name: &'static str,
    pub code: &'static [u8],
    /// Guest instructions of a round.
    pub instructions: u64,
}

/// A block that leads to its own start: ADD RAX, RCX; XOR RDX, RAX; LEA RBX, [RBX+RDX+1]; DEC ECX; JNZ.
pub const LOOP: Program = Program {
    name: "loop",
    code: &[
        0x48, 0x01, 0xc8, 0x48, 0x31, 0xc2, 0x48, 0x8d, 0x5c, 0x13, 0x01, 0xff, 0xc9, 0x75, 0xf1,
    ],
    instructions: 5,
};

/// Two blocks that lead to each other: INC EAX; JMP; DEC ECX; JNZ to the first; what follows the JNZ is never reached while ECX lasts.
pub const CHAIN: Program = Program {
    name: "chained blocks",
    code: &[0xff, 0xc0, 0xeb, 0x01, 0x90, 0xff, 0xc9, 0x75, 0xf7],
    instructions: 4,
};

/// Loads from one page: MOV RAX, [RSI]; MOV RDX, [RSI+64]; MOV RBX, [RSI+128]; DEC ECX; JNZ.
pub const HITS: Program = Program {
    name: "TLB hits",
    code: &[
        0x48, 0x8b, 0x06, 0x48, 0x8b, 0x56, 0x40, 0x48, 0x8b, 0x9e, 0x80, 0x00, 0x00, 0x00, 0xff,
        0xc9, 0x75, 0xee,
    ],
    instructions: 5,
};
