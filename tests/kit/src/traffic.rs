//! Traffic between workloads, and what came of it: ping, TCP streams whose bytes are checked where
//! they arrive, numbered UDP datagrams.
//!
//! The kernel checks a received segment's checksum before we see its bytes, and we check the bytes;
//! so a stream that arrives here had both right.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::namespace::Namespace;
use crate::process;

/// What `ping` counted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pings {
    /// Echo requests sent.
    pub sent: u32,
    /// Answers to them.
    pub received: u32,
    /// The mean round trip, if anything was answered.
    pub mean: Option<Duration>,
}

/// Sends `count` echo requests, each when the one before was answered or given up, and waits for
/// each answer for up to `patience`.
///
/// Each is a `ping` of its own: one that has had an answer waits for its last only twice the longest
/// round trip so far, a millisecond or so, and on a busy machine calls lost what is merely late.
///
/// # Errors
/// When `ping` does not run. That nobody answers is no error.
pub fn ping(from: &Namespace, to: IpAddr, count: u32, patience: Duration) -> Result<Pings> {
    let mut all = Pings { sent: 0, received: 0, mean: None };
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let one = burst(from, to, 1, patience)?;
        all.sent += one.sent;
        all.received += one.received;
        sum += one.mean.unwrap_or_default();
    }
    all.mean = sum.checked_div(all.received);
    Ok(all)
}

/// Sends `count` echo requests, 5 ms apart, for their mean round trip. The last may be taken for
/// lost when it is late ([`ping`] says why).
///
/// # Errors
/// When `ping` does not run. That nobody answers is no error.
pub fn burst(from: &Namespace, to: IpAddr, count: u32, patience: Duration) -> Result<Pings> {
    let mut command = from.command("ping");
    command.args(["-n", "-q", "-i", "0.005", "-c", &count.to_string()]);
    command.args(["-W", &patience.as_secs_f32().to_string(), &to.to_string()]);
    let output = process::output(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    read_ping(&text).with_context(|| {
        format!(
            "{} said:\n{text}{}",
            process::line(&command),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn read_ping(text: &str) -> Result<Pings> {
    let counts = text.lines().find(|line| line.contains("packets transmitted"));
    let counts = counts.context("no packet counts")?;
    let number = |before: &str| {
        let words = counts.split(", ").find(|part| part.contains(before))?;
        words.split_whitespace().next()?.parse().ok()
    };
    let times = text.lines().find_map(|line| line.strip_prefix("rtt ")?.split("= ").nth(1));
    let mean = times
        .and_then(|times| times.split('/').nth(1)?.parse::<f64>().ok())
        .map(|milliseconds| Duration::from_secs_f64(milliseconds / 1e3));
    Ok(Pings {
        sent: number("transmitted").context("no count of packets transmitted")?,
        received: number("received").context("no count of packets received")?,
        mean,
    })
}

/// Sends one TCP stream of `bytes` bytes, and checks each byte where it arrives.
///
/// Returns the time from the connection to the last byte's arrival.
///
/// # Errors
/// When nobody can connect, the stream stalls for `patience`, ends early, or differs.
pub fn tcp(
    from: &Namespace,
    to: &Namespace,
    address: IpAddr,
    bytes: usize,
    patience: Duration,
) -> Result<Duration> {
    let listener = to
        .enter(|| TcpListener::bind(SocketAddr::new(address, 0)))?
        .with_context(|| format!("cannot listen on {address} in {}", to.name()))?;
    let target = listener.local_addr()?;
    // The listener would wait for ever for a client that cannot connect, so the client is first.
    let stream = from
        .enter(|| TcpStream::connect_timeout(&target, patience))?
        .with_context(|| format!("{} cannot connect to {target}", from.role()))?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let start = Instant::now();
    let sender = std::thread::spawn(move || send_stream(stream, bytes));
    let received = receive_stream(&mut accepted, bytes, patience);
    let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
    received.and(sent)?;
    Ok(start.elapsed())
}

/// The test stream from a place on, at least [`PERIOD`] bytes of it.
///
/// The period is a prime, so that no two neighbouring frames of one size carry the same bytes.
fn stream_from(at: usize) -> &'static [u8] {
    static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..2 * PERIOD).map(|at| ((at % PERIOD).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
    });
    &TWICE[at % PERIOD..][..PERIOD]
}

const PERIOD: usize = 65_521;

fn send_stream(mut stream: TcpStream, bytes: usize) -> Result<()> {
    let mut sent = 0;
    while sent < bytes {
        let chunk = stream_from(sent);
        let length = chunk.len().min(bytes - sent);
        stream.write_all(&chunk[..length]).with_context(|| format!("after {sent} bytes sent"))?;
        sent += length;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

fn receive_stream(stream: &mut TcpStream, bytes: usize, patience: Duration) -> Result<()> {
    let mut buffer = vec![0; PERIOD];
    let mut received = 0;
    loop {
        let length = stream.read(&mut buffer).with_context(|| {
            format!("nothing more came for {patience:?} after {received} of {bytes} bytes")
        })?;
        if length == 0 {
            break;
        }
        let (came, sent) = (&buffer[..length], &stream_from(received)[..length]);
        if came != sent {
            let at = came.iter().zip(sent).position(|(a, b)| a != b).unwrap_or_default();
            bail!("byte {} of the stream is not what was sent", received + at);
        }
        received += length;
    }
    ensure!(received == bytes, "the stream ended after {received} of {bytes} bytes");
    Ok(())
}

/// Numbered UDP datagrams, one each millisecond or two, until stopped; for loss while something
/// else happens.
#[derive(Debug)]
pub struct Numbered {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    sender: Option<JoinHandle<Result<Result<()>>>>,
    receiver: Option<JoinHandle<Result<Result<()>>>>,
}

/// What became of numbered datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Datagrams sent.
    pub sent: u64,
    /// Different datagrams received.
    pub received: u64,
}

impl Numbered {
    const INTERVAL: Duration = Duration::from_millis(1);
    const PAYLOAD: usize = 64;

    /// Starts to send from one workload to another's address.
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Result<Self> {
        let incoming = to.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)))??;
        incoming.set_read_timeout(Some(Duration::from_millis(50)))?;
        let target = incoming.local_addr()?;
        let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let outgoing = from.enter(|| UdpSocket::bind(SocketAddr::new(any, 0)))??;
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = {
            let (stop, sent) = (stop.clone(), sent.clone());
            from.spawn(move || {
                let mut payload = [0; Self::PAYLOAD];
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    payload[..8].copy_from_slice(&number.to_be_bytes());
                    outgoing.send_to(&payload, target).context("cannot send a datagram")?;
                    sent.store(number + 1, Ordering::Relaxed);
                    std::thread::sleep(Self::INTERVAL);
                }
                Ok(())
            })?
        };
        let receiver = {
            let (stop, received, sent) = (stop.clone(), received.clone(), sent.clone());
            to.spawn(move || count(&incoming, &stop, &sent, &received))?
        };
        Ok(Self { stop, sent, received, sender: Some(sender), receiver: Some(receiver) })
    }

    /// What was sent and received up to now.
    pub fn tally(&self) -> Tally {
        let received = self.received.load(Ordering::Relaxed);
        Tally { sent: self.sent.load(Ordering::Relaxed), received }
    }

    /// Stops sending, waits for what is under way, and says what became of all.
    pub fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in [self.sender.take(), self.receiver.take()].into_iter().flatten() {
            thread.join().map_err(|_| anyhow!("a traffic thread panicked"))???;
        }
        Ok(self.tally())
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn count(
    incoming: &UdpSocket,
    stop: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut buffer = [0; 2048];
    let mut quiet = 0;
    // After the end, half a second without a datagram is long enough for any that is on its way.
    while quiet < 10 {
        let all_here = received.load(Ordering::Relaxed) == sent.load(Ordering::Relaxed);
        match incoming.recv(&mut buffer) {
            Ok(length) if length == Numbered::PAYLOAD => {
                quiet = 0;
                let number = u64::from_be_bytes(buffer[..8].try_into().expect("eight bytes"));
                if seen.insert(number) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(length) => bail!("a datagram of {length} bytes that nobody sent"),
            Err(_) if stop.load(Ordering::Relaxed) && all_here => break,
            Err(_) if stop.load(Ordering::Relaxed) => quiet += 1,
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Underlay, address};

    fn two_hosts() -> (Underlay, Namespace, Namespace) {
        let underlay = Underlay::new(1500).unwrap();
        let hosts = ["a", "b"].map(|role| Namespace::new(role).unwrap());
        for (host, n) in hosts.iter().zip(1..) {
            underlay.attach(host).unwrap();
            address(host, Underlay::LINK, [192, 0, 2, n].into(), 24).unwrap();
            let six = [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)];
            address(host, Underlay::LINK, six.into(), 64).unwrap();
        }
        let [a, b] = hosts;
        (underlay, a, b)
    }

    #[test]
    fn neighbours_ping_stream_and_lose_nothing() {
        let (_underlay, a, b) = two_hosts();
        let patience = Duration::from_secs(10);
        for to in [IpAddr::from([192, 0, 2, 2]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2])] {
            let pings = ping(&a, to, 3, patience).unwrap();
            assert_eq!((pings.sent, pings.received), (3, 3));
            assert!(pings.mean.is_some());
            tcp(&a, &b, to, 1 << 20, patience).unwrap();
            let numbered = Numbered::start(&a, &b, to).unwrap();
            crate::wait::until("some datagrams", patience, || {
                let tally = numbered.tally();
                if tally.received > 20 { Ok(()) } else { Err(format!("{tally:?}")) }
            })
            .unwrap();
            let tally = numbered.finish().unwrap();
            assert_eq!(tally.sent, tally.received);
        }
    }

    #[test]
    fn an_address_that_nobody_has_answers_nothing_and_accepts_nobody() {
        let (_underlay, a, b) = two_hosts();
        let pings = ping(&a, [192, 0, 2, 77].into(), 1, Duration::from_millis(100)).unwrap();
        assert_eq!((pings.received, pings.mean), (0, None));
        b.ip("link set dev eth0 down").unwrap();
        let loss = tcp(&a, &b, [192, 0, 2, 2].into(), 1, Duration::from_millis(100));
        assert!(format!("{:#}", loss.unwrap_err()).contains("a cannot connect to 192.0.2.2"));
    }
}
