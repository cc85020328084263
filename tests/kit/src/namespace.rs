//! A network namespace: a hypervisor, a VM, a container, or the network between hypervisors.
//!
//! It owns what runs and lives in it: dropping it kills the processes inside and deletes it, and
//! the kernel then removes its links, addresses and routes. Names are `ovx<process id>-<n>-<role>`;
//! the first namespace a process makes removes those of processes that no longer exist.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;
use crate::wait;

const PREFIX: &str = "ovx";
const MOUNTS: &str = "/run/netns";

/// A network namespace with a unique name, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    role: String,
}

impl Namespace {
    /// Makes a namespace. `role` is the readable part of its name, such as `hv1`.
    ///
    /// In it the loopback is up and IPv6 addresses work at once (no duplicate address detection),
    /// and nothing configures itself from router advertisements, or asks for any.
    ///
    /// # Errors
    /// Without the rights (CAP_SYS_ADMIN) or without `ip`.
    pub fn new(role: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(remove_leftovers);
        ensure!(
            role.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{role:?} cannot be part of a namespace's name"
        );
        let namespace = Self { name: unique(role), role: role.into() };
        process::run(Command::new("ip").args(["netns", "add", &namespace.name]))
            .context("cannot make a network namespace; are you root, and is iproute2 installed?")?;
        for scope in ["all", "default"] {
            for (key, value) in [
                ("accept_dad", "0"),
                ("autoconf", "0"),
                ("accept_ra", "0"),
                ("router_solicitations", "0"),
                // What it says of its multicast groups it says within 20 ms.
                ("mldv2_unsolicited_report_interval", "10"),
            ] {
                namespace.sysctl(&format!("net/ipv6/conf/{scope}/{key}"), value)?;
            }
        }
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The readable part of the name.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Where the namespace is mounted.
    pub fn path(&self) -> PathBuf {
        Path::new(MOUNTS).join(&self.name)
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip ARGUMENTS` on this namespace; the arguments are separated by spaces.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split_whitespace());
        process::run(&mut command)
    }

    /// Runs many `ip` commands in one process, a line each. Stops at the first that fails.
    pub fn ip_batch(&self, lines: &[String]) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), lines.join("\n"))?;
        process::run(Command::new("ip").args(["-n", &self.name, "-batch"]).arg(file.path()))?;
        Ok(())
    }

    /// Sets a kernel parameter of this namespace; `key` is a path under `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(|| fs::write(&path, value))?
            .with_context(|| format!("cannot write {value} to {} in {}", path.display(), self.name))
    }

    /// Runs a function on a thread inside, and returns what it returns.
    ///
    /// Sockets made there belong to the namespace, and may be used and kept outside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = self.open()?;
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).context("setns").map(|()| work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let file = self.open()?;
        let enter = move || setns(file, CloneFlags::CLONE_NEWNET).context("setns");
        Ok(thread::Builder::new()
            .name(self.role.clone())
            .spawn(move || enter().map(|()| work()))?)
    }

    /// The processes that run inside.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.name)
    }

    fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("namespace {} is gone", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A name no other value of this or another running process has.
pub fn unique(role: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-{role}", std::process::id())
}

/// Removes namespaces and temporary directories that processes which no longer exist have left behind.
fn remove_leftovers() {
    let gone = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
    let left = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| maker(name).is_some_and(gone)).collect()
    };
    left(Path::new(MOUNTS)).iter().for_each(|name| remove(name));
    let temporary = std::env::temp_dir();
    for name in left(&temporary) {
        let _ = fs::remove_dir_all(temporary.join(name));
    }
}

fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn remove(name: &str) {
    let mut killed = HashSet::new();
    // What is inside may be starting something just now, so look until nothing is left.
    let _ = wait::until("the processes of a namespace to end", wait::PATIENCE, || {
        let inside = processes(name);
        for pid in &inside {
            if killed.insert(*pid) {
                let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
            }
        }
        if inside.is_empty() { Ok(()) } else { Err(format!("{inside:?}")) }
    });
    let _ = process::output(Command::new("ip").args(["netns", "delete", name]));
}

fn processes(name: &str) -> Vec<u32> {
    let own = std::process::id();
    process::output(Command::new("ip").args(["netns", "pids", name]))
        .map(|output| {
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .filter(|pid| *pid != own)
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn a_namespace_goes_with_its_processes_when_its_owner_panics() {
        let (name, pid) = std::panic::catch_unwind(|| {
            let namespace = Namespace::new("gone").unwrap();
            let mut sleep = namespace.command("sleep");
            sleep.arg("1000");
            let child = Process::spawn("sleep", sleep, Path::new("/dev/null")).unwrap();
            let seen = (namespace.name().to_owned(), child.pid());
            wait::until("the process to be inside", wait::PATIENCE, || {
                if namespace.processes() == [seen.1] { Ok(()) } else { Err(String::new()) }
            })
            .unwrap();
            // Its own owner is not the one that ends it.
            std::mem::forget(child);
            std::panic::panic_any(seen);
        })
        .unwrap_err()
        .downcast::<(String, u32)>()
        .map(|seen| *seen)
        .unwrap();
        assert!(!Path::new(MOUNTS).join(&name).exists());
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn what_a_killed_run_left_behind_is_removed_by_the_next() {
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let left = format!("{PREFIX}{}-0-left", dead.id());
        process::run(Command::new("ip").args(["netns", "add", &left])).unwrap();
        let directory = std::env::temp_dir().join(&left);
        fs::create_dir(&directory).unwrap();
        remove_leftovers();
        assert!(!Path::new(MOUNTS).join(&left).exists() && !directory.exists());
    }

    #[test]
    fn a_thread_inside_sees_the_links_of_the_namespace_only() {
        let namespace = Namespace::new("inside").unwrap();
        let links = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
        let links = links.unwrap();
        let names: Vec<_> = links.lines().skip(2).filter_map(|l| l.split(':').next()).collect();
        assert_eq!(names.iter().map(|n| n.trim()).collect::<Vec<_>>(), ["lo"]);
    }
}
