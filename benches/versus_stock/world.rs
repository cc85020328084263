//! Two hypervisors with a VM each and a container nested in each VM, connected by one of the peers.

use anyhow::{Context, Result};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::{self, Underlay};
use ovn_xdp_kit::namespace::Namespace;
use ovn_xdp_kit::stock::{Ports, StockChassis, StockOptions};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SWITCH: &str = "lan";
const TAG: u16 = 7;
const MTU: u32 = 1400;

/// Who forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Ours,
    /// Another build of ours: [`other`].
    Other,
    StockPacket,
    StockXdp,
    Kernel,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Ours, Self::StockPacket, Self::StockXdp, Self::Kernel];

    pub fn label(self) -> &'static str {
        match self {
            Self::Ours => "ovn-xdp",
            Self::Other => "other build",
            Self::StockPacket => "stock AF_PACKET",
            Self::StockXdp => "stock AF_XDP",
            Self::Kernel => "kernel VXLAN",
        }
    }
}

/// The worlds that can be measured here.
pub fn kinds() -> Vec<Kind> {
    Kind::ALL.into_iter().chain(other().map(|_| Kind::Other)).collect()
}

/// The program of another build of ours, if the caller named one.
fn other() -> Option<PathBuf> {
    std::env::var_os("VERSUS_OTHER").map(PathBuf::from)
}

/// A running world. Fields are dropped in order: workloads first, then who forwards.
pub struct World {
    kind: Kind,
    containers: Vec<Workload>,
    vms: Vec<Workload>,
    _hypervisors: Vec<Hypervisor>,
    _central: Option<Central>,
    _underlay: Underlay,
}

enum Hypervisor {
    Chassis(Box<dyn Chassis>),
    Kernel(Namespace),
}

impl Hypervisor {
    fn namespace(&self) -> &Namespace {
        match self {
            Self::Chassis(chassis) => chassis.namespace(),
            Self::Kernel(namespace) => namespace,
        }
    }
}

impl World {
    /// Builds it, and waits until both VMs and both containers answer.
    pub fn new(kind: Kind) -> Result<Self> {
        Self::build(kind).with_context(|| format!("the world of {}", kind.label()))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn vm(&self, hypervisor: usize) -> &Workload {
        &self.vms[hypervisor]
    }

    pub fn container(&self, hypervisor: usize) -> &Workload {
        &self.containers[hypervisor]
    }

    fn build(kind: Kind) -> Result<Self> {
        let underlay = Underlay::new(1500)?;
        let central = (kind != Kind::Kernel).then(central).transpose()?;
        let mut hypervisors = (0..2)
            .map(|n| hypervisor(kind, n, &underlay, central.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let (mut vms, mut containers) = (Vec::new(), Vec::new());
        for (n, hypervisor) in hypervisors.iter_mut().enumerate() {
            let name = vm_name(n);
            let plain = match hypervisor {
                Hypervisor::Chassis(chassis) => chassis.needs_plain_frames(),
                Hypervisor::Kernel(_) => false,
            };
            let vm =
                Workload::plugged(&name, hypervisor.namespace(), &name, vm_addresses(n), plain)?;
            vm.mtu(MTU)?;
            match hypervisor {
                Hypervisor::Chassis(chassis) => chassis.plug(&name, &name)?,
                Hypervisor::Kernel(namespace) => {
                    namespace.ip(&format!("link set dev {name} master br0"))?;
                }
            }
            let container = vm.nest(&container_name(n), TAG, container_addresses(n), plain)?;
            container.mtu(MTU)?;
            vms.push(vm);
            containers.push(container);
        }
        if let Some(central) = &central {
            central.wait_up(
                (0..2)
                    .flat_map(|n| [vm_name(n), container_name(n)])
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            )?;
            central.sync_chassis()?;
        }
        let world = Self {
            kind,
            containers,
            vms,
            _hypervisors: hypervisors,
            _central: central,
            _underlay: underlay,
        };
        answers(&world.vms)?;
        answers(&world.containers)?;
        Ok(world)
    }
}

/// Waits until the first reaches the second: the first packets teach neighbours.
fn answers(pair: &[Workload]) -> Result<()> {
    let to: IpAddr = pair[1].addresses().v4.into();
    let what = format!("{} to answer {}", pair[1].role(), pair[0].role());
    wait::until(&what, PATIENCE, || {
        let pings = traffic::ping(pair[0].namespace(), to, 3, Duration::from_secs(1))
            .map_err(|error| format!("{error:#}"))?;
        if pings.received == pings.sent { Ok(()) } else { Err(format!("{pings:?}")) }
    })
}

fn vm_name(n: usize) -> String {
    format!("vm{}", n + 1)
}

fn container_name(n: usize) -> String {
    format!("vm{}-c", n + 1)
}

fn vm_addresses(n: usize) -> Addresses {
    Addresses::nth(1, 11 + n as u8)
}

fn container_addresses(n: usize) -> Addresses {
    Addresses::nth(1, 21 + n as u8)
}

fn central() -> Result<Central> {
    let central = Central::new(Southbound::Standalone)?;
    central.nb(&format!("ls-add {SWITCH}"))?;
    for n in 0..2 {
        for (name, parent, addresses) in [
            (vm_name(n), String::new(), vm_addresses(n)),
            (container_name(n), format!("{} {TAG}", vm_name(n)), container_addresses(n)),
        ] {
            central.nb(&format!("lsp-add {SWITCH} {name} {parent}"))?;
            central.nbctl(&["lsp-set-addresses", &name, &addresses.words()])?;
        }
    }
    central.sync()?;
    Ok(central)
}

fn hypervisor(
    kind: Kind,
    n: usize,
    underlay: &Underlay,
    central: Option<&Central>,
) -> Result<Hypervisor> {
    let name = format!("hv{}", n + 1);
    let address: (IpAddr, u8) = ([192, 0, 2, 1 + n as u8].into(), 24);
    let ports = match kind {
        Kind::StockXdp => Ports::Xdp,
        _ => Ports::Packet,
    };
    let remote = central.map(Central::remote).unwrap_or_default();
    // One machine plays both hypervisors: who forwards for one has a core, the other the next.
    let core = n % std::thread::available_parallelism()?.get();
    let settings = format!("[datapath]\ncores = [{core}]\n");
    let binary = other().filter(|_| kind == Kind::Other);
    Ok(match kind {
        Kind::Ours | Kind::Other => Hypervisor::Chassis(Box::new(XdpChassis::new(
            underlay,
            XdpOptions {
                binary: binary.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_ovn-xdp"))),
                name: &name,
                remote: &remote,
                address,
                identity: None,
                settings: &settings,
            },
        )?)),
        Kind::StockPacket | Kind::StockXdp => Hypervisor::Chassis(Box::new(StockChassis::new(
            underlay,
            StockOptions { name: &name, remote: &remote, address, ports, core: Some(core) },
        )?)),
        Kind::Kernel => {
            let namespace = Namespace::new(&name)?;
            underlay.attach(&namespace)?;
            link::address(&namespace, Underlay::LINK, address.0, address.1)?;
            link::bridge(&namespace, "br0")?;
            let other = 2 - n;
            namespace.ip(&format!(
                "link add vx type vxlan id 7 local {} remote 192.0.2.{other} dstport 4789",
                address.0
            ))?;
            namespace.ip("link set dev vx master br0 up")?;
            Hypervisor::Kernel(namespace)
        }
    })
}
