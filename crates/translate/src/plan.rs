//! Which instructions of a page make a region.
//!
//! From its head a region reaches what follows over fall-throughs and relative branches that stay in the page, as far as the head can be
//! reached again: a loop, with the loops inside it and around it. Everything else is an exit. A branch goes on inside the region only if
//! somebody went there before, as T1 can tell. An indirect jump, the heart of an interpreter, may lead to whatever of the page was gone to
//! and cannot be reached otherwise.

use arch::{Mode, PAGE_SIZE};
use decode::{Flow, Insn, Mnemonic, Operand};
use hashbrown::{HashMap, HashSet};

/// How large a region may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub instructions: usize,
    pub blocks: usize,
    /// Targets of an indirect jump.
    pub targets: usize,
    /// Code that does not lead back to its head makes a region too: for tests.
    pub straight: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instructions: 250,
            blocks: 60,
            targets: 32,
            straight: false,
        }
    }
}

/// A basic block of a region.
#[derive(Clone, Debug)]
pub struct Block {
    /// Offset of its first instruction in the page.
    pub start: u32,
    pub insns: Vec<Insn>,
    /// The blocks that may follow, by number: over the branch's target, over the fall-through.
    pub taken: Option<usize>,
    pub next: Option<usize>,
    /// Those that may follow over an indirect jump.
    pub targets: Vec<usize>,
    /// Edges that lead here, the region's entry among them.
    pub incoming: usize,
}

impl Block {
    /// The blocks that may follow.
    pub fn followers(&self) -> impl Iterator<Item = usize> + '_ {
        let near = self.taken.into_iter().chain(self.next);
        near.chain(self.targets.iter().copied())
    }

    /// The offset behind the last instruction.
    pub fn end(&self) -> u32 {
        self.start + self.insns.iter().map(|i| u32::from(i.len)).sum::<u32>()
    }
}

/// A region: its blocks, each behind those that lead to it as far as loops permit; the head is the first.
#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: Mode,
    pub blocks: Vec<Block>,
}

impl Plan {
    /// The offset of the head.
    pub fn head(&self) -> u32 {
        self.blocks[0].start
    }

    /// Offsets of the first and behind the last byte of guest code.
    pub fn extent(&self) -> (u32, u32) {
        let from = self.blocks.iter().map(|b| b.start).min().unwrap_or(0);
        let to = self.blocks.iter().map(Block::end).max().unwrap_or(0);
        (from, to)
    }

    /// Whether T1 does as well: a block that leads to itself keeps its registers there too, and where it divides that is what it waits for.
    pub fn is_for_t1(&self) -> bool {
        let divides = |i: &Insn| matches!(i.code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
        self.blocks.len() == 1 && self.blocks[0].insns.iter().any(divides)
    }

    /// The general registers, a bit each, that only small steps change.
    pub fn steady(&self) -> u16 {
        let insns = self.blocks.iter().flat_map(|b| &b.insns);
        !insns.fold(0, |all, i| all | jumps_of(i))
    }

    /// Guest instructions.
    pub fn instructions(&self) -> usize {
        self.blocks.iter().map(|b| b.insns.len()).sum()
    }
}

/// How far a register that is steady moves at a time.
const STEP: u64 = 64;

/// The general registers, a bit each, that `i` changes by more than a small step. A guess that costs time where it is wrong, no more.
fn jumps_of(i: &Insn) -> u16 {
    use Mnemonic::*;
    let small = |n: u64| n <= STEP || n.wrapping_neg() <= STEP;
    let own = match i.ops[0] {
        Operand::Gpr(r) => 1 << (r & 15),
        Operand::GprHigh(r) => 1 << (r & 3),
        _ => 0,
    };
    match i.code.mnemonic() {
        Cmp | Test | Bt | Push | Inc | Dec | Nop => 0,
        Add | Sub if matches!(i.ops[1], Operand::Imm(n) if small(n)) => 0,
        Lea if i.ops[0] == Operand::Gpr(i.mem.base)
            && i.mem.index == decode::Mem::NONE
            && small(i.mem.disp) =>
        {
            0
        }
        Xchg | Xadd => {
            own | match i.ops[1] {
                Operand::Gpr(r) => 1 << (r & 15),
                _ => 0,
            }
        }
        Mul | Div | Idiv => 0b101,
        Imul if i.ops[1] == Operand::None => 0b101,
        Cdq | Cqo | Cwd => 0b100,
        Cbw | Cwde | Cdqe | Lodsb | Lodsw | Lodsd | Lodsq | Cmpxchg => own | 1,
        _ if own == 1 << STACK => 0,
        _ => own,
    }
}

/// RSP: what is near the stack's top is of one page or two.
const STACK: u32 = 4;

/// A relative target inside the page, if it is one of full size.
fn target(i: &Insn, at: u32) -> Option<u32> {
    let Operand::Rel(distance) = i.ops[0] else {
        return None;
    };
    let to = i64::from(at) + distance;
    (0..PAGE_SIZE as i64).contains(&to).then_some(to as u32)
}

/// Whether the branch truncates its target to 16 bits.
fn is_narrow(i: &Insn) -> bool {
    i.code.op_code().operand_size() == 16
}

struct Node {
    insn: Insn,
    /// Offsets that may follow inside the region.
    taken: Option<u32>,
    next: Option<u32>,
    /// An indirect jump.
    through: bool,
}

/// The instructions that may belong to a region, by their offset.
struct Graph {
    nodes: HashMap<u32, Node>,
    /// Where indirect jumps may lead.
    targets: Vec<u32>,
}

impl Graph {
    /// The offsets that may follow an instruction.
    fn followers<'a>(&'a self, n: &'a Node) -> impl Iterator<Item = u32> + 'a {
        let targets = if n.through { &self.targets[..] } else { &[] };
        n.taken
            .into_iter()
            .chain(n.next)
            .chain(targets.iter().copied())
    }
}

/// The plan of the region at `head` of a page with the content `page`; `None` if there is no loop. `visited` tells whether control went to
/// an offset before; `lifts`, whether regions do an instruction.
pub fn plan(
    page: &[u8],
    mode: Mode,
    head: u32,
    limits: Limits,
    visited: impl Fn(u32) -> bool,
    mut lifts: impl FnMut(&Insn) -> bool,
) -> Option<Plan> {
    let mut graph = Graph {
        nodes: HashMap::new(),
        targets: Vec::new(),
    };
    let mut explore = |nodes: &mut HashMap<u32, Node>, from: u32| {
        let mut work = vec![from];
        while let Some(mut at) = work.pop() {
            loop {
                if nodes.contains_key(&at) || nodes.len() >= limits.instructions {
                    break;
                }
                let rest = page.get(at as usize..).unwrap_or_default();
                let Ok(insn) = decode::decode(rest, mode) else {
                    break;
                };
                let end = at + u32::from(insn.len);
                if end as usize > page.len() || !lifts(&insn) {
                    break;
                }
                let flow = decode::flow(insn.code);
                let jumps = insn.code.mnemonic() == Mnemonic::Jmp;
                let taken = match flow {
                    Flow::Next => None,
                    _ if is_narrow(&insn) => None,
                    Flow::Away if !jumps => None,
                    _ => target(&insn, at).filter(|&t| t == head || jumps || visited(t)),
                };
                let next = (flow != Flow::Away && (end as usize) < page.len()).then_some(end);
                let through = jumps && !matches!(insn.ops[0], Operand::Rel(_));
                let node = Node {
                    insn,
                    taken,
                    next,
                    through,
                };
                nodes.insert(at, node);
                work.extend(taken);
                match next {
                    Some(n) => at = n,
                    None => break,
                }
            }
        }
    };
    explore(&mut graph.nodes, head);
    if graph.nodes.values().any(|n| n.through) {
        let unreached = (0..page.len() as u32)
            .filter(|&at| visited(at) && !graph.nodes.contains_key(&at))
            .take(limits.targets);
        graph.targets = unreached.collect();
        for &at in &graph.targets {
            explore(&mut graph.nodes, at);
        }
    }
    let kept = leading_back(&graph, head, limits.straight);
    if !kept.contains(&head) {
        return None;
    }
    let plan = blocks(&graph, &kept, mode, head);
    (plan.blocks.len() <= limits.blocks).then_some(plan)
}

/// The offsets from which `head` can be reached over at least one edge; with `all`, every one.
fn leading_back(graph: &Graph, head: u32, all: bool) -> HashSet<u32> {
    if all {
        return graph.nodes.keys().copied().collect();
    }
    let mut before: HashMap<u32, Vec<u32>> = HashMap::new();
    for (&at, n) in &graph.nodes {
        for to in graph.followers(n) {
            before.entry(to).or_default().push(at);
        }
    }
    let (mut kept, mut work) = (HashSet::new(), vec![head]);
    while let Some(at) = work.pop() {
        for &from in before.get(&at).map_or(&[][..], Vec::as_slice) {
            if kept.insert(from) {
                work.push(from);
            }
        }
    }
    kept
}

/// Cuts the kept instructions into blocks, in reverse postorder from the head.
fn blocks(graph: &Graph, kept: &HashSet<u32>, mode: Mode, head: u32) -> Plan {
    let nodes = &graph.nodes;
    let inside = |to: Option<u32>| to.filter(|t| kept.contains(t));
    let targets: Vec<u32> = graph
        .targets
        .iter()
        .copied()
        .filter(|t| kept.contains(t))
        .collect();
    let mut leaders: HashSet<u32> = std::iter::once(head).collect();
    for at in kept {
        let n = &nodes[at];
        leaders.extend(inside(n.taken));
        if decode::flow(n.insn.code) != Flow::Next {
            leaders.extend(inside(n.next));
        }
        if n.through {
            leaders.extend(&targets);
        }
    }
    // A block is found at its leader; its end tells what follows.
    let mut found: HashMap<u32, (Vec<Insn>, Option<u32>, Option<u32>, bool)> = HashMap::new();
    let (mut order, mut work) = (Vec::new(), vec![(head, false)]);
    while let Some((start, done)) = work.pop() {
        if done {
            order.push(start);
            continue;
        }
        if found.contains_key(&start) {
            continue;
        }
        let (mut insns, mut at) = (Vec::new(), start);
        let (taken, next, through) = loop {
            let n = &nodes[&at];
            insns.push(n.insn);
            let (taken, next) = (inside(n.taken), inside(n.next));
            match next {
                Some(to) if taken.is_none() && !leaders.contains(&to) => at = to,
                _ => break (taken, next, n.through),
            }
        };
        found.insert(start, (insns, taken, next, through));
        work.push((start, true));
        if through {
            work.extend(targets.iter().map(|&t| (t, false)));
        }
        // The last one pushed comes out first: the fall-through stands next in reverse postorder if the branch is followed first.
        work.extend(next.map(|n| (n, false)));
        work.extend(taken.map(|t| (t, false)));
    }
    order.reverse();
    let number: HashMap<u32, usize> = order.iter().enumerate().map(|(n, &s)| (s, n)).collect();
    let mut blocks: Vec<Block> = order
        .iter()
        .filter_map(|s| {
            let (insns, taken, next, through) = found.remove(s)?;
            let number = |at: u32| number.get(&at).copied();
            let targets = if through { &targets[..] } else { &[] };
            Some(Block {
                start: *s,
                insns,
                taken: taken.and_then(number),
                next: next.and_then(number),
                targets: targets.iter().copied().filter_map(number).collect(),
                incoming: 0,
            })
        })
        .collect();
    blocks[0].incoming = 1;
    for n in 0..blocks.len() {
        let followers: Vec<usize> = blocks[n].followers().collect();
        for to in followers {
            blocks[to].incoming += 1;
        }
    }
    Plan { mode, blocks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::Size;

    fn plan_of(code: &[u8], head: u32, visited: impl Fn(u32) -> bool) -> Option<Plan> {
        let mut page = vec![0xccu8; PAGE_SIZE as usize];
        page[..code.len()].copy_from_slice(code);
        let mode = Mode::new(Size::B64, 3, Mode::FLAT);
        plan(&page, mode, head, Limits::default(), visited, |i| {
            i.code.mnemonic() != Mnemonic::Int3
        })
    }

    #[test]
    fn a_loop_is_found_and_what_leaves_it_is_not_kept() {
        // top: add eax, ecx; dec ecx; jz out; test eax, eax; jnz top; out: ret
        let code = [
            0x01, 0xc8, 0xff, 0xc9, 0x74, 4, 0x85, 0xc0, 0x75, 0xf6, 0xc3,
        ];
        let p = plan_of(&code, 0, |_| true).unwrap();
        assert_eq!((p.head(), p.instructions(), p.extent()), (0, 5, (0, 10)));
        assert_eq!(p.blocks.len(), 2);
        assert_eq!((p.blocks[0].taken, p.blocks[0].next), (None, Some(1)));
        assert_eq!((p.blocks[1].taken, p.blocks[1].next), (Some(0), None));
        assert_eq!(p.blocks[0].incoming, 2);
    }

    #[test]
    fn straight_code_is_no_region() {
        assert!(plan_of(&[0x01, 0xc8, 0xc3], 0, |_| true).is_none());
    }

    #[test]
    fn an_indirect_jump_leads_to_what_was_gone_to() {
        // top: jmp rax; a: inc ecx; jmp top; b: dec ecx; jmp top; never: int3
        let code = [
            0xff, 0xe0, 0xff, 0xc1, 0xeb, 0xfa, 0xff, 0xc9, 0xeb, 0xf6, 0xcc,
        ];
        let p = plan_of(&code, 0, |at| [0, 2, 6].contains(&at)).unwrap();
        assert_eq!((p.blocks.len(), p.instructions()), (3, 5));
        let starts: HashSet<u32> = p.blocks[0]
            .targets
            .iter()
            .map(|&t| p.blocks[t].start)
            .collect();
        assert_eq!(starts, [2, 6].into());
        assert!(plan_of(&code, 0, |at| at == 0).is_none());
    }

    #[test]
    fn what_jumps_is_told_from_what_steps() {
        // top: mov rax, [rsi+rcx*8]; mov rbx, [rax]; add rsi, 16; dec rcx; pop rdx; jnz top
        let code = [
            0x48, 0x8b, 0x04, 0xce, 0x48, 0x8b, 0x18, 0x48, 0x83, 0xc6, 16, 0x48, 0xff, 0xc9, 0x5a,
            0x75, 0xef,
        ];
        let p = plan_of(&code, 0, |_| true).unwrap();
        let jumping = 1 << 0 | 1 << 3 | 1 << 2;
        assert_eq!(p.steady(), !jumping);
    }

    #[test]
    fn a_branch_that_nobody_took_leads_outside() {
        // top: jz cold; back: dec ecx; jnz top; ret; cold: inc eax; jmp back
        let code = [
            0x74, 5, 0xff, 0xc9, 0x75, 0xfa, 0xc3, 0xff, 0xc0, 0xeb, 0xf7,
        ];
        assert_eq!(plan_of(&code, 0, |_| true).unwrap().instructions(), 5);
        assert_eq!(plan_of(&code, 0, |_| false).unwrap().instructions(), 3);
    }
}
