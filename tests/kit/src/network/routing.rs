//! Routes, policies, and how routers learn their neighbours.

use super::{Feature, Network};
use crate::dice::Dice;

impl Network {
    /// Routes, policies and how neighbours are found.
    pub(super) fn routing(&mut self, dice: &mut Dice) {
        if self.has(Feature::Policies) {
            self.add("lr-policy-add r0 100 'ip4.src == 10.0.1.1 && udp' reroute 172.16.0.7");
            self.add("lr-policy-add r0 101 'ip4.dst == 8.8.8.8 && tcp' drop");
            self.add("lr-policy-add r0 102 'ip6.dst == 2001:db8::8' allow");
            self.add(
                "lr-policy-add r0 99 'ip4.src == 10.0.2.1 && icmp4' reroute 172.16.0.7,172.16.0.8",
            );
        }
        if self.has(Feature::StaticRoutes) {
            self.add("lr-route-add r0 0.0.0.0/0 172.16.0.200 -- lr-route-add r0 ::/0 2001:db8::c8");
            self.add("--policy=src-ip lr-route-add r0 10.0.2.0/25 172.16.0.7");
            self.add("lr-route-add r0 192.0.2.0/24 discard");
            self.addresses4.extend(["192.0.2.1".into(), "198.51.100.1".into()]);
        }
        if self.has(Feature::Ecmp) {
            let symmetric = if dice.percent(50) { "--ecmp-symmetric-reply" } else { "--ecmp" };
            for hop in ["172.30.0.5", "172.30.0.6"] {
                self.add(&format!("{symmetric} lr-route-add gw 203.0.113.0/24 {hop}"));
                self.add(&format!("--ecmp lr-route-add r0 203.0.113.0/24 172.16.0.{}", &hop[9..]));
            }
            self.addresses4.extend(["203.0.113.1".into(), "203.0.113.2".into()]);
        }
        if self.has(Feature::GatewayMtu) {
            self.add("set Logical_Router_Port r0-pub options:gateway_mtu=1400");
        }
        self.tables_of_routes(dice);
        self.policies_of_gateways(dice);
        if self.has(Feature::PolicyMarks) {
            self.add("lr-policy-add r0 110 'ip4.src == 10.0.1.2' allow pkt_mark=77");
            self.add(
                "lr-policy-add r0 111 'ip4.src == 10.0.2.2 && udp' reroute 172.16.0.7 pkt_mark=78",
            );
            self.add("lr-policy-add r0 112 'ip6.src == fd00:1::2' reroute 2001:db8::7,2001:db8::8");
        }
        if self.has(Feature::LearningRouters) {
            self.add("set Logical_Router r0 options:always_learn_from_arp_request=false");
            let dynamic = dice.percent(50);
            self.add(&format!("set Logical_Router r0 options:dynamic_neigh_routers={dynamic}"));
            self.add("set Logical_Router gw options:always_learn_from_arp_request=false options:dynamic_neigh_routers=true");
        }
        if self.has(Feature::BridgedRedirect) {
            self.add("lrp-set-redirect-type r0-pub bridged");
            self.add("set Logical_Router_Port r0-s1 options:reside-on-redirect-chassis=true");
        }
    }

    /// Policies of a gateway router, where each of the ways may be down.
    fn policies_of_gateways(&mut self, dice: &mut Dice) {
        if self.has(Feature::GatewayPolicies) {
            self.add("lr-policy-add gw 300 'ip4.src == 10.0.1.0/24 && tcp' reroute 172.30.0.5,172.30.0.6");
            self.add("lr-policy-add gw 299 'ip6.src == fd00:2::/64' reroute 2001:db8:30::5");
            self.add("lr-policy-add gw 298 'inport == \"gw-out\" && udp.dst == 53' drop");
            self.add(
                "lr-policy-add gw 297 'ip4.dst == $world || ip4.src == $world' allow pkt_mark=9",
            );
            self.add(r#"create Address_Set name=world addresses='"8.8.8.0/24","203.0.113.0/24"'"#);
            if dice.percent(50) {
                self.add("lr-route-add gw 0.0.0.0/0 172.30.0.5 gw-out");
                self.add("--policy=src-ip lr-route-add gw 10.0.2.0/24 172.30.0.6");
            }
        }
    }

    fn tables_of_routes(&mut self, dice: &mut Dice) {
        if self.has(Feature::RouteTables) {
            self.add("set Logical_Router_Port r0-s1 options:route_table=rt1");
            self.add("--route-table=rt1 lr-route-add r0 198.51.100.0/24 172.16.0.7");
            self.add("--route-table=rt1 lr-route-add r0 2001:db8:51::/48 2001:db8::7");
            self.add("lr-route-add r0 198.51.100.0/25 172.16.0.8 r0-pub");
            self.add("--id=@bfd create BFD logical_port=r0-pub dst_ip=172.16.0.7 min_tx=500 min_rx=500 detect_mult=3");
            self.addresses4.extend(["198.51.100.1".into(), "198.51.100.200".into()]);
            self.addresses6.push("2001:db8:51::1".into());
            if dice.percent(50) {
                self.add("lrp-set-options r0-s2 gateway_mtu=1300");
            }
        }
        if self.has(Feature::SecondGateway) {
            self.add("lr-route-add r0 203.0.114.0/24 172.17.0.200 r0-two");
            self.addresses4.push("203.0.114.1".into());
        }
    }
}
