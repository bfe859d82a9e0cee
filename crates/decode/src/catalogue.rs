//! All instruction forms that the decoder knows, by extension: what coverage is counted against.

use crate::{Code, required_features};
use iced_x86::EncodingKind;

/// A form with the extension that it belongs to.
#[derive(Clone, Debug)]
pub struct Form {
    pub code: Code,
    /// The CPUID features, as iced names them, joined by "+".
    pub extension: String,
    /// Whether Ferry has names for all of them, so that a CPU model can show the form.
    pub nameable: bool,
    /// Manual's notation: opcode and operands.
    pub notation: String,
}

/// Every form with a legacy encoding: VEX, EVEX and the like belong to extensions that no model of Ferry shows.
pub fn forms() -> impl Iterator<Item = Form> {
    Code::values()
        .filter(|&c| {
            c != Code::INVALID
                && c.op_code().is_instruction()
                && c.encoding() == EncodingKind::Legacy
        })
        .map(|code| {
            let names: Vec<String> = code
                .cpuid_features()
                .iter()
                .map(|f| format!("{f:?}"))
                .collect();
            Form {
                code,
                extension: names.join("+"),
                nameable: required_features(code).is_some(),
                notation: code.op_code().instruction_string().to_string(),
            }
        })
}
