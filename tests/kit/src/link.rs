//! Links in namespaces: veth pairs, taps, bridges, their addresses, and the underlay network.
//!
//! Thin words over `ip`: a link needs no owner of its own, since it goes with its namespace.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes: Vec<u8> = text
            .trim()
            .split(':')
            .map(|part| u8::from_str_radix(part, 16))
            .collect::<Result<_, _>>()
            .with_context(|| format!("{text:?} is no MAC address"))?;
        let bytes = bytes.try_into().map_err(|_| anyhow::anyhow!("{text:?} is no MAC address"))?;
        Ok(Self(bytes))
    }
}

/// Makes a veth pair with one end in each namespace, both up.
pub fn veth(near: (&Namespace, &str), far: (&Namespace, &str)) -> Result<()> {
    up_as(near, "", far)
}

/// The same, with the near end's MAC address, so that its link-local IPv6 address is made of it.
pub fn veth_of(mac: Mac, near: (&Namespace, &str), far: (&Namespace, &str)) -> Result<()> {
    up_as(near, &format!("address {mac} "), far)
}

fn up_as(near: (&Namespace, &str), address: &str, far: (&Namespace, &str)) -> Result<()> {
    let (here, name) = near;
    let (there, peer) = far;
    let there_is = there.name();
    here.ip(&format!("link add {name} {address}type veth peer name {peer} netns {there_is}"))?;
    here.ip(&format!("link set dev {name} up"))?;
    there.ip(&format!("link set dev {peer} up"))?;
    Ok(())
}

/// Makes a persistent tap device, up.
pub fn tap(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.ip(&format!("tuntap add dev {name} mode tap"))?;
    namespace.ip(&format!("link set dev {name} up"))?;
    Ok(())
}

/// Makes a bridge, up.
pub fn bridge(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.ip(&format!("link add {name} type bridge"))?;
    namespace.ip(&format!("link set dev {name} up"))?;
    Ok(())
}

/// Adds an address with its prefix length.
pub fn address(namespace: &Namespace, link: &str, address: IpAddr, prefix: u8) -> Result<()> {
    let nodad = if address.is_ipv6() { " nodad" } else { "" };
    namespace.ip(&format!("address add {address}/{prefix} dev {link}{nodad}"))?;
    Ok(())
}

/// Sets the MTU.
pub fn mtu(namespace: &Namespace, link: &str, mtu: u32) -> Result<()> {
    namespace.ip(&format!("link set dev {link} mtu {mtu}"))?;
    Ok(())
}

/// Sets the MAC address.
pub fn mac(namespace: &Namespace, link: &str, mac: Mac) -> Result<()> {
    namespace.ip(&format!("link set dev {link} address {mac}"))?;
    Ok(())
}

/// The MAC address a link has.
pub fn mac_of(namespace: &Namespace, link: &str) -> Result<Mac> {
    let json = namespace.ip(&format!("-json link show dev {link}"))?;
    let value: serde_json::Value = serde_json::from_str(&json)?;
    value[0]["address"].as_str().context("a link without an address")?.parse()
}

/// The network between hypervisors: a bridge in a namespace of its own.
#[derive(Debug)]
pub struct Underlay {
    namespace: Namespace,
    mtu: u32,
}

impl Underlay {
    /// The interface that [`attach`](Self::attach) makes in a hypervisor.
    pub const LINK: &str = "eth0";

    /// Makes the network; `mtu` in bytes holds for the bridge and everything attached later.
    pub fn new(mtu: u32) -> Result<Self> {
        let namespace = Namespace::new("underlay")?;
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        bridge(&namespace, "br0")?;
        // A wire has no firewall; a kernel without the bridge's has no such setting.
        for family in ["ip", "ip6", "arp"] {
            let _ = namespace.sysctl(&format!("net/bridge/bridge-nf-call-{family}tables"), "0");
        }
        Ok(Self { namespace, mtu })
    }

    /// Plugs a host in: gives it an [`LINK`](Self::LINK) that is up and has no address.
    pub fn attach(&self, host: &Namespace) -> Result<()> {
        let port = host.role();
        veth((host, Self::LINK), (&self.namespace, port))?;
        mtu(host, Self::LINK, self.mtu)?;
        mtu(&self.namespace, port, self.mtu)?;
        self.namespace.ip(&format!("link set dev {port} master br0"))?;
        Ok(())
    }

    /// Where the bridge is, for captures on it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_as_it_is_written() {
        let mac = Mac([0x02, 0, 0, 0xab, 0, 0x1f]);
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        for bad in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_on_one_underlay_reach_each_other() {
        let underlay = Underlay::new(1500).unwrap();
        let hosts = ["a", "b"].map(|role| Namespace::new(role).unwrap());
        for (host, ip) in hosts.iter().zip(["192.0.2.1", "192.0.2.2"]) {
            underlay.attach(host).unwrap();
            address(host, Underlay::LINK, ip.parse().unwrap(), 24).unwrap();
        }
        let mut ping = hosts[0].command("ping");
        crate::process::run(ping.args(["-c1", "-W5", "192.0.2.2"])).unwrap();
    }
}
