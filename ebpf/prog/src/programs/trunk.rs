//! From the trunk into user space: XDP at the far end, one AF_XDP socket per queue.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::XskMap;
use aya_ebpf::programs::XdpContext;
use ovn_xdp_abi::map::MAX_QUEUES;

/// Queue of the trunk's far end to socket.
#[map]
static TRUNK_SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);

#[xdp(frags)]
pub fn trunk(ctx: XdpContext) -> u32 {
    TRUNK_SOCKETS.redirect(ctx.rx_queue_index(), XDP_DROP as u64).unwrap_or(XDP_ABORTED)
}
