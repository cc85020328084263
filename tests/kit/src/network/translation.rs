//! NAT.

use super::{Feature, Network};
use crate::dice::Dice;

impl Network {
    /// NAT of both routers.
    pub(super) fn translation(&mut self, dice: &mut Dice) {
        if self.has(Feature::SourceNat) {
            self.add("lr-nat-add r0 snat 172.16.0.1 10.0.1.0/24");
            if dice.percent(50) {
                self.add("lr-nat-add r0 snat 2001:db8::1 fd00:1::/64");
            }
        }
        if self.has(Feature::FloatingAddresses) {
            self.add("lr-nat-add r0 dnat_and_snat 172.16.0.101 10.0.1.1 s1p1 02:00:00:00:01:01");
            self.add("lr-nat-add r0 dnat_and_snat 172.16.0.102 10.0.2.1");
            self.add("lr-nat-add r0 dnat 172.16.0.103 10.0.1.2");
            self.addresses4.extend((101..=103).map(|host| format!("172.16.0.{host}")));
        }
        if self.has(Feature::GatewayNat) {
            self.add("lr-nat-add gw snat 172.30.0.1 10.0.0.0/16");
            self.add("lr-nat-add gw dnat_and_snat 172.30.0.101 10.0.1.1");
            self.add("lr-nat-add gw dnat 172.30.0.102 10.0.2.1");
            self.addresses4.extend(["172.30.0.101".into(), "172.30.0.102".into()]);
            if dice.percent(50) {
                self.add("set Logical_Router gw options:dnat_force_snat_ip=100.64.0.2");
            }
        }
        self.options_of_translation(dice);
        if self.has(Feature::Translation6) {
            self.add("lr-nat-add r0 dnat_and_snat 2001:db8::101 fd00:1::1 s1p1 02:00:00:00:01:01");
            self.add("lr-nat-add r0 dnat_and_snat 2001:db8::102 fd00:2::1");
            self.add("lr-nat-add r0 dnat 2001:db8::103 fd00:1::2");
            self.add("lr-nat-add gw snat 2001:db8:30::1 fd00::/16");
            self.add("lr-nat-add gw dnat_and_snat 2001:db8:30::101 fd00:1::1");
            self.addresses6.extend((101..=103).map(|host| format!("2001:db8::{host}")));
            self.addresses6.push("2001:db8:30::101".into());
        }
    }

    /// Ports, addresses outside and no connections.
    fn options_of_translation(&mut self, dice: &mut Dice) {
        if self.has(Feature::NatOptions) {
            self.add("--portrange lr-nat-add gw dnat_and_snat 172.30.0.111 10.0.1.2 5000-6000");
            self.add("--stateless lr-nat-add r0 dnat_and_snat 172.16.0.112 10.0.2.2");
            self.add(r#"--id=@outside create Address_Set name=outside addresses='"172.16.0.200","8.8.8.8"'"#);
            let column = *dice.of(&["allowed_ext_ips", "exempted_ext_ips"]);
            self.add(&format!("--id=@nat create NAT type=dnat_and_snat external_ip=172.16.0.113 logical_ip=10.0.1.3 {column}=@outside"));
            self.add(&format!("--id=@snat create NAT type=snat external_ip=172.16.0.114 logical_ip=10.0.2.128/25 {column}=@outside"));
            self.add("add Logical_Router r0 nat @nat @snat");
            self.addresses4.extend((111..=114).map(|host| format!("172.16.0.{host}")));
            self.addresses4.push("172.30.0.111".into());
        }
        if self.has(Feature::SecondGateway) {
            self.then("--gateway-port=r0-two lr-nat-add r0 snat 172.17.0.1 10.0.2.0/24");
            self.then("--gateway-port=r0-two lr-nat-add r0 dnat_and_snat 172.17.0.101 10.0.2.2");
            self.addresses4.push("172.17.0.101".into());
        }
    }
}
