//! Hot control of a running machine: a socket that takes commands as lines of JSON (`docs/control.md`), and its client.
//!
//! [`request`] says what can be asked and turns lines and command lines into it, without a machine; [`serve`] answers on a socket; [`run`]
//! does what is asked; [`client`] is `ferry ctl`. Whoever can open the socket controls the machine: it is for its owner only.

pub mod base64;
pub mod client;
pub mod info;
pub mod request;
mod run;
mod serve;

pub use serve::{Server, start};
