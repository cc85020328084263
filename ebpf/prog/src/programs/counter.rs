//! Counters by reason, one set per CPU.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use ovn_xdp_abi::map::Counter;

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Adds one.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is to this CPU's own slot; a program is not preempted by another of
        // ours on the same CPU, except that a count may be lost in an interrupt, which is tolerable.
        unsafe { *value += 1 }
    }
}
