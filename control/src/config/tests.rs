use super::*;

const GOOD: &str = r#"
system-id = "hv1"
ovn-remote = "tcp:192.0.2.10:6642"
ovn-encap-type = "geneve"
ovn-encap-ip = "192.0.2.1"
"#;

fn faults(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.0).collect(),
    }
}

#[test]
fn the_example_of_the_design_is_accepted() {
    let config = Config::parse(
        r#"
system-id = "hv1"
ovn-remote = "tcp:192.0.2.10:6642, unix:/run/sb.sock"
ovn-encap-type = "geneve"
ovn-encap-ip = "192.0.2.1,2001:db8::1"
ovn-bridge-mappings = "physnet1:eth1"

[[interface]]
name = "tap0"
iface-id = "vm1"
encap-ip = "2001:db8::1"
"#,
    )
    .unwrap();
    assert_eq!(config.remote, "tcp:192.0.2.10:6642,unix:/run/sb.sock");
    assert_eq!(config.encap.addresses.len(), 2);
    assert_eq!(config.interfaces["vm1"].name, "tap0");
    assert_eq!(config.control.socket, PathBuf::from("/run/ovn-xdp/hv1.sock"));
    assert!(config.encap.csum && config.encap.df && !config.monitor_all);
}

#[test]
fn booleans_and_numbers_may_be_text_as_in_ovn() {
    let text = format!("{GOOD}ovn-monitor-all = \"true\"\novn-remote-probe-interval = \"5000\"\n");
    let config = Config::parse(&text).unwrap();
    assert!(config.monitor_all);
    assert_eq!(config.probe_interval, Duration::from_secs(5));
}

/// Each key wrong in turn: one line that names the key, the value and what is allowed.
#[test]
fn each_wrong_key_gives_one_line_with_key_value_and_what_is_allowed() {
    let cases = [
        ("system-id", "\"\"", "a name"),
        ("hostname", "3", "a host name"),
        ("ovn-remote", "\"http:x\"", "tcp:HOST:PORT"),
        ("ovn-remote", "\"tcp:192.0.2.1\"", "tcp:HOST:PORT"),
        ("ovn-remote", "\"file:/a,tcp:192.0.2.1:6642\"", "one file:PATH"),
        ("ovn-remote-probe-interval", "999", "milliseconds from 1000"),
        ("private-key", "\"/nonexistent/key\"", "PEM"),
        ("certificate", "\"/nonexistent/cert\"", "PEM"),
        ("ca-cert", "\"/nonexistent/ca\"", "PEM"),
        ("ovn-encap-type", "\"vxlan\"", "geneve"),
        ("ovn-encap-ip", "\"192.0.2\"", "IPv4 or IPv6"),
        ("ovn-encap-ip", "\"0.0.0.0\"", "IPv4 or IPv6"),
        ("ovn-encap-ip-default", "\"192.0.2.99\"", "one of ovn-encap-ip"),
        ("ovn-encap-csum", "\"maybe\"", "true or false"),
        ("ovn-encap-tos", "256", "inherit"),
        ("ovn-encap-df_default", "1", "true or false"),
        ("ovn-bridge-mappings", "\"physnet1\"", "NETWORK:INTERFACE"),
        ("ovn-cms-options", "1", "text"),
        ("ovn-monitor-all", "\"yes\"", "true or false"),
        ("ovn-transport-zones", "1", "comma list"),
        ("ovn-chassis-mac-mappings", "\"physnet1:aa:bb\"", "xx:xx"),
        ("ovn-is-interconn", "0", "true or false"),
        ("ovn-match-northd-version", "0", "true or false"),
    ];
    for (key, value, allowed) in cases {
        let kept: String = GOOD
            .lines()
            .filter(|line| !line.starts_with(&format!("{key} =")))
            .map(|line| format!("{line}\n"))
            .collect();
        let found = faults(&format!("{kept}{key} = {value}\n"));
        assert_eq!(found.len(), 1, "{key} = {value}: {found:?}");
        assert!(found[0].starts_with(&format!("{key}: found ")), "{found:?}");
        assert!(found[0].contains(value.trim_matches('"')), "{found:?}");
        assert!(found[0].contains(allowed) && !found[0].contains('\n'), "{found:?}");
    }
}

#[test]
fn each_wrong_key_of_a_section_is_named_with_its_section() {
    let cases = [
        ("[datapath]\nworkers = 0", "datapath.workers", "1 to 64"),
        ("[datapath]\ncores = [-1]", "datapath.cores", "core numbers"),
        ("[datapath]\ncores = [0, 4095]", "datapath.cores", "core numbers, of [0"),
        ("[datapath]\nqueues = 65", "datapath.queues", "to 64"),
        ("[datapath]\nworkers = 4\nqueues = 2", "datapath.queues", "4, the number of workers"),
        ("[datapath]\npolling = \"never\"", "datapath.polling", "adaptive"),
        ("[datapath]\ncache-entries = 7", "datapath.cache-entries", "1024"),
        ("[datapath]\nframes = 1", "datapath.frames", "8192"),
        ("[control]\nsocket = \"x.sock\"", "control.socket", "absolute path"),
        ("[control]\ngroup = 4", "control.group", "a group"),
        ("[control]\nlocal-rows = \"x\"", "control.local-rows", "absolute path"),
        ("[[interface]]\nname = \"\"\niface-id = \"a\"", "interface[0].name", "1 to 15"),
        ("[[interface]]\nname = \"t\"\niface-id = 1", "interface[0].iface-id", "logical port"),
        (
            "[[interface]]\nname = \"t\"\niface-id = \"a\"\nencap-ip = \"192.0.2.7\"",
            "interface[0].encap-ip",
            "one of ovn-encap-ip",
        ),
        (
            "[[interface]]\nname = \"t\"\niface-id = \"a\"\n[[interface]]\nname = \"t\"\niface-id = \"b\"",
            "interface[1].name",
            "no other entry",
        ),
        (
            "[[interface]]\nname = \"t\"\niface-id = \"a\"\n[[interface]]\nname = \"u\"\niface-id = \"a\"",
            "interface[1].iface-id",
            "no other entry",
        ),
    ];
    for (text, key, allowed) in cases {
        let found = faults(&format!("{GOOD}{text}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("{key}: found ")), "{found:?}");
        assert!(found[0].contains(allowed), "{found:?}");
    }
}

#[test]
fn a_missing_key_is_named_and_all_faults_come_at_once() {
    let found = faults("ovn-remote = 7\n");
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("system-id: missing"));
    assert!(found[1].starts_with("ovn-remote: found 7"));
    assert!(found[2].starts_with("ovn-encap-type: missing"));
    assert!(found[3].starts_with("ovn-encap-ip: missing"));
}

#[test]
fn an_unknown_key_is_refused_with_the_key_that_was_probably_meant() {
    let found = faults(&format!("{GOOD}ovn-encap-csm = true\n"));
    assert_eq!(found, ["ovn-encap-csm: no such key; did you mean ovn-encap-csum?"]);
    let found = faults(&format!("{GOOD}[datapath]\nfoo = true\n"));
    assert!(found[0].starts_with("datapath.foo: no such key; allowed here: workers"), "{found:?}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let found = faults("system-id = \"hv1\"\novn-remote = = 3\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("line 2: ") && !found[0].contains('\n'), "{found:?}");
}

#[test]
fn an_ssl_remote_asks_for_key_certificate_and_ca() {
    let text = GOOD.replace("tcp:192.0.2.10:6642", "ssl:192.0.2.10:6642");
    let found = faults(&text);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|fault| fault.contains("missing")));
}

#[test]
fn a_reload_takes_interfaces_over_and_names_what_needs_a_restart() {
    let mut old = Config::parse(GOOD).unwrap();
    let new = GOOD.replace("hv1", "hv2")
        + "[[interface]]\nname = \"tap0\"\niface-id = \"vm1\"\n[datapath]\nworkers = 2\n";
    let new = Config::parse(&new).unwrap();
    assert_eq!(old.needs_restart(&new), ["system-id", "[datapath]", "[control]"]);
    old.adopt(new);
    assert_eq!(old.system_id, "hv1");
    assert_eq!(old.datapath.workers, 1);
    assert!(old.interfaces.contains_key("vm1"));
}

#[test]
fn a_file_that_names_no_database_and_no_tunnels_is_of_a_chassis_that_is_alone() {
    let config = Config::parse("system-id = \"hv1\"\n").unwrap();
    assert!(config.remote.is_empty() && config.encap.addresses.is_empty());
    let found = faults("system-id = \"hv1\"\novn-encap-ip = \"192.0.2.1\"\n");
    assert!(found[0].starts_with("ovn-remote: missing"), "{found:?}");
}
