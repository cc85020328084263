//! A real `ovsdb-server` in a directory of its own, killed when the test ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ovn_xdp_ovsdb::remote::Remote;
use tempfile::TempDir;

pub const SCHEMA: &str = "/usr/share/ovn/ovn-sb.ovsschema";
pub const DATABASE: &str = "OVN_Southbound";

/// A server with one database file.
pub struct Server {
    directory: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

/// Runs a tool to its end.
pub fn run(program: &str, arguments: &[&str]) {
    run_in(Path::new("/"), program, arguments);
}

/// Runs a tool to its end in a directory.
pub fn run_in(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; openvswitch-switch installs it"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Server {
    /// A server of an empty standalone database.
    pub fn standalone() -> Self {
        Self::with_schema(Path::new(SCHEMA))
    }

    /// A server of an empty standalone database with that schema.
    pub fn with_schema(schema: &Path) -> Self {
        let mut server = Self::stopped(&[]);
        run("ovsdb-tool", &["create", text(&server.file()), text(schema)]);
        server.start();
        server
    }

    /// A server that has no database file yet and does not run.
    pub fn stopped(options: &[String]) -> Self {
        let directory = TempDir::with_prefix("ovx-ovsdb-").expect("a temporary directory");
        Self { directory, options: options.to_vec(), child: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The database file.
    pub fn file(&self) -> PathBuf {
        self.path("db")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    pub fn remote(&self) -> Remote {
        Remote::Unix(self.socket())
    }

    /// Starts the server; returns the port of its first TCP or TLS listener, if it has one.
    pub fn start(&mut self) -> Option<u16> {
        let at = |name: &str| text(&self.path(name)).to_owned();
        // A socket that a killed server left behind is in the way of nobody.
        let mut child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", at("sock")))
            .arg(format!("--unixctl={}", at("ctl")))
            .arg("--no-chdir")
            .args(["-vconsole:info", "-vsyslog:off", "-vfile:off"])
            .args(&self.options)
            .arg(at("db"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ovsdb-server; openvswitch-switch installs it");
        let errors = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
        let mut port = None;
        let mut log = String::new();
        for line in lines.by_ref() {
            if let Some((_, found)) = line.split_once("listening on port ") {
                port = found.trim().parse().ok();
            }
            log.push_str(&line);
            log.push('\n');
            if line.contains("ovsdb-server (Open vSwitch)") {
                break;
            }
        }
        assert!(log.contains("ovsdb-server (Open vSwitch)"), "ovsdb-server did not start: {log}");
        // Read on, so that the server never waits for the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
        port
    }

    /// Kills the server without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Stops the server's process, so that it is silent without its connections ending.
    pub fn freeze(&self) {
        let child = self.child.as_ref().expect("a running server");
        run("kill", &["-STOP", &child.id().to_string()]);
    }

    /// Asks the server something over its control socket.
    pub fn control(&self, arguments: &[&str]) -> String {
        let output = Command::new("ovs-appctl")
            .args(["-t", text(&self.path("ctl"))])
            .args(arguments)
            .output()
            .expect("ovs-appctl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
