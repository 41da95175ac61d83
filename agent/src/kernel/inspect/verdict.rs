//! How a TC program can end: whether it always hands the packet on, told from its instructions.
//!
//! A verdict is whatever register 0 holds at an exit. Constants are followed through moves and along every path; what
//! comes from anywhere else could be anything. So the answer may be too careful, never too trusting.

/// How a program can end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endings {
    /// It may drop the packet.
    pub may_drop: bool,
    /// It may end the chain in another way: accept, redirect, or what cannot be told.
    pub may_end_otherwise: bool,
}

/// What a register may hold, as a set of bits.
type Values = u8;

/// `TCX_NEXT`, `TC_ACT_UNSPEC`.
const NEXT: Values = 1;
/// `TCX_DROP`, `TC_ACT_SHOT`.
const DROP: Values = 2;
const OTHER: Values = 4;

/// Registers 0 to 10.
type Registers = [Values; 11];

/// One instruction (`Documentation/bpf/standardization/instruction-set.rst`).
#[derive(Clone, Copy)]
struct Instruction {
    opcode: u8,
    destination: usize,
    source: usize,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn decode(bytes: [u8; 8]) -> Self {
        Self {
            opcode: bytes[0],
            destination: usize::from(bytes[1] & 0x0f),
            source: usize::from(bytes[1] >> 4),
            offset: i16::from_le_bytes([bytes[2], bytes[3]]),
            immediate: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }
}

const LOAD_WIDE: u8 = 0x18;
const CALL: u8 = 0x85;
const CALL_REGISTER: u8 = 0x8d;
const TAIL_CALL: u8 = 0xf0;
const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
const JUMP_LONG: u8 = 0x06;

/// The endings of a program with these instructions, each in the kernel's eight bytes.
pub(super) fn endings(instructions: &[[u8; 8]]) -> Endings {
    let program: Vec<Instruction> = instructions.iter().map(|bytes| Instruction::decode(*bytes)).collect();
    let mut known: Vec<Option<Registers>> = vec![None; program.len()];
    let mut verdicts = if program.is_empty() { OTHER } else { 0 };
    let mut open = vec![(0, [OTHER; 11])];
    while let Some((at, registers)) = open.pop() {
        let Some(slot) = known.get_mut(at) else {
            verdicts |= OTHER;
            continue;
        };
        let merged = slot.map_or(registers, |before| {
            std::array::from_fn(|one| before[one] | registers[one])
        });
        if *slot == Some(merged) {
            continue;
        }
        *slot = Some(merged);
        let instruction = program[at];
        match instruction.opcode {
            EXIT => verdicts |= merged[0],
            TAIL_CALL => verdicts |= OTHER,
            _ => {
                let after = step(instruction, merged);
                open.extend(
                    next(instruction, at)
                        .into_iter()
                        .flatten()
                        .map(|target| (target, after)),
                );
            }
        }
    }
    Endings {
        may_drop: verdicts & DROP != 0,
        may_end_otherwise: verdicts & OTHER != 0,
    }
}

const fn value(immediate: i32) -> Values {
    match immediate {
        -1 => NEXT,
        2 => DROP,
        _ => OTHER,
    }
}

/// The registers after an instruction that is no exit.
fn step(instruction: Instruction, mut registers: Registers) -> Registers {
    let Instruction {
        opcode,
        destination,
        source,
        offset,
        immediate,
    } = instruction;
    let mut set = |register: usize, value: Values| {
        if let Some(slot) = registers.get_mut(register) {
            *slot = value;
        }
    };
    match opcode {
        // A move of a constant, of a register, and a wide load of a plain number.
        0xb4 | 0xb7 => set(destination, value(immediate)),
        0xbc | 0xbf if offset == 0 => {
            let moved = registers.get(source).copied().unwrap_or(OTHER);
            if let Some(slot) = registers.get_mut(destination) {
                *slot = moved;
            }
        }
        LOAD_WIDE if source == 0 => set(destination, value(immediate)),
        CALL | CALL_REGISTER => (0..=5).for_each(|register| set(register, OTHER)),
        _ => match opcode & 0x07 {
            // Loads from packets by the old instructions answer in register 0 and spoil the next five.
            0 if opcode != LOAD_WIDE => (0..=5).for_each(|register| set(register, OTHER)),
            // Other loads and arithmetic.
            0 | 1 | 4 | 7 => set(destination, OTHER),
            // Atomic operations may fetch into their source, or into register 0.
            3 if opcode & 0xe0 == 0xc0 => {
                set(source, OTHER);
                set(0, OTHER);
            }
            _ => {}
        },
    }
    registers
}

/// Where the program may go on.
fn next(instruction: Instruction, at: usize) -> [Option<usize>; 2] {
    let to = |offset: i64| Some((at as i64 + 1 + offset).try_into().unwrap_or(usize::MAX));
    match instruction.opcode {
        LOAD_WIDE => [to(1), None],
        JUMP => [to(i64::from(instruction.offset)), None],
        JUMP_LONG => [to(i64::from(instruction.immediate)), None],
        CALL | CALL_REGISTER => [to(0), None],
        opcode if matches!(opcode & 0x07, 5 | 6) => [to(0), to(i64::from(instruction.offset))],
        _ => [to(0), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> [u8; 8] {
        let (offset, immediate) = (offset.to_le_bytes(), immediate.to_le_bytes());
        [
            opcode,
            registers,
            offset[0],
            offset[1],
            immediate[0],
            immediate[1],
            immediate[2],
            immediate[3],
        ]
    }

    const RETURN: [u8; 8] = instruction(EXIT, 0, 0, 0);

    const fn set(register: u8, number: i32) -> [u8; 8] {
        instruction(0xb7, register, 0, number)
    }

    fn check(program: &[[u8; 8]], may_drop: bool, may_end_otherwise: bool) {
        assert_eq!(
            endings(program),
            Endings {
                may_drop,
                may_end_otherwise
            }
        );
    }

    #[test]
    fn constants_are_followed() {
        check(&[set(0, -1), RETURN], false, false);
        check(&[set(0, 2), RETURN], true, false);
        check(&[set(0, 0), RETURN], false, true);
        // r6 = -1; r0 = r6
        check(&[set(6, -1), instruction(0xbf, 0x60, 0, 0), RETURN], false, false);
        // r0 = 0xffffffff as a wide load
        let wide = [instruction(LOAD_WIDE, 0, 0, -1), instruction(0, 0, 0, 0), RETURN];
        check(&wide, false, false);
    }

    #[test]
    fn every_path_counts() {
        // r0 = -1; if r1 == 0 goto +1; r0 = 2; exit
        let branch = [set(0, -1), instruction(0x15, 1, 1, 0), set(0, 2), RETURN];
        check(&branch, true, false);
        // A loop: r0 = -1; r1 -= 1; if r1 != 0 goto -2; exit
        let around = [
            set(0, -1),
            instruction(0x17, 1, 0, 1),
            instruction(0x55, 1, -2, 0),
            RETURN,
        ];
        check(&around, false, false);
        // What lies behind an unconditional jump is never run.
        check(
            &[set(0, -1), instruction(JUMP, 0, 1, 0), set(0, 0), RETURN],
            false,
            false,
        );
    }

    #[test]
    fn what_cannot_be_told_could_be_anything() {
        check(&[], false, true);
        check(&[RETURN], false, true);
        // r0 = -1; call helper; exit
        check(&[set(0, -1), instruction(CALL, 0, 0, 1), RETURN], false, true);
        check(&[set(0, -1), instruction(TAIL_CALL, 0, 0, 0)], false, true);
        // r0 = -1; r0 += 1; exit
        check(&[set(0, -1), instruction(0x07, 0, 0, 1), RETURN], false, true);
        // r0 = -1, and on beyond the end
        check(&[set(0, -1)], false, true);
    }
}
