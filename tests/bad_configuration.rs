//! Each key of the configuration, wrong in turn: one line that names the key, the value and what is
//! allowed, and status 2.

use std::process::Command;

use ovn_xdp_kit::pki::{Identity, Pki};

const GOOD: [(&str, &str); 4] = [
    ("system-id", "\"hv1\""),
    ("ovn-remote", "\"tcp:192.0.2.10:6642\""),
    ("ovn-encap-type", "\"geneve\""),
    ("ovn-encap-ip", "\"192.0.2.1\""),
];

/// Key as the message names it, lines of TOML, the value as the message quotes it, what is allowed.
const WRONG: [(&str, &str, &str, &str); 39] = [
    ("system-id", "system-id = \"\"", "", "a name"),
    ("hostname", "hostname = 3", "3", "a host name"),
    ("ovn-remote", "ovn-remote = \"http:x\"", "http:x", "tcp:HOST:PORT"),
    ("ovn-remote", "ovn-remote = \"tcp:192.0.2.1\"", "tcp:192.0.2.1", "tcp:HOST:PORT"),
    ("ovn-remote-probe-interval", "ovn-remote-probe-interval = 999", "999", "1000"),
    ("private-key", "private-key = \"/none\"", "/none", "PEM"),
    ("certificate", "certificate = \"/none\"", "/none", "PEM"),
    ("ca-cert", "ca-cert = \"/none\"", "/none", "PEM"),
    ("ovn-encap-type", "ovn-encap-type = \"vxlan\"", "vxlan", "geneve"),
    ("ovn-encap-ip", "ovn-encap-ip = \"192.0.2\"", "192.0.2", "IPv4 or IPv6"),
    ("ovn-encap-ip", "ovn-encap-ip = \"255.255.255.255\"", "255.255.255.255", "IPv4 or IPv6"),
    ("ovn-encap-ip", "ovn-encap-ip = \"::ffff:192.0.2.1\"", "::ffff:192.0.2.1", "IPv4 or IPv6"),
    ("ovn-encap-ip-default", "ovn-encap-ip-default = \"192.0.2.9\"", "192.0.2.9", "ovn-encap-ip"),
    ("ovn-encap-csum", "ovn-encap-csum = \"maybe\"", "maybe", "true or false"),
    ("ovn-encap-tos", "ovn-encap-tos = 256", "256", "inherit"),
    ("ovn-encap-df_default", "ovn-encap-df_default = 1", "1", "true or false"),
    ("ovn-bridge-mappings", "ovn-bridge-mappings = \"physnet1\"", "physnet1", "NETWORK:INTERFACE"),
    ("ovn-cms-options", "ovn-cms-options = 1", "1", "text"),
    ("ovn-monitor-all", "ovn-monitor-all = \"yes\"", "yes", "true or false"),
    ("ovn-transport-zones", "ovn-transport-zones = 1", "1", "comma list"),
    ("ovn-chassis-mac-mappings", "ovn-chassis-mac-mappings = \"p:aa\"", "p:aa", "xx:xx"),
    ("ovn-is-interconn", "ovn-is-interconn = 0", "0", "true or false"),
    ("ovn-match-northd-version", "ovn-match-northd-version = 0", "0", "true or false"),
    ("datapath.workers", "[datapath]\nworkers = 0", "0", "1 to 64"),
    ("datapath.cores", "[datapath]\ncores = [-1]", "-1", "core numbers"),
    ("datapath.cores", "[datapath]\ncores = [0, 4095]", "4095", "core numbers, of [0"),
    ("private-key", "private-key = \"/etc/hostname\"", "/etc/hostname", "private key"),
    ("certificate", "certificate = \"/etc\"", "/etc", "certificate"),
    ("datapath.queues", "[datapath]\nqueues = \"all\"", "all", "to 64"),
    ("datapath.queues", "[datapath]\nqueues = 65", "65", "to 64"),
    ("datapath.queues", "[datapath]\nworkers = 4\nqueues = 2", "2", "4, the number of workers"),
    ("datapath.polling", "[datapath]\npolling = 2", "2", "\"sleep\""),
    ("datapath.cache-entries", "[datapath]\ncache-entries = 7", "7", "1024"),
    ("datapath.frames", "[datapath]\nframes = 1", "1", "8192 to"),
    ("control.socket", "[control]\nsocket = \"x.sock\"", "x.sock", "absolute path"),
    ("control.group", "[control]\ngroup = 4", "4", "a group"),
    ("control.local-rows", "[control]\nlocal-rows = \"x\"", "x", "absolute path"),
    ("interface[0].name", "[[interface]]\nname = \"\"\niface-id = \"a\"", "", "1 to 15"),
    ("interface[0].iface-id", "[[interface]]\nname = \"t\"\niface-id = 1", "1", "logical port"),
];

fn run_with(text: &str) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ovn-xdp"))
        .args(["run", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn each_wrong_key_gives_one_line_and_status_2() {
    for (key, wrong, value, allowed) in WRONG {
        let others: String = GOOD
            .iter()
            .filter(|(good, _)| *good != key)
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let (status, said) = run_with(&format!("{others}{wrong}\n"));
        assert_eq!(status, Some(2), "{wrong}: {said}");
        assert_eq!(said.lines().count(), 1, "{wrong}: {said}");
        for part in [key, value, allowed] {
            assert!(said.contains(part), "{wrong}: {part:?} is not in: {said}");
        }
    }
}

/// What stands between the lines of a PEM file is looked at, and not only when a server is met.
#[test]
fn a_key_or_certificate_that_tls_cannot_use_gives_one_line_and_status_2() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new(directory.path()).unwrap();
    let (ours, other) = (pki.identity("hv1").unwrap(), pki.identity("hv2").unwrap());
    let garbage = |what: &str| {
        let path = directory.path().join(what);
        let text = format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (garbage("CERTIFICATE"), garbage("PRIVATE KEY"));
    let wrong = [
        ("ca-cert", Identity { ca_cert: certificate, ..ours.clone() }),
        ("private-key", Identity { private_key: key, ..ours.clone() }),
        ("private-key", Identity { private_key: other.private_key, ..ours.clone() }),
    ];
    for (key, identity) in wrong {
        let paths = [&identity.private_key, &identity.certificate, &identity.ca_cert];
        let keys = ["private-key", "certificate", "ca-cert"];
        let files = keys.iter().zip(paths).map(|(key, path)| format!("{key} = {path:?}\n"));
        let good = GOOD.map(|(key, value)| format!("{key} = {}\n", value.replace("tcp", "ssl")));
        let (status, said) = run_with(&good.into_iter().chain(files).collect::<String>());
        assert_eq!(status, Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with(&format!("{key}: found \"/")), "{said}");
    }
}

#[test]
fn each_missing_key_gives_one_line_and_status_2() {
    for (key, _) in GOOD {
        let others: String = GOOD
            .iter()
            .filter(|(good, _)| *good != key)
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let (status, said) = run_with(&others);
        assert_eq!(status, Some(2), "without {key}: {said}");
        assert_eq!(said.lines().count(), 1, "without {key}: {said}");
        assert!(said.contains(key), "without {key}: {said}");
    }
}

#[test]
fn an_unknown_key_and_a_file_that_is_no_toml_give_one_line_and_status_2() {
    let good: String = GOOD.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    for (text, part) in
        [(format!("{good}ovn-remtoe = \"x\"\n"), "ovn-remtoe"), ("x".into(), "line 1")]
    {
        let (status, said) = run_with(&text);
        assert_eq!(status, Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(part), "{said}");
    }
}
