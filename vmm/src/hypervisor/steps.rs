// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counting instructions by where a processor is after each of them.
//!
//! In: instruction pointer and RCX at each stop. Out: how many instructions have been executed. A
//! repeated string instruction counts as often as it repeats, at least once, however many repetitions
//! KVM lets pass between two stops: hardware stops after each, an emulator after up to 1024, and once more
//! when it finds that RCX is 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of the longest instruction.
const LONGEST: u64 = 15;

/// What is counted, for another thread to look at.
#[derive(Debug, Default)]
pub struct Executed {
    /// Set when KVM has stopped after an instruction, as it was told to. Not every KVM does.
    delivered: AtomicBool,
    /// Set when it has not stopped where it should have.
    lost: AtomicBool,
    instructions: AtomicU64,
    strings: AtomicU64,
}

impl Executed {
    /// Instructions that were over before the present one; `None` if KVM does not stop after each.
    pub fn instructions(&self) -> Option<u64> {
        self.of(&self.instructions)
    }

    /// String instructions with a prefix for repetition that have repeated at least once; `None` as
    /// above.
    pub fn strings(&self) -> Option<u64> {
        self.of(&self.strings)
    }

    fn of(&self, count: &AtomicU64) -> Option<u64> {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let lost = self.lost.load(Ordering::Relaxed);
        (delivered && !lost).then(|| count.load(Ordering::Relaxed))
    }
}

/// Where a processor stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Linear address of the next instruction.
    pub linear: u64,
    /// RCX, which counts repetitions.
    pub rcx: u64,
    /// Whether an instruction is over; else it may be in the middle of one that accesses a device.
    pub traced: bool,
}

/// The count of one processor.
#[derive(Debug)]
pub(super) struct Steps {
    linear: u64,
    rcx: u64,
    /// In a string instruction that has repeated.
    within: bool,
    instructions: u64,
    executed: Arc<Executed>,
}

impl Steps {
    /// From where the processor is now.
    pub fn new(stop: Stop, executed: Arc<Executed>) -> Self {
        Self {
            linear: stop.linear,
            rcx: stop.rcx,
            within: false,
            instructions: 0,
            executed,
        }
    }

    /// The processor has stopped again. `code` gives the bytes of an instruction by its linear address.
    pub fn follow(&mut self, stop: Stop, code: impl FnOnce(u64) -> Option<[u8; 15]>) {
        let published = &self.executed.instructions;
        published.store(self.instructions, Ordering::Relaxed);
        // An access comes at the instruction of the last stop, or behind it.
        let ahead = stop.linear.wrapping_sub(self.linear);
        if !stop.traced && ahead > LONGEST {
            self.executed.lost.store(true, Ordering::Relaxed);
        }
        let moved = ahead != 0;
        let repeated = self.rcx.wrapping_sub(stop.rcx);
        if repeated != 0 && code(self.linear).is_some_and(|code| repeats(&code)) {
            self.instructions += repeated;
            if !self.within {
                self.executed.strings.fetch_add(1, Ordering::Relaxed);
            }
            self.within = !moved;
        } else if moved || stop.traced {
            // An emulator's last look at RCX is no repetition.
            self.instructions += u64::from(!self.within);
            self.within &= !moved;
        }
        (self.linear, self.rcx) = (stop.linear, stop.rcx);
        if stop.traced {
            self.executed.delivered.store(true, Ordering::Relaxed);
            published.store(self.instructions, Ordering::Relaxed);
        }
    }
}

/// Whether an instruction is a string instruction with a prefix for repetition.
///
/// Spec: Intel SDM volume 2, 2.1.1 (prefixes), and REP/REPE/REPNE.
fn repeats(code: &[u8]) -> bool {
    let mut repeated = false;
    for byte in code {
        match byte {
            0xf2 | 0xf3 => repeated = true,
            // Segments, operand and address size, lock, REX.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0x40..=0x4f => {}
            0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf => return repeated,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod test {
    use super::*;

    const STOSB: [u8; 15] = [0xf3, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const LOOP: [u8; 15] = [0xe2, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// The count after stops at these places with these values of RCX, all over instructions that
    /// begin with `code`, and how many of them have repeated.
    fn count(code: [u8; 15], begin: (u64, u64), stops: &[(u64, u64, bool)]) -> (u64, u64) {
        let executed = Arc::new(Executed::default());
        let stop = |(linear, rcx, traced)| Stop {
            linear,
            rcx,
            traced,
        };
        let mut steps = Steps::new(stop((begin.0, begin.1, true)), Arc::clone(&executed));
        for it in stops {
            steps.follow(stop(*it), |_| Some(code));
        }
        (steps.instructions, executed.strings().unwrap())
    }

    /// A stop where RCX does not matter.
    fn stop(linear: u64, traced: bool) -> Stop {
        Stop {
            linear,
            rcx: 0,
            traced,
        }
    }

    #[test]
    fn a_string_counts_the_same_however_it_is_stopped() {
        let hardware = [(7, 2, true), (7, 1, true), (9, 0, true)];
        assert_eq!(count(STOSB, (7, 3), &hardware), (3, 1));
        let emulator = [(7, 0, true), (9, 0, true)];
        assert_eq!(count(STOSB, (7, 3), &emulator), (3, 1));
        let found_early = [(9, 1, true)];
        assert_eq!(count(STOSB, (7, 3), &found_early), (2, 1));
        let nothing = [(9, 0, true)];
        assert_eq!(count(STOSB, (7, 0), &nothing), (1, 0));
    }

    #[test]
    fn a_loop_counts_each_time_and_a_jump_to_itself_too() {
        let twice = [(7, 2, true), (7, 1, true), (9, 0, true)];
        assert_eq!(count(LOOP, (7, 3), &twice), (3, 0));
        assert_eq!(count(LOOP, (7, 3), &[(7, 3, true), (7, 3, true)]), (2, 0));
    }

    #[test]
    fn an_access_counts_once_whether_the_processor_has_moved_on_or_not() {
        let before = [(7, 3, false), (8, 3, true)];
        assert_eq!(count(LOOP, (7, 3), &before), (1, 0));
        let behind = [(8, 3, false), (9, 3, true)];
        assert_eq!(count(LOOP, (7, 3), &behind), (2, 0));
        let string = [(7, 3, false), (7, 1, false), (9, 0, true)];
        assert_eq!(count(STOSB, (7, 3), &string), (3, 1));
    }

    #[test]
    fn an_access_is_told_with_what_was_over_before_it() {
        let executed = Arc::new(Executed::default());
        let mut steps = Steps::new(stop(7, true), Arc::clone(&executed));
        steps.follow(stop(8, true), |_| None);
        steps.follow(stop(9, false), |_| None);
        assert_eq!(executed.instructions(), Some(1));
        steps.follow(stop(10, true), |_| None);
        assert_eq!(executed.instructions(), Some(3));
    }

    #[test]
    fn where_kvm_does_not_stop_there_is_no_count() {
        let executed = Arc::new(Executed::default());
        let mut steps = Steps::new(stop(7, false), Arc::clone(&executed));
        steps.follow(stop(9, false), |_| None);
        steps.follow(stop(20, false), |_| None);
        assert_eq!((executed.instructions(), executed.strings()), (None, None));
    }

    #[test]
    fn where_kvm_stops_only_at_first_there_is_no_count() {
        let executed = Arc::new(Executed::default());
        let mut steps = Steps::new(stop(7, true), Arc::clone(&executed));
        steps.follow(stop(8, true), |_| None);
        steps.follow(stop(23, false), |_| None);
        assert_eq!(executed.instructions(), Some(1));
        steps.follow(stop(22, false), |_| None);
        assert_eq!(executed.instructions(), None);
        steps.follow(stop(23, true), |_| None);
        assert_eq!(executed.instructions(), None);
    }

    #[test]
    fn only_strings_with_a_prefix_repeat() {
        assert!(repeats(&[0xf3, 0x48, 0xa5]) && repeats(&[0x67, 0xf2, 0xae]));
        assert!(!repeats(&[0xaa]) && !repeats(&[0xf3, 0x90]) && !repeats(&[0xe2, 0xfe]));
    }
}
