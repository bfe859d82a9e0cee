//! What the tests of the program share.

use std::path::PathBuf;
use std::process::{Child, Command};

/// The program under test. `$FERRY_RUNNER` stands before it when it is a program of another architecture (`cargo xtask arm test`).
pub fn program() -> Command {
    let ferry = env!("CARGO_BIN_EXE_ferry");
    match std::env::var_os("FERRY_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(ferry);
            command
        }
        None => Command::new(ferry),
    }
}

/// A directory of its own for each test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ferry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    }
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A started program that does not outlive its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A flat multiboot kernel of at least 4 KiB at 1 MiB that consists of `code`, entered at 0x100020.
pub fn kernel(code: &[u8]) -> Vec<u8> {
    let mut f = vec![0; 32];
    let flags = 1u32 << 16;
    let sum = 0u32.wrapping_sub(0x1bad_b002 + flags);
    let words = [
        0x1bad_b002,
        flags,
        sum,
        0x10_0000,
        0x10_0000,
        0,
        0,
        0x10_0020,
    ];
    for (i, w) in words.iter().enumerate() {
        f[4 * i..4 * i + 4].copy_from_slice(&w.to_le_bytes());
    }
    f.extend(code);
    f.resize(f.len().max(4096), 0);
    f
}
