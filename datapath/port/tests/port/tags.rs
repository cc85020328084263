//! VLAN tags between a VM's tap, the forwarder and another VM's tap.

use ovn_xdp_abi::map::Counter;
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::{Ports, PortsConfig};

use crate::lab::cross::{Cross, Seen, TEST_ETHERTYPE};
use crate::lab::tap::{Tap, VNET_HEADER};
use crate::lab::{Lab, checksum, inside, wait_for};

const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

fn frame(tags: &[(u16, u16)], payload: &[u8]) -> Vec<u8> {
    let mut frame = ADDRESSES.to_vec();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(TEST_ETHERTYPE);
    frame.extend(payload);
    frame
}

fn is_test(frame: &[u8]) -> bool {
    frame.starts_with(&ADDRESSES)
}

struct Vms {
    taps: [Tap; 2],
    ports: Ports,
    cross: Cross,
    _lab: Lab,
}

/// `vnet` says which of the VMs leave checksums and segmentation to the host.
fn vms(system_id: &str, vnet: [bool; 2]) -> Vms {
    let mut lab = Lab::new();
    let host = lab.namespace("host");
    let taps = [Tap::new(&host, "tap1", vnet[0]), Tap::new(&host, "tap2", vnet[1])];
    let config = PortsConfig { system_id: system_id.into(), ..PortsConfig::default() };
    let mut ports = inside(&host, || Ports::open(config).unwrap());
    ports.attach_interface(InterfaceId(1), "tap1").unwrap();
    assert!(ports.admit_interface(InterfaceId(1)).unwrap());
    ports.attach_interface(InterfaceId(2), "tap2").unwrap();
    assert!(ports.admit_interface(InterfaceId(2)).unwrap());
    let cross = Cross::pair();
    ports.start(vec![cross.clone()]).unwrap();
    Vms { taps, ports, cross, _lab: lab }
}

#[test]
fn up_to_three_tags_are_seen_and_arrive_as_they_were_sent() {
    let Vms { taps: [first, second], cross, .. } = &mut vms("tags", [false; 2]);
    let cases: &[&[(u16, u16)]] = &[
        &[],
        &[(0x8100, 7)],
        &[(0x8100, 0)],
        &[(0x8100, 0xffff)],
        &[(0x88a8, 7)],
        &[(0x8100, 7), (0x8100, 9)],
        &[(0x88a8, 0x2007), (0x8100, 0x4009)],
        &[(0x8100, 7), (0x88a8, 9), (0x8100, 11)],
    ];
    for tags in cases {
        // The longest does not fit the device, and comes by the trunk.
        for len in [4, 24, 46, 1400, 3000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let sent = frame(tags, &payload);
            first.send(&sent);
            let got = second.receive(is_test).unwrap_or_else(|| panic!("{tags:?}, {len} bytes"));
            // The kernel or we may pad what is shorter than Ethernet allows.
            assert!(got.starts_with(&sent), "{tags:?}: sent {sent:02x?}, got {got:02x?}");
            assert!(
                got[sent.len()..].iter().all(|byte| *byte == 0) && got.len() <= sent.len().max(60)
            );

            let seen = cross.seen.lock().unwrap().pop().unwrap();
            let vlan = tags.first().map(|(tpid, tci)| VlanHeader { tpid: *tpid, tci: *tci });
            let bytes = frame(tags.get(1..).unwrap_or(&[]), &payload);
            assert_eq!(seen, Seen { from: 1, vlan, bytes });
        }
    }
}

#[test]
fn a_frame_with_more_tags_than_the_trunk_carries_is_dropped_and_counted() {
    let Vms { taps: [first, second], ports, .. } = &mut vms("many-tags", [false; 2]);
    first.send(&frame(&[(0x8100, 1); 4], &[1; 46]));
    first.send(&frame(&[(0x8100, 1); 3], &[2; 46]));
    let got = second.receive(is_test).unwrap();
    assert_eq!(got, frame(&[(0x8100, 1); 3], &[2; 46]));
    let counters = ports.counters().unwrap();
    let dropped = counters.iter().find(|(counter, _)| *counter == Counter::TooManyTags).unwrap();
    assert_eq!(dropped.1, 1);
}

/// An IPv4 TCP packet of a VM that leaves segmentation and checksums to the host, as virtio does.
fn unsegmented(payload: &[u8], mss: u16) -> Vec<u8> {
    let mut ip = vec![0x45, 0];
    ip.extend(((40 + payload.len()) as u16).to_be_bytes());
    ip.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum(&ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut tcp =
        vec![0x30, 0x39, 0x00, 0x50, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let length = (20 + payload.len()) as u16;
    let pseudo: Vec<u8> = [&ip[12..20], &[0, 6], &length.to_be_bytes()].concat();
    tcp[16..18].copy_from_slice(&(!checksum(&pseudo, 0)).to_be_bytes());
    // virtio_net_hdr: NEEDS_CSUM, GSO_TCPV4, header length, MSS, start and offset of the checksum.
    let mut all = vec![1, 1];
    all.extend((54u16 + 4).to_le_bytes());
    all.extend(mss.to_le_bytes());
    all.extend((34u16 + 4).to_le_bytes());
    all.extend(16u16.to_le_bytes());
    assert_eq!(all.len(), VNET_HEADER);
    all.extend(ADDRESSES);
    all.extend([0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
    all.extend(ip);
    all.extend(tcp);
    all.extend(payload);
    all
}

/// What one VM sends unsegmented, [`unsegmented`] by `mss` bytes.
fn stream() -> Vec<u8> {
    (0..60_000u32).map(|i| (i ^ (i >> 8)) as u8).collect()
}

#[test]
fn a_tagged_64_kilobyte_segment_of_a_vm_arrives_cut_and_with_right_checksums() {
    let Vms { taps: [first, second], .. } = &mut vms("gso", [true, false]);
    let payload = stream();
    first.send(&unsegmented(&payload, 1400));
    let mut got = Vec::new();
    while got.len() < payload.len() {
        let frame = second.receive(is_test).expect("every segment arrives");
        assert_eq!(&frame[12..18], &[0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
        let total = usize::from(u16::from_be_bytes([frame[20], frame[21]]));
        let ip = &frame[18..18 + total];
        assert_eq!(checksum(&ip[..20], 0), 0, "IPv4 header checksum");
        let length = (total - 20) as u16;
        let pseudo: Vec<u8> = [&ip[12..20], &[0, 6], &length.to_be_bytes()].concat();
        assert_eq!(checksum(&ip[20..], u32::from(!checksum(&pseudo, 0))), 0, "TCP checksum");
        let sequence = u32::from_be_bytes(ip[24..28].try_into().unwrap());
        assert_eq!(sequence as usize - 1, got.len());
        assert_eq!(ip.len() - 40, 1400.min(payload.len() - got.len()));
        got.extend_from_slice(&ip[40..]);
    }
    assert!(got == payload);
}

#[test]
fn a_vm_that_takes_segments_unsegmented_gets_those_of_a_stream_as_one_frame() {
    let Vms { taps: [first, second], .. } = &mut vms("gro", [true, true]);
    let payload = stream();
    wait_for("a frame of many segments", || {
        first.send(&unsegmented(&payload, 1400));
        let (mut got, mut longest) = (Vec::new(), 0);
        while got.len() < payload.len() {
            let frame = second.receive(|frame| is_test(&frame[VNET_HEADER..]));
            let frame = frame.expect("every byte arrives");
            let (vnet, frame) = frame.split_at(VNET_HEADER);
            let data = &frame[18 + 40..];
            if data.len() > 1400 {
                // NEEDS_CSUM, GSO_TCPV4, header length, segment, start and offset of the checksum.
                assert_eq!(vnet, [1, 1, 58, 0, 0x78, 5, 38, 0, 16, 0]);
            }
            assert_eq!(&frame[12..18], &[0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
            let total = usize::from(u16::from_be_bytes([frame[20], frame[21]]));
            assert_eq!(total, frame.len() - 18);
            assert_eq!(checksum(&frame[18..38], 0), 0, "IPv4 header checksum");
            let sequence = u32::from_be_bytes(frame[42..46].try_into().unwrap());
            assert_eq!(sequence as usize - 1, got.len());
            got.extend_from_slice(data);
            longest = longest.max(data.len());
        }
        assert!(got == payload);
        longest >= 10 * 1400
    });
}
