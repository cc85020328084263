//! What is measured of a world: streams, small datagrams, round trips, and the processor time that
//! the whole machine spends on a packet.

use crate::world::World;
use anyhow::{Context, Result, ensure};
use ovn_xdp_kit::namespace::Namespace;
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::workload::Workload;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// One TCP stream from a nested container to another.
    TcpNested,
    /// One TCP stream between VMs.
    Tcp,
    /// UDP datagrams with 18 bytes of payload (frames of 64 bytes) between VMs, as fast as they go.
    SmallUdp,
    /// Mean of echo round trips between VMs.
    Ping,
    /// Processor time of the whole machine for one small datagram, at a rate that all can carry.
    CpuPerPacket,
}

impl Measure {
    pub const ALL: [Self; 5] =
        [Self::TcpNested, Self::Tcp, Self::SmallUdp, Self::Ping, Self::CpuPerPacket];

    /// Bytes of UDP payload that make an Ethernet frame of 64 bytes with its check sequence.
    const SMALL: usize = 18;
    /// Datagrams a second for [`Measure::CpuPerPacket`].
    const PACED: u32 = 20_000;

    pub fn label(self) -> &'static str {
        match self {
            Self::TcpNested => "TCP, nested containers",
            Self::Tcp => "TCP, VMs",
            Self::SmallUdp => "UDP of 64-byte frames, VMs",
            Self::Ping => "ping, VMs",
            Self::CpuPerPacket => "CPU time a packet",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::TcpNested | Self::Tcp => "Gb/s",
            Self::SmallUdp => "kpps",
            Self::Ping | Self::CpuPerPacket => "µs",
        }
    }

    pub fn more_is_better(self) -> bool {
        matches!(self, Self::TcpNested | Self::Tcp | Self::SmallUdp)
    }

    /// Measures once, in [`Measure::unit`].
    pub fn take(self, world: &World, effort: Duration) -> Result<f64> {
        let value = match self {
            Self::TcpNested => stream(world.container(0), world.container(1), effort),
            Self::Tcp => stream(world.vm(0), world.vm(1), effort),
            Self::SmallUdp => {
                let count = datagrams(world.vm(0), world.vm(1), effort, None)?;
                Ok(count as f64 / effort.as_secs_f64() / 1e3)
            }
            Self::Ping => round_trip(world.vm(0), world.vm(1), effort),
            Self::CpuPerPacket => {
                let before = busy()?;
                let count = datagrams(world.vm(0), world.vm(1), effort, Some(Self::PACED))?;
                ensure!(count > 0, "no datagram arrived");
                Ok((busy()? - before) * 1e6 / count as f64)
            }
        };
        value.with_context(|| format!("{} of {}", self.label(), world.kind().label()))
    }
}

fn stream(from: &Workload, to: &Workload, effort: Duration) -> Result<f64> {
    let address: IpAddr = to.addresses().v4.into();
    let listener = to.namespace().enter(|| TcpListener::bind(SocketAddr::new(address, 0)))??;
    let target = listener.local_addr()?;
    let patience = Duration::from_secs(5);
    let mut client = from.namespace().enter(|| TcpStream::connect_timeout(&target, patience))??;
    let (mut server, _) = listener.accept()?;
    client.set_write_timeout(Some(patience))?;
    server.set_read_timeout(Some(patience))?;
    let receiver = std::thread::spawn(move || -> std::io::Result<(u64, Duration)> {
        let mut buffer = vec![0; 1 << 18];
        let start = Instant::now();
        let mut total = 0;
        loop {
            match server.read(&mut buffer)? {
                0 => return Ok((total, start.elapsed())),
                length => total += length as u64,
            }
        }
    });
    let block = vec![0x5a; 1 << 17];
    let end = Instant::now() + effort;
    while Instant::now() < end {
        client.write_all(&block)?;
    }
    drop(client);
    let (bytes, elapsed) = receiver.join().expect("the receiver does not panic")?;
    Ok(bytes as f64 * 8.0 / elapsed.as_secs_f64() / 1e9)
}

/// Datagrams that arrived, of those sent at `rate` a second or as fast as they go.
fn datagrams(from: &Workload, to: &Workload, effort: Duration, rate: Option<u32>) -> Result<u64> {
    let address: IpAddr = to.addresses().v4.into();
    let incoming = socket(to.namespace(), SocketAddr::new(address, 0))?;
    let outgoing = socket(from.namespace(), SocketAddr::new(from.addresses().v4.into(), 0))?;
    outgoing.connect(incoming.local_addr()?)?;
    incoming.set_read_timeout(Some(Duration::from_millis(100)))?;
    let stop = Arc::new(AtomicBool::new(false));
    let receiver = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut buffer = [0; 64];
            let mut count = 0_u64;
            loop {
                match incoming.recv(&mut buffer) {
                    Ok(_) => count += 1,
                    Err(_) if stop.load(Ordering::Relaxed) => return count,
                    Err(_) => {}
                }
            }
        }
    });
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < effort {
        if let Some(rate) = rate {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            if sent >= due {
                std::thread::sleep(Duration::from_micros(500));
                continue;
            }
        }
        // A full queue on the way is what a flood meets; only what arrives counts.
        let _ = outgoing.send(&[0; Measure::SMALL]);
        sent += 1;
    }
    stop.store(true, Ordering::Relaxed);
    Ok(receiver.join().expect("the receiver does not panic"))
}

fn socket(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    Ok(namespace.enter(|| UdpSocket::bind(address))??)
}

fn round_trip(from: &Workload, to: &Workload, effort: Duration) -> Result<f64> {
    // Where the scheduler puts one `ping` decides much of its figure; so it is several.
    const BURST: u32 = 40;
    let address = to.addresses().v4.into();
    let bursts = (effort.as_millis() as u32 / (5 * BURST)).max(1);
    let mut sum = Duration::ZERO;
    for _ in 0..bursts {
        let pings = traffic::burst(from.namespace(), address, BURST, Duration::from_secs(2))?;
        sum += pings.mean.with_context(|| format!("nobody answered: {pings:?}"))?;
    }
    Ok(sum.as_secs_f64() * 1e6 / f64::from(bursts))
}

/// Seconds that all processors together were not idle since some moment in the past (proc_stat(5)).
/// The kernel measures idleness, and what the host took, in nanoseconds; time in user and system is
/// only sampled, four times a hundredth of a second at best, by ticks that worlds with timers of
/// their own may run in step with.
fn busy() -> Result<f64> {
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    ensure!(fields.len() >= 8, "/proc/stat has an unknown first line: {line}");
    let processors = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count() as f64;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let elapsed: f64 = uptime.split(' ').next().context("/proc/uptime is empty")?.parse()?;
    // idle, iowait, steal
    Ok(elapsed * processors - (fields[3] + fields[4] + fields[7]) / TICKS)
}
