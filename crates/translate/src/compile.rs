//! Cranelift's settings, and the way from a plan to bytes.

use crate::lift::{ClifEmitter, Exit, Switches, lift};
use crate::plan::{self, Block, Limits, Plan};
use arch::Mode;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function, UserFuncName};
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CodegenError, Context, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;
use decode::{Code, Insn, Operand};
use hashbrown::HashMap;
use semantics::table::{self, Class};
use std::fmt::Write;
use std::sync::Arc;

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cranelift knows no such host or setting.
    #[error("Cranelift does not serve this host: {0}")]
    Host(String),
    /// Cranelift gave a region up: a defect of ours.
    #[error("a region cannot be compiled: {0}")]
    Compile(String),
}

/// How regions are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    /// Operands remember the page that they touched last.
    pub pages: bool,
    /// Status flags that nobody can see are not worked out.
    pub flags: bool,
    /// One processor runs: LOCK is a load and a store.
    pub alone: bool,
    /// What flags are where paths meet is found out.
    pub joints: bool,
    /// Instructions after which a region leaves at a back edge; 0 is never.
    pub limit: u32,
    /// Cranelift checks what it is given.
    pub verifier: bool,
    /// The text of the function is kept.
    pub text: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            pages: true,
            flags: true,
            alone: true,
            joints: true,
            limit: 0,
            verifier: cfg!(debug_assertions),
            text: false,
        }
    }
}

/// The host that code is made for: what every compiler of a process shares.
#[derive(Clone)]
pub struct Host(Arc<OwnedTargetIsa>);

impl Host {
    /// The host that this program runs on.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let text = |e: &dyn std::fmt::Display| Error::Host(e.to_string());
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "speed"),
            (
                "enable_verifier",
                if options.verifier { "true" } else { "false" },
            ),
            ("unwind_info", "false"),
            ("enable_probestack", "false"),
            ("machine_code_cfg_info", "false"),
            ("enable_pinned_reg", "true"),
            // Tail calls want the frame pointer on x86-64; elsewhere it costs.
            (
                "preserve_frame_pointers",
                if cfg!(target_arch = "x86_64") {
                    "true"
                } else {
                    "false"
                },
            ),
        ] {
            flags.set(name, value).map_err(|e| text(&e))?;
        }
        let host = isa::lookup(target_lexicon_host()).map_err(|e| text(&e))?;
        let mut host = host;
        features(&mut host).map_err(|e| text(&e))?;
        let isa = host
            .finish(settings::Flags::new(flags))
            .map_err(|e| text(&e))?;
        Ok(Self(Arc::new(isa)))
    }
}

/// The processor family that this program is made for.
fn target_lexicon_host() -> target_lexicon::Triple {
    target_lexicon::Triple::host()
}

/// What this processor has beyond the least of its family.
#[cfg(target_arch = "x86_64")]
fn features(b: &mut isa::Builder) -> Result<(), settings::SetError> {
    macro_rules! have {
        ($($feature:tt $name:literal)*) => {
            $(if std::is_x86_feature_detected!($feature) { b.enable($name)?; })*
        };
    }
    have! {
        "sse3" "has_sse3" "ssse3" "has_ssse3" "sse4.1" "has_sse41" "sse4.2" "has_sse42" "popcnt" "has_popcnt"
        "avx" "has_avx" "avx2" "has_avx2" "bmi1" "has_bmi1" "bmi2" "has_bmi2" "lzcnt" "has_lzcnt"
        "cmpxchg16b" "has_cmpxchg16b"
    }
    Ok(())
}
#[cfg(not(target_arch = "x86_64"))]
fn features(_: &mut isa::Builder) -> Result<(), settings::SetError> {
    Ok(())
}

/// A compiled region.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub plan: Plan,
    /// Host code, which does not depend on where it stands.
    pub code: Vec<u8>,
    pub exits: Vec<Exit>,
    /// 32-bit fields with the distance from their end to an exit: offset and the exit's number.
    pub jumps: Vec<(u32, u32)>,
    /// The function as Cranelift was given it, if asked for.
    pub text: Option<String>,
}

/// What decides whether an instruction is lifted: its form, and whether it has memory operands and prefixes.
#[derive(PartialEq, Eq, Hash)]
struct Shape {
    code: Code,
    memory: bool,
    lock: bool,
    mode: Mode,
}

/// Plans and compiles regions; one for each thread.
pub struct Compiler {
    host: Host,
    options: Options,
    context: Context,
    frontend: FunctionBuilderContext,
    control: ControlPlane,
    lifts: HashMap<Shape, bool>,
}

impl Compiler {
    pub fn new(host: Host, options: Options) -> Self {
        Self {
            host,
            options,
            context: Context::new(),
            frontend: FunctionBuilderContext::new(),
            control: ControlPlane::default(),
            lifts: HashMap::new(),
        }
    }

    fn switches(&self) -> Switches {
        Switches {
            limit: self.options.limit,
            pages: self.options.pages,
            flags: self.options.flags,
            alone: self.options.alone,
            joints: self.options.joints,
        }
    }

    /// The region at `head` of a page with the content `page`, planned; `visited` tells where control went before,
    /// `shown` what the CPU model has.
    pub fn plan(
        &mut self,
        page: &[u8],
        mode: Mode,
        head: u32,
        visited: impl Fn(u32) -> bool,
        shown: impl Fn(Code) -> bool,
    ) -> Option<Plan> {
        plan::plan(page, mode, head, self.options.limits, visited, |i| {
            shown(i.code) && self.lifts(i, mode)
        })
    }

    /// Whether regions do `i`: it is written down once to see.
    fn lifts(&mut self, i: &Insn, mode: Mode) -> bool {
        // Branches inside of an instruction are T1's.
        if i.rep != decode::Rep::None {
            return false;
        }
        let shape = Shape {
            code: i.code,
            memory: i.ops.contains(&Operand::Mem),
            lock: i.lock,
            mode,
        };
        if let Some(&known) = self.lifts.get(&shape) {
            return known;
        }
        let lifts = table::row::<ClifEmitter<'_>>(i.code).is_some_and(|r| r.class == Class::Lift)
            && {
                let alone = Plan {
                    mode,
                    blocks: vec![Block {
                        start: 0,
                        insns: vec![*i],
                        taken: None,
                        next: None,
                        targets: Vec::new(),
                        incoming: 1,
                    }],
                };
                let mut f = Function::new();
                let config = self.host.0.frontend_config();
                let switches = self.switches();
                let done = lift(&mut f, &mut self.frontend, &alone, switches, config).is_some();
                if !done {
                    // A function that was left half-way.
                    self.frontend = FunctionBuilderContext::new();
                }
                done
            };
        self.lifts.insert(shape, lifts);
        lifts
    }

    /// Compiles a planned region; `None` if an instruction turns out not to be for regions.
    pub fn compile(&mut self, plan: Plan) -> Result<Option<Compiled>, Error> {
        self.context.clear();
        self.context.func.name = UserFuncName::user(0, plan.head());
        let config = self.host.0.frontend_config();
        let switches = self.switches();
        let func = &mut self.context.func;
        let Some(exits) = lift(func, &mut self.frontend, &plan, switches, config) else {
            self.frontend = FunctionBuilderContext::new();
            self.context = Context::new();
            return Ok(None);
        };
        let text = self.options.text.then(|| {
            let mut t = String::new();
            let _ = write!(t, "{}", self.context.func.display());
            t
        });
        self.context
            .compile(&**self.host.0, &mut self.control)
            .map_err(|e| Error::Compile(told(&e.inner)))?;
        let Some(compiled) = self.context.compiled_code() else {
            return Ok(None);
        };
        let code = compiled.code_buffer().to_vec();
        let mut jumps = Vec::new();
        for r in compiled.buffer.relocs() {
            let number = match (&r.target, r.kind, r.addend) {
                (
                    FinalizedRelocTarget::ExternalName(ExternalName::User(name)),
                    Reloc::X86CallPCRel4,
                    -4,
                ) => self.context.func.params.user_named_funcs()[*name].index,
                _ => return Err(Error::Compile(format!("relocation {r:?}"))),
            };
            jumps.push((r.offset, number));
        }
        Ok(Some(Compiled {
            plan,
            code,
            exits,
            jumps,
            text,
        }))
    }
}

fn told(e: &CodegenError) -> String {
    format!("{e:?}")
}
