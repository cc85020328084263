//! Load balancers of switches and routers.

use super::{Feature, Network};
use crate::dice::Dice;

impl Network {
    /// Load balancers, their groups, health checks and events.
    pub(super) fn balancers(&mut self, dice: &mut Dice) {
        if self.has(Feature::SwitchBalancer) {
            let reject = if dice.percent(50) { "--reject " } else { "" };
            self.balancer(
                reject,
                "lb1",
                "10.96.0.1:80",
                "10.0.1.1:8080,10.0.2.1:8080",
                "tcp",
                "s1",
            );
            self.balancer("", "lb2", "10.96.0.2", "10.0.1.2", "", "s1");
            self.balancer("", "lb3", "[fd96::1]:80", "[fd00:1::1]:8080", "tcp", "s1");
            self.add("ls-lb-add s2 lb1");
        }
        if self.has(Feature::RouterBalancer) {
            self.balancer("", "lb4", "172.16.0.50:80", "10.0.1.1:80,10.0.2.1:80", "tcp", "");
            self.balancer("", "lb5", "172.30.0.50:53", "10.0.2.1:53", "udp", "");
            self.add("lr-lb-add r0 lb4 -- lr-lb-add gw lb5");
            if dice.percent(50) {
                self.add("set Logical_Router gw options:lb_force_snat_ip=100.64.0.2");
            } else {
                self.add("set Load_Balancer lb5 options:skip_snat=true");
            }
        }
        if self.has(Feature::Affinity) {
            self.balancer("", "lb6", "10.96.0.6:80", "10.0.2.1:80", "tcp", "s2");
            self.add("set Load_Balancer lb6 options:affinity_timeout=60");
        }
        if self.has(Feature::Templates) {
            self.add(r#"create Chassis_Template_Var chassis=hv1 variables:vip=10.96.0.7 variables:backends='"10.0.1.1:80"'"#);
            self.add("--template lb-add lb7 '^vip:80' '^backends' tcp ipv4 -- ls-lb-add s1 lb7");
        }
        self.checked_balancers(dice);
        self.forced(dice);
        if self.has(Feature::Balancers6) {
            self.balancer(
                "",
                "lb10",
                "[2001:db8::50]:80",
                "[fd00:1::1]:8080,[fd00:2::1]:8080",
                "tcp",
                "",
            );
            self.balancer("", "lb11", "[2001:db8:30::50]:53", "[fd00:2::1]:53", "udp", "");
            self.balancer("", "lb12", "[fd96::c]", "[fd00:1::2]", "", "s2");
            self.balancer("--reject ", "lb13", "[fd96::d]:81", "[fd00:1::2]:81", "sctp", "s1");
            self.add("lr-lb-add r0 lb10 -- lr-lb-add gw lb11");
            self.add("set Load_Balancer lb10 selection_fields=ip_src,ip_dst");
        }
    }

    /// Load balancers of a gateway whose connections must come back, and some beside ACLs that know no
    /// connections.
    fn forced(&mut self, dice: &mut Dice) {
        if self.has(Feature::ForceSnat) {
            self.balancer("", "lb14", "172.30.0.60:80", "10.0.1.1:80,10.0.2.1:80", "tcp", "");
            self.balancer("", "lb15", "172.30.0.61", "10.0.1.2", "", "");
            self.balancer("", "lb16", "[2001:db8:30::61]:80", "[fd00:1::2]:80", "tcp", "");
            self.add("lr-lb-add gw lb14 -- lr-lb-add gw lb15 -- lr-lb-add gw lb16");
            let addresses =
                dice.of(&["router_ip", "'100.64.0.2 fd64::2'", "100.64.0.2"]).replace('\'', "\"");
            self.add(&format!("set Logical_Router gw 'options:lb_force_snat_ip={addresses}'"));
            if dice.percent(50) {
                self.add("set Logical_Router gw options:snat-ct-zone=7");
                self.add("set Load_Balancer lb14 options:affinity_timeout=30");
            }
            self.balancer("", "lb17", "172.16.0.61:80", "10.0.1.1:80", "tcp", "");
            self.add("lr-lb-add r0 lb17 -- set Load_Balancer lb17 options:skip_snat=true");
        }
        if self.has(Feature::StatelessBalanced) {
            self.balancer("", "lb18", "10.96.0.18:80", "10.0.1.1:80,10.0.1.2:80", "tcp", "s1");
            self.balancer("--reject ", "lb19", "10.96.0.19:80", "10.0.2.1:80", "tcp", "s2");
            self.add("set Load_Balancer lb18 options:neighbor_responder=none options:hairpin_snat_ip=10.0.1.250");
            self.add("acl-add s1 from-lport 2000 'ip4 && tcp.dst == 80' allow-stateless");
            self.add("acl-add s1 to-lport 2000 'ip4 && tcp.src == 80' allow-stateless");
            self.add("acl-add s2 to-lport 2001 'ip4 && udp' allow-related");
            self.add("pg-add pgs s1p1 s2p1 -- --apply-after-lb acl-add pgs from-lport 2002 'inport == @pgs && ip4.dst == $pgs_ip4 && tcp' allow-related");
            self.add("--apply-after-lb acl-add pgs from-lport 2001 'inport == @pgs && ip6.dst != $pgs_ip6 && tcp' reject");
        }
    }

    /// Load balancers that look after their backends, and groups of them.
    fn checked_balancers(&mut self, dice: &mut Dice) {
        if self.has(Feature::HealthChecks) {
            self.balancer("", "lb8", "10.96.0.8:80", "10.0.1.1:8080,10.0.2.1:8080", "tcp", "s1");
            self.add(r#"--id=@check create Load_Balancer_Health_Check vip='"10.96.0.8:80"' options:interval=5 options:timeout=2"#);
            self.add("add Load_Balancer lb8 health_check @check");
            self.add("set Load_Balancer lb8 ip_port_mappings:10.0.1.1=s1p1:10.0.1.253 ip_port_mappings:10.0.2.1=s2p1:10.0.2.253");
            self.addresses4.extend(["10.0.1.253".into(), "10.0.2.253".into()]);
        }
        if self.has(Feature::BalancerGroups) {
            self.balancer("", "lb9", "10.96.0.9:80", "10.0.1.1:8080", "tcp", "");
            self.add("set Load_Balancer lb9 options:hairpin_snat_ip=10.96.0.99 options:neighbor_responder=all");
            self.add("--id=@group create Load_Balancer_Group name=group1");
            self.add("add Logical_Switch s1 load_balancer_group @group -- add Logical_Switch s2 load_balancer_group @group");
            self.add("add Logical_Router gw load_balancer_group @group");
            self.add("--id=@empty create Load_Balancer name=empty protocol=tcp vips='{\"10.96.0.10:80\"=\"\"}' options:event=true");
            self.add("add Load_Balancer_Group group1 load_balancer @empty");
            if dice.percent(50) {
                self.add("set NB_Global . options:controller_event=true");
            }
            self.addresses4.push("10.96.0.10".into());
        }
    }

    fn balancer(&mut self, flags: &str, name: &str, vip: &str, to: &str, protocol: &str, on: &str) {
        self.add(&format!("{flags}lb-add {name} {vip} {to} {protocol}"));
        if !on.is_empty() {
            self.add(&format!("ls-lb-add {on} {name}"));
        }
        let address = vip.trim_start_matches('[').split(']').next().unwrap_or(vip);
        if vip.starts_with('[') {
            self.addresses6.push(address.into());
        } else {
            self.addresses4.push(vip.split(':').next().unwrap_or(vip).into());
        }
        self.backends.extend(to.split(',').map(str::to_owned));
    }
}
