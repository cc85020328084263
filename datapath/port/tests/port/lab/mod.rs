//! Network namespaces for one test: made with a prefix of its own, removed also when it fails.

pub mod cross;
pub mod stream;
pub mod tap;
pub mod tunnel;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A test's namespaces.
pub struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("ovx{}-{number}", std::process::id()), names: Vec::new() }
    }

    /// Makes a namespace with its loopback up; the name is to be handed to the other calls.
    pub fn namespace(&mut self, name: &str) -> String {
        let name = format!("{}-{name}", self.prefix);
        run("ip", &["netns", "add", &name]);
        self.names.push(name.clone());
        ip(&name, "link set lo up");
        // A test's addresses are its own: no duplicate detection, no router solicitations.
        sysctl(&name, "net.ipv6.conf.default.accept_dad=0");
        sysctl(&name, "net.ipv6.conf.default.router_solicitations=0");
        name
    }

    /// A veth pair, both ends up.
    pub fn veth(&self, near: (&str, &str), far: (&str, &str)) {
        ip(near.0, &format!("link add {} type veth peer name {} netns {}", near.1, far.1, far.0));
        ip(near.0, &format!("link set {} up", near.1));
        ip(far.0, &format!("link set {} up", far.1));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

/// Runs `ip -n NAMESPACE ARGUMENTS`.
pub fn ip(namespace: &str, arguments: &str) -> String {
    let mut list = vec!["-n", namespace];
    list.extend(arguments.split_whitespace());
    run("ip", &list)
}

pub fn sysctl(namespace: &str, setting: &str) {
    run("ip", &["netns", "exec", namespace, "sysctl", "-qw", setting]);
}

/// Runs a command in a namespace and returns what it said, whether it succeeded or not.
pub fn try_exec(namespace: &str, command: &str) -> Output {
    let mut list = vec!["netns", "exec", namespace];
    list.extend(command.split_whitespace());
    Command::new("ip").args(&list).output().expect("ip runs")
}

/// The same, and it must succeed.
pub fn exec(namespace: &str, command: &str) -> String {
    let output = try_exec(namespace, command);
    assert!(
        output.status.success(),
        "{command} in {namespace}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("command runs");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a closure on a thread of its own inside a namespace.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(namespace);
                work()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling thread into a namespace, for good.
pub fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace exists");
    // SAFETY: a descriptor that is open, and a call that changes this thread only.
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
}

/// Pings once a call until an answer comes, at most ten seconds.
pub fn ping(namespace: &str, address: &str) {
    exec(namespace, &format!("ping -c 1 -w 10 {address}"));
}

/// The Internet checksum (RFC 1071) of bytes behind a sum so far.
pub fn checksum(bytes: &[u8], so_far: u32) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = words.fold(so_far, |sum, word| sum + word);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Waits until `done` says so, at most ten seconds.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The MAC address of a device.
pub fn mac(namespace: &str, device: &str) -> [u8; 6] {
    let line = ip(namespace, &format!("-o link show dev {device}"));
    let text = line.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let bytes: Vec<u8> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}
