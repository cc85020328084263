//! From the underlay: XDP on a NIC. Geneve to one of our tunnel addresses goes to user space, all
//! else to the host, also IP fragments: the host reassembles what was never meant for us.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{HashMap, XskMap};
use aya_ebpf::programs::XdpContext;
use ovn_xdp_abi::map::{Counter, GENEVE_PORT, MAX_QUEUES, MAX_TUNNEL_ADDRESSES};

use super::counter::count;

/// Addresses that end tunnels here; IPv4 as IPv4-mapped IPv6.
#[map]
static TUNNEL_ADDRESSES: HashMap<[u8; 16], u32> =
    HashMap::with_max_entries(MAX_TUNNEL_ADDRESSES, 0);

/// Queue of the NIC to socket.
#[map]
static NIC_SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;

#[xdp(frags)]
pub fn nic(ctx: XdpContext) -> u32 {
    if is_ours(&ctx) != Some(true) {
        count(Counter::Passed);
        return XDP_PASS;
    }
    count(Counter::FromNic);
    NIC_SOCKETS.redirect(ctx.rx_queue_index(), XDP_DROP as u64).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn is_ours(ctx: &XdpContext) -> Option<bool> {
    let (address, udp) = match u16::from_be(at(ctx, 12)?) {
        IPV4 => {
            let version: u8 = at(ctx, ETHERNET)?;
            let fragment: u16 = at(ctx, ETHERNET + 6)?;
            let protocol: u8 = at(ctx, ETHERNET + 9)?;
            if version >> 4 != 4 || u16::from_be(fragment) & 0x3fff != 0 || protocol != UDP {
                return None;
            }
            let destination: [u8; 4] = at(ctx, ETHERNET + 16)?;
            let mut mapped = [0; 16];
            mapped[10] = 0xff;
            mapped[11] = 0xff;
            mapped[12] = destination[0];
            mapped[13] = destination[1];
            mapped[14] = destination[2];
            mapped[15] = destination[3];
            (mapped, ETHERNET + usize::from(version & 15) * 4)
        }
        IPV6 => {
            let next: u8 = at(ctx, ETHERNET + 6)?;
            if next != UDP {
                return None;
            }
            (at(ctx, ETHERNET + 24)?, ETHERNET + 40)
        }
        _ => return None,
    };
    let port: u16 = at(ctx, udp + 2)?;
    // SAFETY: the value is not used, only whether there is one.
    Some(u16::from_be(port) == GENEVE_PORT && unsafe { TUNNEL_ADDRESSES.get(address) }.is_some())
}

/// What lies `offset` bytes into the packet, if it is that long.
#[inline(always)]
fn at<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: in the packet, as just checked; plain bytes of any alignment.
    Some(unsafe { (start as *const T).read_unaligned() })
}
