//! T1: one guest block to host code in one pass.

mod arithmetic;
pub mod block;
mod cold;
pub mod emit;
pub mod host;
mod loops;
pub mod places;
pub mod region;
mod softmmu;
mod straddle;
pub mod values;
mod vector;
pub mod vectors;
mod window;
pub mod x64;
mod x64_vector;
mod x64_x87;
pub mod x87;

pub use block::{Baseline, Block};
