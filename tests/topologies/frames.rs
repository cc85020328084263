//! Frames that a guest may send, each with a mark by which it is known again wherever it comes out.

use std::net::{IpAddr, Ipv6Addr};

use ovn_xdp_kit::link::Mac;
use ovn_xdp_kit::raw::{Ends, tagged};

use crate::networks::Host;

/// What a frame is known by.
pub type Mark = [u8; 12];

/// Makes a frame with a mark.
pub type Make = Box<dyn Fn(&Mark) -> Vec<u8>>;

/// A kind of frame, as one port sends it.
pub struct Shape {
    /// The interface.
    pub from: &'static str,
    /// For people.
    pub what: String,
    /// The address whose neighbour advertisement answers it: an answer bears no mark.
    pub asks: Option<Ipv6Addr>,
    /// The frame with a mark.
    pub make: Make,
}

impl Shape {
    fn new(from: &Host, what: String, make: impl Fn(&Mark) -> Vec<u8> + 'static) -> Self {
        let tags = from.tag;
        let make = move |mark: &Mark| match tags {
            Some(tag) => tagged(&make(mark), &[tag]),
            None => make(mark),
        };
        Self {
            from: from.link,
            what: format!("{} {what}", from.name),
            asks: None,
            make: Box::new(make),
        }
    }

    /// Whether a frame is the advertisement that it asks for.
    pub fn asks_for(&self, frame: &[u8]) -> bool {
        let at = if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
        let advertised = frame.get(at + 40) == Some(&136) && frame.get(at + 6) == Some(&58);
        let target = frame.get(at + 48..at + 64);
        self.asks.is_some_and(|asked| advertised && target == Some(&asked.octets()))
    }
}

/// The n-th mark.
pub fn mark(number: u32) -> Mark {
    let mut mark = *b"<mark 00000>";
    for (at, digit) in mark[6..11].iter_mut().enumerate() {
        *digit = b'0' + (number / 10u32.pow(4 - at as u32) % 10) as u8;
    }
    mark
}

fn place(frame: &[u8]) -> Option<usize> {
    frame.windows(12).position(|window| window.starts_with(b"<mark ") && window.ends_with(b">"))
}

/// The mark of a frame.
pub fn marked(frame: &[u8]) -> Option<Mark> {
    frame[place(frame)?..].first_chunk().copied()
}

/// Whether a frame is an ICMP error, or a router's own question: neither is made by us yet.
pub fn is_left_out(frame: &[u8]) -> bool {
    let at = if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
    let byte = |offset: usize| frame.get(at + offset).copied().unwrap_or(0);
    match frame.get(at - 2..at) {
        Some([0x08, 0x00]) => byte(9) == 1 && matches!(byte(20), 3 | 11),
        Some([0x86, 0xdd]) => {
            byte(6) == 58 && (byte(40) < 128 || byte(40) == 135 && marked(frame).is_none())
        }
        Some([0x08, 0x06]) => byte(7) == 1 && marked(frame).is_none(),
        _ => false,
    }
}

fn ends(from: &Host, to_mac: Mac, to: IpAddr) -> Ends {
    let source = if to.is_ipv4() { from.v4.into() } else { from.v6.into() };
    Ends { from_mac: from.mac, to_mac, from: source, to }
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0u32, |sum, pair| {
        sum + u32::from(pair[0]) * 256 + u32::from(pair.get(1).copied().unwrap_or(0))
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Changes an IPv4 header, and makes its checksum right again.
fn with_header(mut frame: Vec<u8>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    change(&mut frame[14..]);
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// An IPv6 header and an Ethernet header in front of what follows.
fn ipv6(ends: &Ends, next: u8, hops: u8, rest: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (ends.from, ends.to) else { panic!("{ends:?}") };
    let mut frame = [&ends.to_mac.0[..], &ends.from_mac.0, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend((rest.len() as u16).to_be_bytes());
    frame.extend([next, hops]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(rest);
    frame
}

/// A solicitation of `target`; the mark is in an option that nobody knows.
fn solicitation(from: &Host, target: Ipv6Addr, mark: &Mark) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let ends = ends(from, Mac([0x33, 0x33, 0xff, a, b, c]), group.into());
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(from.mac.0);
    message.extend([200, 2, 0, 0]);
    message.extend(mark);
    let mut pseudo = [from.v6.octets(), group.octets()].concat();
    pseudo.extend([0, 0, 0, message.len() as u8, 0, 0, 0, 58]);
    pseudo.extend(&message);
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    ipv6(&ends, 58, 255, &message)
}

/// What `from` sends to the hosts and routers around, and to nobody.
pub fn of(from: &Host, hosts: &[Host]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut add = |what: String, make: Make| {
        shapes.push(Shape::new(from, what, make));
    };
    for to in hosts.iter().filter(|to| to.name != from.name) {
        let near = to.network == from.network;
        let to_mac = if near { to.mac } else { from.router };
        for address in [IpAddr::from(to.v4), IpAddr::from(to.v6)] {
            let ends = ends(from, to_mac, address);
            for port in [80, 81] {
                add(
                    format!("UDP {port} to {} {address}", to.name),
                    Box::new(move |mark| ends.udp(5000, port, mark)),
                );
            }
            add(
                format!("TCP 80 to {} {address}", to.name),
                Box::new(move |mark| tcp(ends, 80, 2, mark)),
            );
            add(format!("echo to {} {address}", to.name), Box::new(move |mark| echo(ends, mark)));
        }
        if near {
            let ends = ends(from, Mac([0xff; 6]), to.v4.into());
            add(
                format!("ARP for {} {}", to.name, to.v4),
                Box::new(move |mark| padded(ends.arp().expect("IPv4"), mark)),
            );
        }
    }

    shapes.extend(questions(from, hosts));
    shapes.extend(oddities(from, hosts));
    shapes
}

fn padded(mut frame: Vec<u8>, mark: &Mark) -> Vec<u8> {
    frame.extend(mark);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn tcp(ends: Ends, port: u16, flags: u8, mark: &Mark) -> Vec<u8> {
    let mut frame = ends.tcp(5000, port);
    let header = frame.len() - 20;
    frame.extend(mark);
    frame[header + 13] = flags;
    lengthen(&mut frame, header, 16, 6);
    frame
}

fn echo(ends: Ends, mark: &Mark) -> Vec<u8> {
    let mut frame = ends.echo(7, 1);
    let (header, protocol) = if ends.from.is_ipv4() { (34, 1) } else { (54, 58) };
    frame.extend(mark);
    lengthen(&mut frame, header, 2, protocol);
    frame
}

/// Makes lengths and checksums right after something was appended.
fn lengthen(frame: &mut Vec<u8>, header: usize, at: usize, protocol: u8) {
    let length = (frame.len() - header) as u16;
    let mut pseudo = if header == 34 {
        frame[16..18].copy_from_slice(&(20 + length).to_be_bytes());
        *frame = with_header(std::mem::take(frame), |_| ());
        if protocol == 1 { Vec::new() } else { frame[26..34].to_vec() }
    } else {
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame[22..54].to_vec()
    };
    if !pseudo.is_empty() {
        pseudo.extend([0, protocol]);
        pseudo.extend(length.to_be_bytes());
    }
    frame[header + at..header + at + 2].fill(0);
    pseudo.extend(&frame[header..]);
    let sum = checksum(&pseudo);
    frame[header + at..header + at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Solicitations, and what is asked of routers.
fn questions(from: &Host, hosts: &[Host]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let near = hosts.iter().filter(|to| to.network == from.network && to.name != from.name);
    let gateway = from.gateways();
    for target in near.map(|to| to.v6).chain([gateway.1]) {
        let host = from.clone();
        let mut shape = Shape::new(from, format!("NS for {target}"), move |mark| {
            solicitation(&host, target, mark)
        });
        shape.asks = Some(target);
        shapes.push(shape);
    }
    let asks = ends(from, Mac([0xff; 6]), gateway.0.into());
    shapes.push(Shape::new(from, "ARP for its router".into(), move |mark| {
        padded(asks.arp().expect("IPv4"), mark)
    }));
    let mut routers: Vec<_> = hosts.iter().map(Host::gateways).collect();
    routers.sort();
    routers.dedup();
    for address in routers.iter().flat_map(|(v4, v6)| [IpAddr::from(*v4), IpAddr::from(*v6)]) {
        let ends = ends(from, from.router, address);
        shapes.push(Shape::new(from, format!("echo to router {address}"), move |mark| {
            echo(ends, mark)
        }));
    }
    shapes
}

/// What an ordinary guest does not send.
fn oddities(from: &Host, hosts: &[Host]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let others = || hosts.iter().filter(|to| to.name != from.name);
    let near = others().find(|to| to.network == from.network);
    let far = others().find(|to| to.network != from.network);
    let mut add = |what: &str, make: Make| {
        shapes.push(Shape::new(from, what.to_owned(), make));
    };
    let all = ends(from, Mac([0xff; 6]), [255; 4].into());
    add("to everybody", Box::new(move |mark| all.udp(5000, 80, mark)));
    let group = ends(from, Mac([1, 0, 0x5e, 1, 2, 3]), [239, 1, 2, 3].into());
    add("to an IPv4 group", Box::new(move |mark| group.udp(5000, 80, mark)));
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let group = ends(from, Mac([0x33, 0x33, 0, 0, 0, 1]), nodes.into());
    add("to all IPv6 nodes", Box::new(move |mark| group.udp(5000, 80, mark)));
    let source = from.mac;
    for kind in [0x88b5u16, 0x88cc, 0x0026, 0x8035] {
        add(
            &format!("to everybody, of type {kind:#06x}"),
            Box::new(move |mark| {
                let mut frame = [[0xff; 6], source.0].concat();
                frame.extend(kind.to_be_bytes());
                padded(frame, mark)
            }),
        );
    }
    if let Some(to) = near {
        let honest = ends(from, to.mac, to.v4.into());
        let spoof = Ends { from_mac: Mac([2, 9, 9, 9, 9, 1]), ..honest };
        if !from.learns {
            add("from another MAC address", Box::new(move |mark| spoof.udp(5000, 80, mark)));
        }
        let spoof = Ends { from: [10, 99, 0, 1].into(), ..honest };
        add("from another IP address", Box::new(move |mark| spoof.udp(5000, 80, mark)));
        let nobody = Ends { to_mac: Mac([2, 9, 9, 9, 9, 2]), ..honest };
        add("to nobody's MAC address", Box::new(move |mark| nobody.udp(5000, 80, mark)));
        let own = Ends { to_mac: from.mac, ..honest };
        add("to its own MAC address", Box::new(move |mark| own.udp(5000, 80, mark)));
        let asks = ends(from, Mac([0xff; 6]), [10, 0, from.network, 250].into());
        add("ARP for nobody", Box::new(move |mark| padded(asks.arp().expect("IPv4"), mark)));
        let asks = Ends { from: to.v4.into(), ..ends(from, Mac([0xff; 6]), to.v4.into()) };
        add("ARP for another's", Box::new(move |mark| padded(asks.arp().expect("IPv4"), mark)));
        // What a stock chassis does with a second tag depends on the megaflows that are there already:
        // they do not look at it.
        let stacks: &[&[u16]] = &[&[0], &[7], &[7, 8], &[7, 8, 9], &[0x2007]];
        for tags in stacks.iter().filter(|_| from.tag.is_none()) {
            add(
                &format!("with tags {tags:x?}"),
                Box::new(move |mark| tagged(&honest.udp(5000, 80, mark), tags)),
            );
        }
        add(
            "with the later part of an IPv4 packet",
            Box::new(move |mark| {
                with_header(honest.udp(5000, 80, mark), |ip| ip[6..8].copy_from_slice(&[0, 9]))
            }),
        );
        for (what, whole) in [
            ("UDP", (|ends, mark| ends.udp(5000, 80, mark)) as fn(Ends, &Mark) -> Vec<u8>),
            ("TCP", |ends, mark| tcp(ends, 80, 2, mark)),
            ("ICMP", echo),
        ] {
            add(
                &format!("with the first part of an IPv4 packet of {what}"),
                Box::new(move |mark| {
                    with_header(whole(honest, mark), |ip| ip[6..8].copy_from_slice(&[0x20, 0]))
                }),
            );
        }
        add(
            "of an unknown protocol",
            Box::new(move |mark| with_header(honest.udp(5000, 80, mark), |ip| ip[9] = 99)),
        );
        add(
            "with padding",
            Box::new(move |mark| [honest.udp(5000, 80, mark), vec![0xa5; 30]].concat()),
        );
        add(
            "longer than its length",
            Box::new(move |mark| [honest.udp(5000, 80, mark), vec![0xa5; 300]].concat()),
        );
        add(
            "with a wrong UDP checksum",
            Box::new(move |mark| {
                let mut frame = honest.udp(5000, 80, mark);
                frame[40] ^= 0x55;
                frame
            }),
        );
        add("TCP with odd flags", Box::new(move |mark| tcp(honest, 80, 0x29, mark)));
        let honest = ends(from, to.mac, to.v6.into());
        for (what, next, header) in [
            ("hop-by-hop options", 0, [17, 0, 1, 4, 0, 0, 0, 0]),
            ("a later fragment", 44, [17, 0, 0, 8, 0, 0, 0, 1]),
            ("a first fragment", 44, [17, 0, 0, 1, 0, 0, 0, 1]),
        ] {
            add(
                &format!("IPv6 with {what}"),
                Box::new(move |mark| {
                    let udp = &honest.udp(5000, 80, mark)[54..];
                    ipv6(&honest, next, 64, &[&header[..], udp].concat())
                }),
            );
        }
    }
    if let Some(to) = far {
        let honest = ends(from, from.router, to.v4.into());
        for ttl in [0, 1, 2, 3, 255] {
            add(
                &format!("to {} with a TTL of {ttl}", to.name),
                Box::new(move |mark| with_header(honest.udp(5000, 80, mark), |ip| ip[8] = ttl)),
            );
        }
        for tos in [0x03, 0xb9, 0xfc] {
            add(
                &format!("to {} with a ToS of {tos:#x}", to.name),
                Box::new(move |mark| with_header(honest.udp(5000, 80, mark), |ip| ip[1] = tos)),
            );
        }
        add(
            "without a UDP checksum",
            Box::new(move |mark| {
                let mut frame = honest.udp(5000, 80, mark);
                frame[40..42].fill(0);
                frame
            }),
        );
        add(
            "with IPv4 options, routed",
            Box::new(move |mark| {
                let mut frame = honest.udp(5000, 80, mark);
                frame.splice(34..34, [1, 1, 1, 0]);
                frame[14] = 0x46;
                let length = (frame.len() - 14) as u16;
                frame[16..18].copy_from_slice(&length.to_be_bytes());
                frame[24..26].fill(0);
                let sum = checksum(&frame[14..38]);
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
                frame
            }),
        );
        add(
            "a later fragment, routed",
            Box::new(move |mark| {
                with_header(honest.udp(5000, 80, mark), |ip| ip[6..8].copy_from_slice(&[0, 9]))
            }),
        );
        let nowhere = ends(from, from.router, [203, 0, 113, 7].into());
        add("to where no route leads", Box::new(move |mark| nowhere.udp(5000, 80, mark)));
        let honest = ends(from, from.router, to.v6.into());
        for hops in [0, 1, 2, 3] {
            add(
                &format!("to {} with a hop limit of {hops}", to.name),
                Box::new(move |mark| ipv6(&honest, 17, hops, &honest.udp(5000, 80, mark)[54..])),
            );
        }
    }
    shapes
}
