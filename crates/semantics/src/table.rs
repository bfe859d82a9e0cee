//! The table of what exists: an instruction is supported if and only if a form of it has a row here.
//!
//! A row names one or more forms (iced's `Code`), the class, and the body with its widths and decode-time arguments:
//!
//! ```text
//! Add_rm8_r8 Add_r8_rm8 => lift arith::arith[W8](Arith::Add);
//! Cpuid => helper Cpuid;
//! ```
//!
//! `lift` rows are bodies over [`Emit`]; `helper` rows are calls into the processor ([`Helper`]), the same for every engine.
//! Decoding filters by it, engines instantiate it, the coverage report and the generated tests walk it. A form without a row raises
//! #UD.

use crate::emit::Emit;
use decode::{Code, Insn};

/// How engines treat a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A body over [`Emit`]: translated.
    Lift,
    /// A call to the processor's own code.
    Helper,
}

/// The body of a form for engine `E`.
pub type Body<E> = fn(&mut E, &Insn) -> Result<(), <E as Emit>::Stop>;

/// One form for engine `E`.
pub struct Row<E: Emit> {
    pub class: Class,
    pub body: Body<E>,
}

/// Forms that share a row: the codes, the class and the body's name.
type Forms = &'static [(&'static [Code], Class, &'static str)];

macro_rules! rows {
    // What all rows of a part do before anything else, such as checking that their extension is switched on.
    (before $before:path; $($($code:ident)+ => $class:ident $($f:ident)::+ $([$($w:ty),*])? $(($($arg:expr),*))?;)*) => {
        /// The row of a form, if this part of the table has it.
        pub fn row<E: $crate::emit::Emit>(code: decode::Code) -> Option<$crate::table::Row<E>> {
            Some(match code {
                $($(decode::Code::$code)|+ => rows!(@$class $before, $($f)::+ [$($($w),*)?] ($($($arg),*)?)),)*
                _ => return None,
            })
        }
        /// The forms of this part, with their class and body's name.
        pub const FORMS: $crate::table::Forms = &[
            $((&[$(decode::Code::$code),+], rows!(@class $class), stringify!($($f)::+))),*
        ];
    };
    (@lift $before:path, $($f:ident)::+ [$($w:ty),*] ($($arg:expr),*)) => {
        $crate::table::Row {
            class: $crate::table::Class::Lift,
            body: |e: &mut E, i: &decode::Insn| {
                $before(e)?;
                $($f)::+::<E, $($w),*>(e, i, $($arg),*)
            },
        }
    };
    (@helper $before:path, $h:ident [] ()) => {
        $crate::table::Row {
            class: $crate::table::Class::Helper,
            body: |e: &mut E, i: &decode::Insn| {
                $before(e)?;
                e.helper($crate::table::Helper::$h, i)
            },
        }
    };
    (@class lift) => { $crate::table::Class::Lift };
    (@class helper) => { $crate::table::Class::Helper };
    ($($row:tt)*) => { rows! { before $crate::table::nothing; $($row)* } };
}

/// What rows without a common check do first.
#[inline(always)]
fn nothing<E: Emit>(_: &mut E) -> Result<(), E::Stop> {
    Ok(())
}

mod general;
mod helper;
mod integer;
mod mmx;
mod sse;
mod system;
mod x87;

pub use helper::Helper;

macro_rules! parts {
    ($($($part:ident)::+)*) => {
        /// The row of `code`; `None` raises #UD.
        pub fn row<E: Emit>(code: Code) -> Option<Row<E>> {
            None$(.or_else(|| $($part)::+::row::<E>(code)))*
        }
        /// All forms that exist.
        pub fn forms() -> impl Iterator<Item = (Code, Class, &'static str)> {
            [$($($part)::+::FORMS),*]
                .into_iter()
                .flatten()
                .flat_map(|&(codes, class, name)| codes.iter().map(move |&c| (c, class, name)))
        }
    };
}
parts! {
    integer
    general
    sse
    sse::xsave
    mmx
    mmx::state
    system
    x87
    x87::wait
}
