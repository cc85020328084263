//! Frames that a worker builds itself: neighbour advertisements, and errors about packets that are
//! too big for their tunnel.

use crate::checksum::{internet, pseudo_header};
use crate::field::{self, Context};
use crate::parse::{Layers, Network, ethertype, protocol};
use crate::rewrite::Rewrite;

/// The advertisement that answers the solicitation in `context` (`nd_na`, `nd_na_router`; RFC 4861,
/// 7.2.4), or `None` if it is no solicitation. Its source is the target; to a solicitation from the
/// unspecified address it goes to all nodes, unsolicited: ovn-controller says "solicited" to the
/// unspecified address there, and so loses to a duplicate address that it ought to defend.
pub fn advertisement(context: &Context, router: bool) -> Option<Vec<u8>> {
    let solicitation = context.get(field::ETH_TYPE) == u128::from(ethertype::IPV6)
        && context.get(field::IP_PROTO) == u128::from(protocol::ICMPV6)
        && context.get(field::ICMP_TYPE) == 135
        && context.get(field::ICMP_CODE) == 0
        && context.get(field::IP_TTL) == 255;
    if !solicitation {
        return None;
    }
    let target = context.get(field::ND_TARGET).to_be_bytes();
    let mac = &context.get(field::ETH_DST).to_be_bytes()[10..];
    let asker = context.get(field::IP6_SRC);
    let asked = if asker == 0 { ALL_NODES } else { asker };
    let mut flags = OVERRIDE;
    if asker != 0 {
        flags |= SOLICITED;
    }
    if router {
        flags |= ROUTER;
    }
    let mut frame = vec![0; 14 + 40 + 32];
    frame[..6].copy_from_slice(&context.get(field::ETH_SRC).to_be_bytes()[10..]);
    frame[6..12].copy_from_slice(mac);
    frame[12..14].copy_from_slice(&ethertype::IPV6.to_be_bytes());
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&32u16.to_be_bytes());
    frame[20] = protocol::ICMPV6;
    frame[21] = 255;
    frame[22..38].copy_from_slice(&target);
    frame[38..54].copy_from_slice(&asked.to_be_bytes());
    let message = &mut frame[54..];
    message[0] = 136;
    message[4] = flags;
    message[8..24].copy_from_slice(&target);
    message[24] = 2;
    message[25] = 1;
    message[26..32].copy_from_slice(mac);
    icmp6_checksum(&mut frame, 54);
    Some(frame)
}

/// The error for a packet whose frame may have `max_frame` bytes at most: fragmentation needed
/// (RFC 1191) or packet too big (RFC 4443, 3.2), from the packet's destination to its source, with
/// the start of the packet as it would have been sent. `None` where RFC 1122, 3.2.2, and RFC 4443,
/// 2.4, forbid one: about errors, later fragments, and to or from addresses that are no single host.
pub fn too_big(
    original: &[u8],
    layers: &Layers,
    rewrite: &Rewrite,
    context: &Context,
    max_frame: usize,
) -> Option<Vec<u8>> {
    let at = usize::from(layers.network_at);
    let end = original.len().min(layers.end as usize);
    // In a first fragment, which the context has no type of, too.
    let kind = layers.transport_at.and_then(|at| original.get(usize::from(at))).copied();
    let kind = kind.unwrap_or(0);
    let original = original.get(at..end)?;
    let tags = usize::from(context.get(field::VLAN_TCI) >> 12 & 1 == 1);
    if context.get(field::IP_FRAG) & 2 != 0
        || context.get(field::ETH_DST) >> 40 & 1 == 1
        || context.get(field::ETH_SRC) >> 40 & 1 == 1
    {
        return None;
    }
    let number = context.get(field::IP_PROTO) as u8;
    let (source, destination) = (context.slots[7], context.slots[8]);
    let mtu = max_frame.checked_sub(14 + 4 * tags)?;
    // The quoted packet carries the addresses and TTL it was to leave with.
    let quote = |most: usize| {
        let mut quoted = original[..original.len().min(most)].to_vec();
        let inner = Layers {
            network_at: 0,
            transport_at: layers.transport_at.map(|t| t - at as u16),
            ..*layers
        };
        rewrite.network_headers(&mut quoted, &inner);
        quoted
    };
    let mut frame = Vec::with_capacity(1294);
    frame.extend_from_slice(&context.get(field::ETH_SRC).to_be_bytes()[10..]);
    frame.extend_from_slice(&context.get(field::ETH_DST).to_be_bytes()[10..]);
    match layers.network {
        Network::V4 => {
            let (source, destination) = (source as u32, destination as u32);
            let error = number == protocol::ICMP && matches!(kind, 3 | 4 | 5 | 11 | 12);
            if error || source == 0 || source >> 28 >= 0xe || destination >> 28 >= 0xe {
                return None;
            }
            let quoted = quote(576 - 28);
            frame.extend_from_slice(&ethertype::IPV4.to_be_bytes());
            let total = (28 + quoted.len()) as u16;
            let mut header = [0; 20];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[8] = 255;
            header[9] = protocol::ICMP;
            header[12..16].copy_from_slice(&destination.to_be_bytes());
            header[16..20].copy_from_slice(&source.to_be_bytes());
            let checksum = internet(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend_from_slice(&header);
            frame.extend_from_slice(&[3, 4, 0, 0, 0, 0]);
            frame.extend_from_slice(&u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
            frame.extend_from_slice(&quoted);
            let checksum = internet(&frame[34..]);
            frame[36..38].copy_from_slice(&checksum.to_be_bytes());
        }
        Network::V6 => {
            let error = number == protocol::ICMPV6 && (kind < 128 || kind == 137);
            if error || source == 0 || source >> 120 == 0xff {
                return None;
            }
            let quoted = quote(1280 - 48);
            frame.extend_from_slice(&ethertype::IPV6.to_be_bytes());
            frame.extend_from_slice(&[0x60, 0, 0, 0]);
            frame.extend_from_slice(&((8 + quoted.len()) as u16).to_be_bytes());
            frame.extend_from_slice(&[protocol::ICMPV6, 255]);
            frame.extend_from_slice(&destination.to_be_bytes());
            frame.extend_from_slice(&source.to_be_bytes());
            frame.extend_from_slice(&[2, 0, 0, 0]);
            frame.extend_from_slice(&(mtu as u32).to_be_bytes());
            frame.extend_from_slice(&quoted);
            icmp6_checksum(&mut frame, 54);
        }
        _ => return None,
    }
    Some(frame)
}

const ALL_NODES: u128 = 0xff02 << 112 | 1;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

fn icmp6_checksum(frame: &mut [u8], at: usize) {
    let length = frame.len() - at;
    let mut sum = pseudo_header(&frame[22..38], &frame[38..54], protocol::ICMPV6, length);
    sum.add(&frame[at..]);
    let checksum = sum.finish();
    frame[at + 2..at + 4].copy_from_slice(&checksum.to_be_bytes());
}
