//! Fuzzing of the devices, under stable Rust.
//!
//! An input is a string of bytes. [`drive`] reads it as what a guest and the world around it can do: accesses to ports and memory of the
//! device, to its configuration space, stores to the memory that it uses by DMA, the passing of time, RESET#, save and restore, and
//! whatever else the device's row in [`table`] adds, such as a driver's well-formed request with the fields that the input chooses, or a
//! key that is pressed. A [`campaign`] makes inputs, keeps those that have the device answer in a way that was not seen before, and
//! changes them. Looked for are panics (of any thread), inputs that do not end, and growth of memory, threads and open files; the program
//! of this crate watches for them, `cargo xtask fuzz-devices` runs it.
//!
//! # A new device
//! Write a function that makes a [`Target`] in a file of `rows`, and put it into the table:
//!
//! ```text
//! fn my_card() -> Target {
//!     let mut t = Target::default();
//!     t.plug(MyCard::config(), MyCard::new);              // or t.ports(device, &[0x300..=0x307]), t.memory(device, range)
//!     t.action(|world, input| { ... });                   // a descriptor that is almost right; a frame from the network
//!     t.settle_by(move || backend.drain());               // where the device has threads
//!     t
//! }
//! // in table.rs:
//! Row { name: "my-card", make: rows::mine::my_card },
//! ```
//!
//! Without actions the registers alone are driven, which finds little behind a ring of descriptors.

pub mod campaign;
pub mod drive;
pub mod input;
mod rows;
pub mod table;
pub mod target;

pub use table::{ROWS, Row};
pub use target::{Target, World};
