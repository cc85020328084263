//! From user space down the trunk: XDP at its near end.
//!
//! The private header comes off here, and the interface's number goes on as metadata: what the kernel
//! looks at is the tenant's own Ethernet frame.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use ovn_xdp_abi::map::Counter;
use ovn_xdp_abi::trunk::{TO_WORKLOAD, TRUNK_HEADER, TrunkHeader};

use super::counter::count;

#[xdp(frags)]
pub fn lower(ctx: XdpContext) -> u32 {
    match strip(&ctx) {
        Ok(()) => XDP_PASS,
        Err(reason) => {
            count(reason);
            XDP_DROP
        }
    }
}

#[inline(always)]
fn strip(ctx: &XdpContext) -> Result<(), Counter> {
    let start = ctx.data();
    if start + TRUNK_HEADER > ctx.data_end() {
        return Err(Counter::Foreign);
    }
    // SAFETY: in the frame, as just checked; plain bytes of any alignment.
    let header = unsafe { (start as *const TrunkHeader).read_unaligned() };
    if !header.is(TO_WORKLOAD) {
        return Err(Counter::Foreign);
    }
    let size = size_of::<u32>();
    // SAFETY: the context is valid for the whole run of the program.
    unsafe {
        if bpf_xdp_adjust_head(ctx.ctx, TRUNK_HEADER as i32) != 0
            || bpf_xdp_adjust_meta(ctx.ctx, -(size as i32)) != 0
        {
            return Err(Counter::NotRestored);
        }
    }
    // Pointers from before the adjustments are worth nothing now.
    let meta = ctx.metadata();
    if meta + size > ctx.data() {
        return Err(Counter::NotRestored);
    }
    // SAFETY: in the metadata, as just checked.
    unsafe { (meta as *mut u32).write_unaligned(header.interface()) };
    Ok(())
}
