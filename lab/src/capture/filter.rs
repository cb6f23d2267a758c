//! What a capture keeps, and the program by which the kernel passes over everything else.

use socket2::SockFilter;

use super::packet::{Kind, Packet};

/// What a capture keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Echoes and opening TCP connections, both directions.
    Everything,
    /// Echo requests and replies, both directions.
    Echoes,
    /// Echo requests that the host sends and replies that it gets: all that round trips need, and on `lo` half of what
    /// passes.
    OwnEchoes,
    /// TCP SYNs with and without ACK, both directions.
    Openings,
}

impl Filter {
    /// Whether a packet is kept.
    #[must_use]
    pub fn admits(self, packet: &Packet) -> bool {
        let opens = match packet.kind {
            Kind::EchoRequest { .. } | Kind::EchoReply { .. } => false,
            Kind::Syn { .. } | Kind::SynAck { .. } => true,
        };
        match self {
            Self::Everything => true,
            Self::Echoes => !opens,
            Self::OwnEchoes => !opens && packet.outgoing == matches!(packet.kind, Kind::EchoRequest { .. }),
            Self::Openings => opens,
        }
    }
}

/// One step of a rule.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A = byte at an offset.
    Byte(u32),
    /// A = two bytes at an offset.
    Word(u32),
    /// A = byte at an offset behind the IPv4 header.
    ByteBehindV4(u32),
    /// A = `sll_pkttype`.
    Direction,
    /// A = A and mask.
    Mask(u32),
    /// Go on if A is this, else try the next rule.
    Is(u32),
    /// Go on if A is not this, else try the next rule.
    IsNot(u32),
}

/// The program of classic BPF (`Documentation/networking/filter.rst`) that lets these packets through: the rules one
/// after the other, the first that holds takes the packet. Packets start at their IP header.
pub(super) fn program(filter: Filter) -> Vec<SockFilter> {
    let rules = match filter {
        Filter::Everything => [echoes(), openings()].concat(),
        Filter::Echoes => echoes(),
        Filter::OwnEchoes => own_echoes(),
        Filter::Openings => openings(),
    };
    let mut program: Vec<_> = rules.iter().flat_map(|rule| assemble(rule)).collect();
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

const V4_ICMP: [Step; 8] = [
    Step::Byte(0),
    Step::Mask(0xf0),
    Step::Is(0x40),
    Step::Byte(9),
    Step::Is(1),
    Step::Word(6),
    Step::Mask(0x1fff),
    Step::Is(0),
];

const V6_ICMP: [Step; 5] = [
    Step::Byte(0),
    Step::Mask(0xf0),
    Step::Is(0x60),
    Step::Byte(6),
    Step::Is(58),
];

/// `PACKET_OUTGOING` of packet(7).
const OUTGOING: u32 = 4;

/// Types 0 and 8 differ in one bit, 128 and 129 in another.
fn echoes() -> Vec<Vec<Step>> {
    vec![
        [&V4_ICMP[..], &[Step::ByteBehindV4(0), Step::Mask(0xf7), Step::Is(0)]].concat(),
        [&V6_ICMP[..], &[Step::Byte(40), Step::Mask(0xfe), Step::Is(128)]].concat(),
    ]
}

fn own_echoes() -> Vec<Vec<Step>> {
    let rule = |start: &[Step], kind: Step, value: u32, direction: Step| {
        [start, &[kind, Step::Is(value), Step::Direction, direction]].concat()
    };
    vec![
        rule(&V4_ICMP, Step::ByteBehindV4(0), 8, Step::Is(OUTGOING)),
        rule(&V4_ICMP, Step::ByteBehindV4(0), 0, Step::IsNot(OUTGOING)),
        rule(&V6_ICMP, Step::Byte(40), 128, Step::Is(OUTGOING)),
        rule(&V6_ICMP, Step::Byte(40), 129, Step::IsNot(OUTGOING)),
    ]
}

fn openings() -> Vec<Vec<Step>> {
    let v4 = [
        Step::Byte(0),
        Step::Mask(0xf0),
        Step::Is(0x40),
        Step::Byte(9),
        Step::Is(6),
        Step::Word(6),
        Step::Mask(0x1fff),
        Step::Is(0),
        Step::ByteBehindV4(13),
        Step::Mask(2),
        Step::Is(2),
    ];
    let v6 = [
        Step::Byte(0),
        Step::Mask(0xf0),
        Step::Is(0x60),
        Step::Byte(6),
        Step::Is(6),
        Step::Byte(53),
        Step::Mask(2),
        Step::Is(2),
    ];
    vec![v4.to_vec(), v6.to_vec()]
}

const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);
const WHOLE: u32 = u32::MAX;

#[expect(clippy::cast_possible_truncation, reason = "all codes are below 0x100")]
const fn code(parts: u32) -> u16 {
    parts as u16
}

/// Turns a rule into instructions that end by taking the packet; a step that fails jumps behind them.
fn assemble(rule: &[Step]) -> Vec<SockFilter> {
    let mut instructions = Vec::new();
    for (index, step) in rule.iter().enumerate() {
        let behind: usize = rule[index + 1..].iter().copied().map(Step::length).sum();
        // Rules have some twenty instructions.
        let away = u8::try_from(behind + 1).unwrap_or(u8::MAX);
        instructions.extend(step.instructions(away));
    }
    instructions.push(SockFilter::new(RETURN, 0, 0, WHOLE));
    instructions
}

impl Step {
    fn length(self) -> usize {
        if matches!(self, Self::ByteBehindV4(_)) { 2 } else { 1 }
    }

    fn instructions(self, away: u8) -> Vec<SockFilter> {
        let plain = |parts: u32, value| SockFilter::new(code(parts), 0, 0, value);
        let equal = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
        match self {
            Self::Byte(at) => vec![plain(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at)],
            Self::Word(at) => vec![plain(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, at)],
            Self::ByteBehindV4(at) => vec![
                plain(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
                plain(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, at),
            ],
            Self::Direction => vec![plain(
                libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
                (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned(),
            )],
            Self::Mask(mask) => vec![plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask)],
            Self::Is(value) => vec![SockFilter::new(equal, 0, away, value)],
            Self::IsNot(value) => vec![SockFilter::new(equal, away, 0, value)],
        }
    }
}
