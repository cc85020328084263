//! Prints matches or actions, valid, nearly valid and hostile, a line each, always the same for a
//! seed: `generate_texts expressions|actions SEED COUNT`. `scripts/record-ovstest` asks OVN what it
//! makes of them.

use std::env;

const FIELDS: [&str; 40] = [
    "tcp.dst",
    "udp.src",
    "sctp.dst",
    "ip4.src",
    "ip4.dst",
    "ip6.dst",
    "eth.src",
    "eth.dst",
    "vlan.vid",
    "vlan.pcp",
    "vlan.present",
    "reg0",
    "reg0[0..4]",
    "xreg1[3..40]",
    "xxreg1",
    "ct_label",
    "ct_mark.natted",
    "ct.new",
    "ct.est",
    "ct.trk",
    "ip",
    "ip4",
    "ip6",
    "ip.proto",
    "ip.ttl",
    "ip.dscp",
    "ip.frag",
    "eth.type",
    "eth.mcast",
    "eth.bcast",
    "inport",
    "outport",
    "icmp4.type",
    "icmp6.code",
    "nd",
    "nd.target",
    "arp.op",
    "flags.loopback",
    "pkt.mark",
    "tcp",
];

const CONSTANTS: [&str; 34] = [
    "0",
    "1",
    "2",
    "5",
    "80",
    "65535",
    "65536",
    "0x7",
    "0x800",
    "0x86dd",
    "6",
    "17",
    "10.0.0.1",
    "10.0.0.0/8",
    "10.0.0.1/255.0.0.255",
    "::1",
    "fe80::/10",
    "fd00::1/ffff::1",
    "0a:00:00:00:00:01",
    "0a:00:00:00:00:01/ff:00:00:00:00:00",
    "\"lsp1\"",
    "\"none\"",
    "0/0x5",
    "0x5/0x7",
    "$set1",
    "$set2",
    "$set3",
    "$set4",
    "$gone",
    "@pg1",
    "@pg_empty",
    "{80, 443, 8080}",
    "{10.0.0.0/24, 10.0.0.9}",
    "{\"lsp1\", \"lsp2\"}",
];

const ACTIONS: [&str; 64] = [
    "next;",
    "next(20);",
    "next(pipeline=egress, table=3);",
    "output;",
    "drop;",
    "reg0 = 5;",
    "reg0[3..7] = 0x1f;",
    "ip4.dst = 10.0.0.1;",
    "eth.dst = 0a:00:00:00:00:01;",
    "outport = \"lsp1\";",
    "outport = inport;",
    "eth.dst <-> eth.src;",
    "ip4.src <-> ip4.dst;",
    "ip.ttl--;",
    "tcp.dst = 80;",
    "vlan.vid = 7;",
    "xxreg0 = ip6.dst;",
    "ct_label = 1;",
    "push(xxreg0);",
    "pop(reg1[2..5]);",
    "ct_next;",
    "ct_next(snat);",
    "ct_commit;",
    "ct_commit { ct_mark.blocked = 1; ct_label[3] = 1; };",
    "ct_commit_nat(dnat);",
    "ct_commit_to_zone(snat);",
    "ct_dnat;",
    "ct_snat(10.0.0.1);",
    "ct_snat_in_czone(10.0.0.1, 1-30000);",
    "ct_dnat(fd00::1);",
    "ct_clear;",
    "ct_snat_to_vip;",
    "ct_lb_mark;",
    "ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:8080);",
    "ct_lb(backends=[fd00::1]:80; hash_fields=\"ip_src\");",
    "ct_lb_mark(backends=10.0.0.1; skip_snat);",
    "reg0 = select(1=10, 2=20, 3);",
    "reg9[16..31] = select(values=(1=5, 2); hash_fields=\"ip_dst\");",
    "clone { eth.src = 0a:00:00:00:00:02; output; };",
    "arp { arp.op = 1; output; };",
    "icmp4 { icmp4.type = 3; icmp4.code = 1; next; };",
    "icmp6_error { icmp6.frag_mtu = 1500; };",
    "tcp_reset { output; };",
    "reject { next(pipeline=ingress, table=5); };",
    "nd_na { eth.src = eth.dst; output; };",
    "igmp;",
    "get_arp(outport, ip4.dst);",
    "put_nd(inport, nd.target, nd.sll);",
    "reg0[1] = lookup_arp(inport, arp.spa, arp.sha);",
    "reg0[1] = put_dhcp_opts(offerip = 10.0.0.4, router = 10.0.0.1, mtu = 1400);",
    "reg0[1] = put_dhcpv6_opts(ia_addr = fd00::4, server_id = 00:00:00:00:10:02);",
    "reg0[1] = put_nd_ra_opts(addr_mode = \"slaac\", slla = ae:01:02:03:04:05, prefix = aef0::/64, mtu = 1450);",
    "reg0[1] = dns_lookup();",
    "log(name=\"a\", verdict=drop, severity=alert);",
    "set_queue(61440);",
    "set_meter(100, 1000);",
    "reg0[1] = check_pkt_larger(1500);",
    "bind_vport(\"lsp1\", inport);",
    "fwd_group(liveness=true, childports=\"lsp1\", \"lsp2\");",
    "reg0[1] = chk_lb_hairpin();",
    "put_fdb(inport, eth.src);",
    "outport = get_fdb(eth.dst);",
    "commit_lb_aff(vip = \"10.0.0.1:80\", backend = \"10.0.0.2:80\", proto = tcp, timeout = 30);",
    "sample(probability=100,collector_set=2,obs_domain=1,obs_point=$cookie);",
];

/// A small generator of numbers (xorshift), the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

fn comparison(random: &mut Random) -> String {
    let (field, constant) = (random.of(&FIELDS), random.of(&CONSTANTS));
    let relation = ["==", "==", "==", "!=", "<", ">="][random.below(6)];
    match random.below(10) {
        0 | 1 => field.to_owned(),
        2 => format!("!{field}"),
        3 => format!("{constant} {} {field} < {}", ["<", "<="][random.below(2)], random.below(99)),
        4 => ["0", "1", "is_chassis_resident(\"lsp1\")"][random.below(3)].to_owned(),
        _ => format!("{field} {relation} {constant}"),
    }
}

fn expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.below(4) == 0 {
        return comparison(random);
    }
    let operands: Vec<String> = (0..2 + random.below(2))
        .map(|_| match random.below(6) {
            0 => format!("!({})", expression(random, depth - 1)),
            1 => expression(random, depth - 1),
            _ => format!("({})", expression(random, depth - 1)),
        })
        .collect();
    operands.join([" && ", " || "][random.below(2)])
}

fn actions(random: &mut Random) -> String {
    let list: Vec<&str> = (0..1 + random.below(3)).map(|_| random.of(&ACTIONS)).collect();
    list.join(" ")
}

/// Removes, repeats or exchanges words and marks.
fn spoil(text: &str, random: &mut Random) -> String {
    let mut pieces: Vec<&str> =
        text.split_inclusive([' ', '(', ')', ',', ';', '=', '{', '}', '.', '"']).collect();
    for _ in 0..1 + random.below(2) {
        let at = random.below(pieces.len().max(1));
        match random.below(4) {
            0 if pieces.len() > 1 => drop(pieces.remove(at)),
            1 => pieces.insert(at, random.of(&["(", "{", "!", "&&", " 0x ", "\"", "1.2.3", ".."])),
            2 => pieces.insert(at, random.of(&CONSTANTS)),
            _ => pieces.swap(at, 0),
        }
    }
    pieces.concat()
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, kind, seed, count] = &arguments[..] else {
        panic!("usage: generate_texts expressions|actions SEED COUNT");
    };
    let mut random = Random(seed.parse::<u64>().expect("SEED is a number") | 1 << 40);
    for _ in 0..count.parse().expect("COUNT is a number") {
        let depth = random.below(3);
        let text = match &**kind {
            "expressions" => expression(&mut random, depth),
            _ => actions(&mut random),
        };
        let text = if random.below(3) == 0 { spoil(&text, &mut random) } else { text };
        println!("{}", text.trim_start());
    }
}
