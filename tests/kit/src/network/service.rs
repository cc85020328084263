//! What OVN does for workloads: DHCP, DNS, multicast, router advertisements.

use super::{Feature, Network};
use crate::dice::Dice;

impl Network {
    /// DHCP, DNS, multicast, router advertisements and the like.
    pub(super) fn services(&mut self, dice: &mut Dice) {
        if self.has(Feature::Dhcp) {
            self.add(r#"--id=@d4 create DHCP_Options cidr='"10.0.1.0/24"' options:server_id=10.0.1.254 options:server_mac='"02:00:00:00:f1:01"' options:lease_time=3600 options:router=10.0.1.254"#);
            self.add(r#"--id=@d6 create DHCP_Options cidr='"fd00:1::/64"' options:server_id='"02:00:00:00:f1:01"'"#);
            self.add("set Logical_Switch_Port s1p1 dhcpv4_options=@d4 dhcpv6_options=@d6");
        }
        if self.has(Feature::Dns) {
            self.add("--id=@dns create DNS records:vm1.ovn.org=10.0.1.1");
            self.add("set Logical_Switch s1 dns_records=@dns");
        }
        if self.has(Feature::Multicast) {
            self.add(r#"set Logical_Switch s1 other_config:mcast_snoop=true other_config:mcast_querier=true other_config:mcast_eth_src='"02:00:00:00:01:ee"' other_config:mcast_ip4_src=10.0.1.250 other_config:mcast_flood_unregistered=true"#);
            self.add("set Logical_Router r0 options:mcast_relay=true");
            self.add("set Logical_Switch_Port s1p2 options:mcast_flood=true options:mcast_flood_reports=true");
        }
        if self.has(Feature::RouterAdvertisements) {
            self.add("set Logical_Router_Port r0-s1 ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:mtu=1400");
            self.add("set Logical_Router_Port r0-s2 ipv6_ra_configs:address_mode=dhcpv6_stateful");
        }
        if self.has(Feature::ForwardingGroup) {
            self.add("fwd-group-add fwd1 s1 10.0.1.240 02:00:00:00:01:f0 s1p1 s1p2");
            self.addresses4.push("10.0.1.240".into());
        }
        if self.has(Feature::ArpProxy) {
            self.add(
                r#"set Logical_Switch_Port s1-r0 options:arp_proxy='"10.0.1.99 169.254.0.1"'"#,
            );
            self.addresses4.extend(["10.0.1.99".into(), "169.254.0.1".into()]);
        }
        if self.has(Feature::Snooping6) {
            self.add(r#"set Logical_Switch s2 other_config:mcast_snoop=true other_config:mcast_querier=true other_config:mcast_eth_src='"02:00:00:00:02:ee"' other_config:mcast_ip6_src='"fe80::2:ee"' other_config:mcast_ip4_src=10.0.2.250"#);
            self.add("set Logical_Router r0 options:mcast_relay=true");
            let flooded = dice.percent(50);
            self.add(&format!(
                "set Logical_Switch s2 other_config:mcast_flood_unregistered={flooded}"
            ));
            self.add("set Logical_Switch_Port s2-r0 options:mcast_flood=true");
            self.add("set Logical_Router_Port r0-s1 options:mcast_flood=true");
        }
        if self.has(Feature::LearnedGroups) {
            let flood = dice.percent(50);
            self.add(&format!("set Logical_Switch s1 other_config:mcast_snoop=true other_config:mcast_flood_unregistered={flood}"));
            self.add("set Logical_Router r0 options:mcast_relay=true");
            self.add("set Logical_Switch s2 other_config:mcast_snoop=true");
        }
        if self.has(Feature::DhcpOptions) {
            self.add(r#"--id=@many create DHCP_Options cidr='"10.0.2.0/24"' options:server_id=10.0.2.254 options:server_mac='"02:00:00:00:f2:01"' options:lease_time=7200 options:router=10.0.2.254 options:dns_server='"{8.8.8.8, 7.7.7.7}"' options:classless_static_route='"{30.0.0.0/24,10.0.2.3, 0.0.0.0/0,10.0.2.1}"' options:domain_name='"\"ovn.org\""' options:mtu=1400 options:ip_forward_enable=1 options:tftp_server_address=10.0.2.9"#);
            self.add(r#"--id=@less create DHCP_Options cidr='"fd00:2::/64"' options:server_id='"02:00:00:00:f2:01"' options:dhcpv6_stateless=true options:dns_server='"fd00:2::53"' options:domain_search='"\"ovn.org\""'"#);
            self.add("set Logical_Switch_Port s2p1 dhcpv4_options=@many dhcpv6_options=@less");
            self.add("set Logical_Switch_Port s2p2 dhcpv4_options=@many");
        }
        if self.has(Feature::GlobalOptions) {
            self.add("set NB_Global . options:use_ct_inv_match=false");
            self.add("set NB_Global . options:lb_hairpin_use_ct_mark=false");
            if dice.percent(30) {
                self.add("set NB_Global . options:ignore_lsp_down=false");
            }
        }
        if self.has(Feature::PrefixDelegation) {
            self.add("set Logical_Router_Port r0-pub options:prefix_delegation=true");
            self.add("set Logical_Router_Port r0-s1 options:prefix=true");
        }
    }
}
