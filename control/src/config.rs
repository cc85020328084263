//! The configuration file of `ovn-xdp run`: OVN's own keys in TOML.
//!
//! Every key that is wrong gives one [`Fault`]: a line that names the key, the value found and what
//! is allowed. All of them are found in one reading, so that an operator corrects a file once. A
//! [`Config`] that exists is valid; nothing behind this module checks values again.

mod reader;

pub use ovn_xdp_ovsdb::tls::TlsFiles;
use ovn_xdp_ovsdb::tls::{TlsError, client_config};
use ovn_xdp_port::Polling;
use reader::Reader;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One thing that is wrong, as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that a configuration file says, with the defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `Chassis.name` (CH-1).
    pub system_id: String,
    /// `Chassis.hostname`; the kernel's host name if the file has none.
    pub hostname: String,
    /// Southbound remotes, a comma list as OVN writes it; empty if there is no Southbound DB, and all
    /// rows are local.
    pub remote: String,
    /// Milliseconds between probes of an idle connection become a duration; zero is off (RBAC-4).
    pub probe_interval: Duration,
    /// Client key, client certificate and CA of `ssl:` remotes.
    pub tls: Option<TlsFiles>,
    /// Our ends of tunnels.
    pub encap: Encap,
    /// `ovn-bridge-mappings`: physical network and host interface.
    pub bridge_mappings: String,
    /// `ovn-cms-options`.
    pub cms_options: String,
    /// `ovn-chassis-mac-mappings`.
    pub mac_mappings: String,
    /// `ovn-monitor-all` (MON-9).
    pub monitor_all: bool,
    /// `ovn-is-interconn`.
    pub interconn: bool,
    /// `ovn-match-northd-version` (LDB-13): stand still when ovn-northd is upgraded before us. What
    /// that means for us, who are of no release of OVN, says [`crate::southbound::northd`].
    pub match_northd_version: bool,
    /// `ovn-transport-zones` (CH-4), sorted.
    pub transport_zones: Vec<String>,
    /// `[[interface]]`: workload interfaces by the name of their logical port.
    pub interfaces: BTreeMap<String, Interface>,
    /// `[datapath]`.
    pub datapath: Datapath,
    /// `[control]`.
    pub control: Control,
}

/// How we speak Geneve (CH-2, ENC-14, ENC-15).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encap {
    /// Our addresses, in the order of the file, without repetition; none only without a Southbound DB.
    pub addresses: Vec<IpAddr>,
    /// The one that is marked `is_default` among several.
    pub default: Option<IpAddr>,
    /// Outer UDP checksums over IPv4.
    pub csum: bool,
    /// Outer DSCP and ECN; `None` copies the inner.
    pub tos: Option<u8>,
    /// Don't Fragment in the outer IPv4 header.
    pub df: bool,
}

/// One `[[interface]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Name of the host interface.
    pub name: String,
    /// `iface-id-ver` (PBO-3).
    pub iface_id_ver: Option<String>,
    /// `encap-ip`: which of our addresses serves this port (PBO-10).
    pub encap_ip: Option<IpAddr>,
}

/// Sizes of the forwarding, `[datapath]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datapath {
    /// Worker threads, one core each.
    pub workers: u16,
    /// Cores to pin them to; empty means that the kernel's order is taken.
    pub cores: Vec<u16>,
    /// Receive queues to open on each NIC; `None` means all that it has.
    pub queues: Option<u16>,
    /// What workers without work do.
    pub polling: Polling,
    /// Verdicts that each worker caches.
    pub cache_entries: u32,
    /// Buffers of 2 KiB that each worker owns.
    pub frames: u32,
}

/// The local API, `[control]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Group that may use it beside root.
    pub group: Option<String>,
    /// File that keeps local rows across restarts; without it they go with the daemon.
    pub local_rows: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every fault of the file, in the order of the keys.
    pub fn load(path: &Path) -> Result<Self, Vec<Fault>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Fault(format!("{}: {error}; --config takes a TOML file", path.display()))]
        })?;
        Self::parse(&text)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Every fault of the text, in the order of the keys.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let table = text.parse::<toml::Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            vec![Fault(format!("line {line}: {}", error.message().replace('\n', " ")))]
        })?;
        let mut reader = Reader::new(&table, "");
        let config = Self::read(&mut reader);
        let faults = reader.finish();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(faults),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let system_id =
            reader.required("system-id", "a name of 1 to 253 letters, digits and ._:-", name);
        let hostname = reader.optional("hostname", "a host name", name);
        // Who names tunnel addresses has forgotten the Southbound DB; who names neither wants none.
        let alone = !["ovn-remote", "ovn-encap-type", "ovn-encap-ip"].iter().any(|k| reader.has(k));
        let remote = match alone {
            true => reader.optional("ovn-remote", REMOTE, remote).or(Some(String::new())),
            false => reader.required("ovn-remote", REMOTE, remote),
        };
        let probe_interval = reader.optional("ovn-remote-probe-interval", PROBE, probe_interval);
        let tls = tls(reader, remote.as_deref());
        let encap = if alone { Some(Encap::none()) } else { Encap::read(reader) };
        let bridge_mappings = reader.optional("ovn-bridge-mappings", MAPPINGS, bridge_mappings);
        let cms_options = reader.optional("ovn-cms-options", "text", reader::text);
        let mac_mappings = reader.optional("ovn-chassis-mac-mappings", MAC_MAPPINGS, mac_mappings);
        let monitor_all = reader.optional("ovn-monitor-all", reader::BOOLEAN, reader::boolean);
        let interconn = reader.optional("ovn-is-interconn", reader::BOOLEAN, reader::boolean);
        let match_northd_version =
            reader.optional("ovn-match-northd-version", reader::BOOLEAN, reader::boolean);
        let transport_zones =
            reader.optional("ovn-transport-zones", "a comma list of names", zones);
        let addresses = encap.as_ref().map(|encap| encap.addresses.clone()).unwrap_or_default();
        let interfaces = interfaces(reader, &addresses);
        let datapath = Datapath::read(reader);
        let control = Control::read(reader, system_id.as_deref().unwrap_or_default());
        Some(Self {
            system_id: system_id?,
            hostname: hostname.unwrap_or_else(kernel_hostname),
            remote: remote?,
            probe_interval: probe_interval.unwrap_or(Duration::from_secs(60)),
            tls,
            encap: encap?,
            bridge_mappings: bridge_mappings.unwrap_or_default(),
            cms_options: cms_options.unwrap_or_default(),
            mac_mappings: mac_mappings.unwrap_or_default(),
            monitor_all: monitor_all.unwrap_or(false),
            interconn: interconn.unwrap_or(false),
            match_northd_version: match_northd_version.unwrap_or(false),
            transport_zones: transport_zones.unwrap_or_default(),
            interfaces,
            datapath,
            control,
        })
    }

    /// Keys whose new value takes effect only after a restart; interfaces and tunnel addresses are not
    /// among them.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        let mut differs = |key, changed: bool| {
            if changed {
                keys.push(key);
            }
        };
        differs("system-id", self.system_id != new.system_id);
        differs("ovn-remote", self.remote != new.remote);
        differs("ovn-remote-probe-interval", self.probe_interval != new.probe_interval);
        differs("private-key, certificate, ca-cert", self.tls != new.tls);
        differs("[datapath]", self.datapath != new.datapath);
        differs("[control]", self.control != new.control);
        keys
    }

    /// Takes over from `new` everything that [`Config::needs_restart`] does not name.
    pub fn adopt(&mut self, new: Self) {
        *self = Self {
            system_id: std::mem::take(&mut self.system_id),
            remote: std::mem::take(&mut self.remote),
            probe_interval: self.probe_interval,
            tls: self.tls.take(),
            datapath: self.datapath.clone(),
            control: self.control.clone(),
            ..new
        };
    }
}

impl Encap {
    /// No tunnels.
    fn none() -> Self {
        Self { addresses: Vec::new(), default: None, csum: true, tos: Some(0), df: true }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.required("ovn-encap-type", "\"geneve\"", |value| {
            reader::text(value).filter(|kind| kind == "geneve")
        });
        let addresses = reader.required("ovn-encap-ip", ENCAP_IP, addresses);
        let allowed = addresses.clone().unwrap_or_default();
        let default = reader.optional("ovn-encap-ip-default", "one of ovn-encap-ip", |value| {
            reader::address(value).filter(|address| allowed.contains(address))
        });
        let csum = reader.optional("ovn-encap-csum", reader::BOOLEAN, reader::boolean);
        let tos = reader.optional("ovn-encap-tos", "\"inherit\", \"none\", or 0 to 255", tos);
        let df = reader.optional("ovn-encap-df_default", reader::BOOLEAN, reader::boolean);
        Some(Self {
            addresses: addresses?,
            default,
            csum: csum.unwrap_or(true),
            tos: tos.unwrap_or(Some(0)),
            df: df.unwrap_or(true),
        })
    }
}

impl Datapath {
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("datapath");
        let workers: Option<u16> =
            section.optional("workers", "1 to 64", |v| reader::integer(v, 1, 64));
        let usable = ovn_xdp_port::ports::usable_cores();
        let allowed = format!("a list of core numbers, of {usable:?}");
        let cores = section.optional("cores", &allowed, |value| {
            let cores = value.as_array()?.iter().map(|core| reader::integer(core, 0, 65_535));
            cores
                .map(|core: Option<u16>| {
                    core.filter(|core| usable.is_empty() || usable.contains(&usize::from(*core)))
                })
                .collect::<Option<Vec<u16>>>()
        });
        let least = i64::from(workers.unwrap_or(1));
        let allowed = format!("{least}, the number of workers, to 64");
        let queues = section.optional("queues", &allowed, |v| reader::integer(v, least, 64));
        let polling = section.optional("polling", POLLING, |v| reader::text(v)?.parse().ok());
        let cache_entries = section.optional("cache-entries", "1024 to 16777216", |value| {
            reader::integer(value, 1024, 16_777_216)
        });
        let frames =
            section.optional("frames", "8192 to 4194304", |v| reader::integer(v, 8192, 4_194_304));
        reader.absorb(section);
        Self {
            workers: workers.unwrap_or(1),
            cores: cores.unwrap_or_default(),
            queues,
            polling: polling.unwrap_or_default(),
            cache_entries: cache_entries.unwrap_or(65_536),
            frames: frames.unwrap_or(ovn_xdp_port::ports::DEFAULT_FRAMES),
        }
    }
}

impl Control {
    fn read(reader: &mut Reader<'_>, system_id: &str) -> Self {
        let mut section = reader.section("control");
        let socket = section.optional("socket", "an absolute path", |value| {
            reader::text(value).map(PathBuf::from).filter(|path| path.is_absolute())
        });
        let group = section.optional("group", "the name of a group", name);
        let local_rows = section.optional("local-rows", "an absolute path", |value| {
            reader::text(value).map(PathBuf::from).filter(|path| path.is_absolute())
        });
        reader.absorb(section);
        Self { socket: socket.unwrap_or_else(|| default_socket(system_id)), group, local_rows }
    }
}

/// Where the API of the chassis `system_id` listens unless the file says otherwise.
pub fn default_socket(system_id: &str) -> PathBuf {
    PathBuf::from(format!("/run/ovn-xdp/{system_id}.sock"))
}

const POLLING: &str = "\"busy\", \"adaptive\" or \"sleep\"";
const REMOTE: &str = "a comma list of tcp:HOST:PORT, ssl:HOST:PORT and unix:PATH, or one file:PATH";
const PROBE: &str = "0 (off), or milliseconds from 1000";
const MAPPINGS: &str = "a comma list of NETWORK:INTERFACE";
const MAC_MAPPINGS: &str = "a comma list of NETWORK:xx:xx:xx:xx:xx:xx";
const ENCAP_IP: &str = "one or more IPv4 or IPv6 addresses of this host, as text or list";

fn name(value: &toml::Value) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || "._:-".contains(c);
    reader::text(value).filter(|text| (1..=253).contains(&text.len()) && text.chars().all(word))
}

fn remote(value: &toml::Value) -> Option<String> {
    let text = reader::text(value)?;
    let endpoints: Vec<&str> = text.split(',').map(str::trim).collect();
    let host_port = |rest: &str| {
        rest.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
    };
    let good = endpoints.iter().all(|endpoint| match endpoint.split_once(':') {
        Some(("tcp" | "ssl", rest)) => host_port(rest),
        Some(("unix", path)) => !path.is_empty(),
        Some(("file", path)) => !path.is_empty() && endpoints.len() == 1,
        _ => false,
    });
    good.then(|| endpoints.join(","))
}

fn probe_interval(value: &toml::Value) -> Option<Duration> {
    let millis: u32 = reader::integer(value, 0, i64::from(u32::MAX))?;
    (millis == 0 || millis >= 1000).then(|| Duration::from_millis(millis.into()))
}

fn addresses(value: &toml::Value) -> Option<Vec<IpAddr>> {
    let texts: Vec<String> = match value {
        toml::Value::Array(list) => list.iter().map(reader::text).collect::<Option<_>>()?,
        other => reader::text(other)?.split(',').map(|part| part.trim().to_owned()).collect(),
    };
    let mut found = Vec::new();
    for text in texts {
        let address: IpAddr = text.parse().ok()?;
        // An IPv4 address in IPv6 clothes is no end of a tunnel, nor is one that many hosts have.
        let many = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || many || address != address.to_canonical() {
            return None;
        }
        if !found.contains(&address) {
            found.push(address);
        }
    }
    (!found.is_empty()).then_some(found)
}

fn tos(value: &toml::Value) -> Option<Option<u8>> {
    if let Some(number) = reader::integer(value, 0, 255) {
        return Some(Some(number));
    }
    match reader::text(value)?.as_str() {
        "inherit" => Some(None),
        "none" => Some(Some(0)),
        _ => None,
    }
}

fn zones(value: &toml::Value) -> Option<Vec<String>> {
    let text = reader::text(value)?;
    let mut zones: Vec<String> = text
        .split(',')
        .map(|zone| zone.trim().to_owned())
        .filter(|zone| !zone.is_empty())
        .collect();
    zones.sort();
    zones.dedup();
    Some(zones)
}

fn bridge_mappings(value: &toml::Value) -> Option<String> {
    let text = reader::text(value)?;
    let pair = |item: &str| {
        item.split_once(':').is_some_and(|(network, link)| {
            !network.is_empty() && interface_name(link) && !link.contains(':')
        })
    };
    (text.is_empty() || text.split(',').all(|item| pair(item.trim()))).then_some(text)
}

fn mac_mappings(value: &toml::Value) -> Option<String> {
    let text = reader::text(value)?;
    let pair = |item: &str| {
        item.split_once(':').is_some_and(|(network, mac)| {
            let octets: Vec<&str> = mac.split(':').collect();
            let octet = |o: &&str| o.len() == 2 && u8::from_str_radix(o, 16).is_ok();
            !network.is_empty() && octets.len() == 6 && octets.iter().all(octet)
        })
    };
    (text.is_empty() || text.split(',').all(|item| pair(item.trim()))).then_some(text)
}

fn interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

fn tls(reader: &mut Reader<'_>, remote: Option<&str>) -> Option<TlsFiles> {
    let needed = remote.is_some_and(|remote| remote.split(',').any(|r| r.starts_with("ssl:")));
    let mut get = |key, what: &str| {
        let allowed = format!("the path of a PEM file with a {}", what.to_lowercase());
        let file = |value: &toml::Value| {
            let path = PathBuf::from(reader::text(value)?);
            std::fs::read_to_string(&path).ok()?.contains(&format!("{what}-----")).then_some(path)
        };
        match needed {
            true => reader.required(key, &allowed, file),
            false => reader.optional(key, &allowed, file),
        }
    };
    let key = get("private-key", "PRIVATE KEY");
    let (certificate, ca) = (get("certificate", "CERTIFICATE"), get("ca-cert", "CERTIFICATE"));
    let files = TlsFiles { private_key: key?, certificate: certificate?, ca_cert: ca? };
    if let Err(TlsError::Content { role, path, expected, found }) = client_config(&files) {
        let key = match role {
            "CA certificate" => "ca-cert",
            "certificate" => role,
            _ => "private-key",
        };
        reader.fault(key, &format!("{path:?}: {found}"), &format!("{expected} in PEM"));
    }
    Some(files)
}

fn interfaces(reader: &mut Reader<'_>, encaps: &[IpAddr]) -> BTreeMap<String, Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let mut names = Vec::new();
    for mut entry in reader.list("interface") {
        let link = entry.required("name", "a host interface of 1 to 15 characters", |value| {
            reader::text(value).filter(|link| interface_name(link))
        });
        let port = entry.required("iface-id", "the name of a logical port", |value| {
            reader::text(value).filter(|port| !port.is_empty())
        });
        let iface_id_ver = entry.optional("iface-id-ver", "text", reader::text);
        let encap_ip = entry.optional("encap-ip", "one of ovn-encap-ip", |value| {
            reader::address(value).filter(|address| encaps.contains(address))
        });
        if let (Some(name), Some(port)) = (link, port) {
            match found.entry(port) {
                _ if names.contains(&name) => {
                    entry.fault("name", &name, "a host interface that no other entry has");
                }
                Entry::Occupied(known) => {
                    entry.fault("iface-id", known.key(), "a logical port that no other entry has");
                }
                Entry::Vacant(free) => {
                    names.push(name.clone());
                    free.insert(Interface { name, iface_id_ver, encap_ip });
                }
            }
        }
        reader.absorb(entry);
    }
    found
}

fn kernel_hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
