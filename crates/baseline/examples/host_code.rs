//! Prints the host code of one block: `host_code FILE`, with raw 64-bit guest code in FILE.

use arch::{Mode, Size};
use baseline::{Baseline, x64::X64};

fn main() {
    let path = std::env::args().nth(1).expect("a file of raw guest code");
    let bytes = std::fs::read(path).expect("readable");
    let mode = Mode::new(
        Size::B64,
        3,
        Mode::PROTECTED
            | Mode::LONG
            | Mode::FLAT
            | Mode::FP_MASKED
            | Mode::X87_MASKED
            | Mode::OSFXSR,
    );
    let mut insns = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let i = decode::decode(&bytes[at..], mode).expect("an instruction");
        println!(
            "; {}",
            decode::disassemble(&bytes[at..at + i.len as usize], mode, at as u64)
        );
        at += i.len as usize;
        insns.push(i);
    }
    let mut writer = Baseline::<X64>::new();
    let block = writer.translate(mode, 0, &insns, None).expect("fits");
    println!(
        "; {} guest instructions, {} host bytes",
        block.instructions,
        block.code.len()
    );
    let mut at = 0;
    while at < block.code.len() {
        let Ok(i) = decode::decode(&block.code[at..], mode) else {
            break;
        };
        let text = decode::disassemble(&block.code[at..at + i.len as usize], mode, at as u64);
        println!("{at:4x}  {text}");
        at += i.len as usize;
    }
}
