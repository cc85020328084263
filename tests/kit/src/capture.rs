//! Frames of one link, collected while something happens, and what `tshark` makes of them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::packet::{Frame, PacketSocket, write_pcap};
use crate::{process, wait};

/// A capture in progress: from its start on, nothing that passes the link is missed.
#[derive(Debug)]
pub struct Capture {
    socket: PacketSocket,
    what: String,
    seen: Vec<Frame>,
}

impl Capture {
    /// Starts to capture on a link.
    pub fn start(namespace: &Namespace, link: &str) -> Result<Self> {
        let what = format!("{link} in {}", namespace.role());
        Ok(Self { socket: PacketSocket::open(namespace, link)?, what, seen: Vec::new() })
    }

    /// Waits for a frame that satisfies `wanted`, among those not looked at yet.
    ///
    /// # Errors
    /// When none passes within `patience`; the error shows the frames that did.
    pub fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(frame) = self.socket.next(left.min(Duration::from_millis(100)))? {
                self.seen.push(frame.clone());
                if wanted(&frame) {
                    return Ok(frame);
                }
            } else if left.is_zero() || wait::interrupted() {
                let recent = self.seen.iter().rev().take(8).map(|frame| format!("\n  {frame:?}"));
                bail!(
                    "no {what} on {} within {patience:?}; {} other frames, the last:{}",
                    self.what,
                    self.seen.len(),
                    recent.collect::<String>()
                );
            }
        }
    }

    /// What has passed up to now.
    pub fn frames(&mut self) -> Result<&[Frame]> {
        while let Some(frame) = self.socket.next(Duration::ZERO)? {
            self.seen.push(frame);
        }
        Ok(&self.seen)
    }

    /// Writes what has passed as a pcap file.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let file = std::fs::File::create(path)?;
        let frames = self.frames()?;
        write_pcap(std::io::BufWriter::new(file), frames)
    }
}

/// What `tshark` says of a frame: its protocol layers, each with its fields. A protocol that is there
/// twice, as in a tunnel, is an array, the outermost first.
///
/// # Errors
/// When tshark is not installed or cannot read the frame.
pub fn tshark(frame: &Frame) -> Result<serde_json::Value> {
    let file = tempfile::NamedTempFile::new()?;
    write_pcap(file.reopen()?, [frame])?;
    let mut command = Command::new("tshark");
    command.args([
        "-T",
        "json",
        "--no-duplicate-keys",
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "tcp.check_checksum:TRUE",
    ]);
    command.arg("-r").arg(file.path());
    let json = process::run(&mut command).context("is Debian's package tshark installed?")?;
    let mut packets: serde_json::Value = serde_json::from_str(&json)?;
    packets
        .get_mut(0)
        .and_then(|packet| packet.pointer_mut("/_source/layers"))
        .map(serde_json::Value::take)
        .with_context(|| format!("tshark printed no packet: {json}"))
}
