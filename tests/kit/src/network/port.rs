//! Ports that are no workload's on a hypervisor.

use super::{End, Feature, Network};

/// The second provider network's number.
const SECOND: usize = 12;

impl Network {
    /// Gateways of other kinds, ports of the world outside, and ports that do not work.
    pub(super) fn attachments(&mut self) {
        if self.has(Feature::L2Gateway) {
            self.add("lsp-add s1 s1g -- lsp-set-type s1g l2gateway");
            self.add("lsp-set-options s1g network_name=phys2 l2gateway-chassis=hv1");
            self.add("lsp-set-addresses s1g '02:00:00:00:01:a1 10.0.1.161' unknown");
            self.end("s1g", 1, "02:00:00:00:01:a1", 161);
        }
        if self.has(Feature::Vtep) {
            self.add("lsp-add s2 s2v -- lsp-set-type s2v vtep");
            self.add("lsp-set-options s2v vtep-physical-switch=ps0 vtep-logical-switch=ls0");
            self.add("lsp-set-addresses s2v unknown");
            self.end("s2v", 2, "02:00:00:00:02:a2", 162);
        }
        if self.has(Feature::External) {
            self.add("ha-chassis-group-add hg -- ha-chassis-group-add-chassis hg hv1 30");
            self.add("ha-chassis-group-add-chassis hg hv2 20");
            self.add("lsp-add s2 s2ln -- lsp-set-type s2ln localnet");
            self.add("lsp-set-addresses s2ln unknown -- lsp-set-options s2ln network_name=phys");
            self.add("lsp-add s2 s2x -- lsp-set-type s2x external");
            self.add("lsp-set-addresses s2x '02:00:00:00:02:a3 10.0.2.163 fd00:2::a3'");
            self.add("--id=@x4 create DHCP_Options cidr='\"10.0.2.0/24\"' options:server_id=10.0.2.254 options:server_mac='\"02:00:00:00:f2:01\"' options:lease_time=3600 options:router=10.0.2.254");
            self.add("set Logical_Switch_Port s2x dhcpv4_options=@x4");
            self.end("s2x", 2, "02:00:00:00:02:a3", 163);
            self.end("s2ln", 2, "02:00:00:00:02:a3", 163);
        }
        if self.has(Feature::SecondGateway) {
            self.add("ls-add two -- lsp-add two ln2 -- lsp-set-type ln2 localnet");
            self.add("lsp-set-addresses ln2 unknown -- lsp-set-options ln2 network_name=phys2");
            self.add("lrp-add r0 r0-two 02:00:00:00:fc:01 172.17.0.1/24");
            self.add(
                "lrp-set-gateway-chassis r0-two hv2 20 -- lrp-set-gateway-chassis r0-two hv1 10",
            );
            self.patch("two", "two-r0", "r0-two");
            let (ip4, ip6) = ("172.17.0.200".to_owned(), "fe80::12".to_owned());
            let mac = "02:00:00:00:0c:09".to_owned();
            self.ends.push(End { name: "ln2".into(), switch: SECOND, mac, ip4, ip6 });
            let (ip4, ip6) = ("172.17.0.1".to_owned(), "fe80::1".to_owned());
            let mac = "02:00:00:00:fc:01".to_owned();
            self.routers.push(End { name: "r0-two".into(), switch: SECOND, mac, ip4, ip6 });
        }
        if self.has(Feature::TwinTags) {
            // The same tag behind two parents, each child in the other parent's switch.
            self.add("lsp-add s2 s2n s1p1 41 -- lsp-set-addresses s2n '02:00:00:00:02:b1 10.0.2.177 fd00:2::b1'");
            self.add("lsp-add s1 s1n s2p1 41 -- lsp-set-addresses s1n '02:00:00:00:01:b1 10.0.1.177 fd00:1::b1'");
            self.add("lsp-set-port-security s1n '02:00:00:00:01:b1 10.0.1.177'");
            self.end("s2n", 2, "02:00:00:00:02:b1", 177);
            self.end("s1n", 1, "02:00:00:00:01:b1", 177);
        }
        if self.has(Feature::TaggedProvider) {
            self.add("set Logical_Switch_Port ln tag_request=100 tag=100");
            self.add("lsp-set-options ln network_name=phys localnet_learn_fdb=true");
            self.add("set Logical_Switch pub other_config:broadcast-arps-to-all-routers=false");
        }
        if self.has(Feature::SeveralAddresses) {
            self.add("lsp-add s1 s1m -- lsp-set-addresses s1m '02:00:00:00:01:c1 10.0.1.193 10.0.1.194 fd00:1::c1 fd00:1::c2' '02:00:00:00:01:c2 10.0.1.195' unknown");
            self.add("lsp-set-port-security s1m '02:00:00:00:01:c1 10.0.1.193 10.0.1.192/28 fd00:1::c0/124' '02:00:00:00:01:c2 10.0.1.195/24'");
            self.add("set Logical_Switch s2 other_config:subnet=10.0.2.0/24 other_config:exclude_ips=10.0.2.1..10.0.2.100");
            self.add("lsp-add s2 s2m -- lsp-set-addresses s2m '02:00:00:00:02:c1 dynamic'");
            self.end("s1m", 1, "02:00:00:00:01:c1", 193);
            self.end("s1m", 1, "02:00:00:00:01:c2", 195);
            self.end("s2m", 2, "02:00:00:00:02:c1", 101);
            self.addresses4.extend(["10.0.1.194".into(), "10.0.1.195".into()]);
        }
        if self.has(Feature::Passthrough) {
            self.add("set Logical_Switch s1 other_config:vlan-passthru=true");
            self.add("lsp-set-enabled s2p2 disabled");
            self.add("lsp-add s1 s1d -- lsp-set-addresses s1d '02:00:00:00:01:dd 10.0.1.221'");
            self.add("lsp-set-enabled s1d disabled");
            self.end("s1d", 1, "02:00:00:00:01:dd", 221);
        }
    }
}
