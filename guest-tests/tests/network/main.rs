//! Networks under Debian's kernels: the user network (DHCP, names, downloads from the host's loopback, connections from the host, pings),
//! cards that old systems drive, machines on a switch.
//!
//! Skipped by name where the guest's files cannot be had.

#[path = "../common/mod.rs"]
mod common;
#[path = "../guest/mod.rs"]
mod guest;
mod host;
#[path = "../modules/mod.rs"]
mod modules;

use bus::StopReason;
use host::{Server, content, md5};
use machine::cards::{Card, Model, Network};
use machine::{Config, NetForward, NetProtocol, NetUserOptions};
use modules::files;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const PROMPT: &str = "root@ferry:/root# ";
const MIB: usize = 1 << 20;

/// Loads the modules; `udhcpc` sets the address that it gets.
const DHCP: &str = "for m in /ferry/modules/*; do insmod $m; done; sleep 1; echo '[ $1 = bound ] || exit 0; ip addr add $ip/24 dev eth0; \
ip route add default via $router; echo lease $ip $router $dns' >/tmp/s; sed -i '1i #!/bin/sh' /tmp/s; chmod +x /tmp/s; ip link set eth0 up; \
udhcpc -i eth0 -n -q -s /tmp/s; ";

/// A machine of the cloud kernel, or the 686 kernel, with a card; `None` if its files cannot be had.
fn config(name: &str, dir: &Path, kernel: [&str; 3], card: Card) -> Option<Config> {
    let [vmlinuz, initrd, modules] = kernel;
    let [kernel, initrd] = match files(dir, vmlinuz, initrd, modules) {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return None;
        }
    };
    let mut config = common::config(kernel, "x86-64-v2", guest::fastest());
    config.memory = 512 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    config.cards = vec![card];
    Some(config)
}

const AMD64: [&str; 3] = ["vmlinuz", "initrd", "modules"];
const I386: [&str; 3] = ["vmlinuz-i386", "initrd-i386", "modules-i386"];

/// Runs what is typed at the prompt until the guest powers off; its output.
fn typed(name: &str, config: &Config, script: &str) -> String {
    let outcome = common::converse(config, LIMIT, Some((PROMPT, script)));
    let output = outcome.output;
    assert_eq!(
        outcome.reason,
        Some(StopReason::PowerOff),
        "{name}: {output}"
    );
    output
}

fn assert_line(name: &str, output: &str, want: &str) {
    assert!(
        output.lines().any(|l| l.trim().starts_with(want)),
        "{name}: no '{want}' in:\n{output}"
    );
}

fn forward(host: SocketAddr, guest: u16) -> NetForward {
    NetForward {
        protocol: NetProtocol::Tcp,
        host,
        guest,
    }
}

const SCRIPT: &str = "ping -c 2 10.0.2.2; nslookup anything.test 10.0.2.3; wget -q -O - http://10.0.2.2:PORT/file | md5sum; \
echo hello-$((6 * 7)) | nc -l -p 7777 >/tmp/got; echo got $(cat /tmp/got); wget -q -O - http://10.0.2.2:1/ || echo refused-$((6 * 7)); poweroff -f\n";

#[test]
fn user_network() {
    let name = "user_network";
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = content(20 * MIB);
    let sum = md5(&bytes);
    let server = Server::new(bytes);
    let resolver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let forwarded = host::free_port();
    let dump = dir.path().join("frames.pcap");
    let mut card = Card::new(Network::User(NetUserOptions {
        forwards: vec![forward(forwarded, 7777)],
        resolver: resolver.local_addr().ok(),
        ..NetUserOptions::default()
    }));
    card.dump = Some(dump.clone());
    let Some(config) = config(name, dir.path(), AMD64, card) else {
        return;
    };
    let script = DHCP.to_owned() + &SCRIPT.replace("PORT", &server.port().to_string());
    let ended = AtomicBool::new(false);
    let (output, said) = std::thread::scope(|scope| {
        let talker = scope.spawn(|| host::talk(forwarded.port(), &ended));
        scope.spawn(|| host::resolve(&resolver, Ipv4Addr::new(192, 0, 2, 77), &ended));
        let output = std::panic::catch_unwind(|| typed(name, &config, &script));
        ended.store(true, Ordering::Relaxed);
        (output, talker.join().expect("the talker"))
    });
    let output = output.expect("the guest's output");
    assert_line(name, &output, "lease 10.0.2.15 10.0.2.2 10.0.2.3");
    assert_line(name, &output, "2 packets transmitted, 2 packets received");
    assert_line(name, &output, "Address: 192.0.2.77");
    assert_line(name, &output, &sum);
    assert_line(name, &output, "got from-the-host");
    assert_line(name, &output, "refused-42");
    assert_eq!(said, "hello-42\n");
    let frames = std::fs::metadata(&dump).expect("the dump").len();
    assert!(frames > 20 * MIB as u64, "{frames} bytes of frames");
}

/// A machine with this card gets an address and so many bytes.
fn download(name: &str, kernel: [&str; 3], model: Model, bytes: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = content(bytes);
    let sum = md5(&bytes);
    let server = Server::new(bytes);
    let mut card = Card::new(Network::User(NetUserOptions::default()));
    card.model = model;
    let Some(config) = config(name, dir.path(), kernel, card) else {
        return;
    };
    let port = server.port();
    let script = format!("{DHCP}wget -q -O - http://10.0.2.2:{port}/file | md5sum; poweroff -f\n");
    let output = typed(name, &config, &script);
    assert_line(name, &output, "lease 10.0.2.15 10.0.2.2 10.0.2.3");
    assert_line(name, &output, &sum);
}

#[test]
#[ignore = "nightly: 100 MB"]
fn a_hundred_megabytes() {
    download("a_hundred_megabytes", AMD64, Model::Virtio, 100_000_000);
}

#[test]
fn e1000() {
    download("e1000", I386, Model::E1000, 20 * MIB);
}

#[test]
fn rtl8139() {
    download("rtl8139", I386, Model::Rtl8139, 20 * MIB);
}

/// Addresses of their own; one serves a file, the other fetches it and says so.
const FIRST: &str = "for m in /ferry/modules/*; do insmod $m; done; sleep 1; ip addr add 10.5.0.1/24 dev eth0; ip link set eth0 up; \
dd if=/dev/urandom of=/tmp/f bs=65536 count=128 2>/dev/null; echo sum-$(md5sum </tmp/f); httpd -p 80 -h /tmp; nc -l -p 7001 >/dev/null; \
poweroff -f\n";
const SECOND: &str = "for m in /ferry/modules/*; do insmod $m; done; sleep 1; ip addr add 10.5.0.2/24 dev eth0; ip link set eth0 up; \
until ping -c 1 -W 1 10.5.0.1 >/dev/null; do :; done; ping -c 3 10.5.0.1; until wget -q -O /tmp/g http://10.5.0.1/f; do sleep 1; done; \
echo sum-$(md5sum </tmp/g); until echo done | nc 10.5.0.1 7001; do sleep 1; done; poweroff -f\n";

fn sum_of(output: &str) -> Option<&str> {
    let mut lines = output.lines().map(str::trim);
    lines.find(|l| l.starts_with("sum-") && l.len() > 36)
}

#[test]
fn two_machines_on_a_switch() {
    let name = "two_machines_on_a_switch";
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("switch");
    let machine = |folder: &str| {
        let folder = dir.path().join(folder);
        std::fs::create_dir(&folder).expect("a folder");
        let card = Card::new(Network::Switch(path.clone()));
        config(name, &folder, AMD64, card)
    };
    let (Some(first), Some(second)) = (machine("first"), machine("second")) else {
        return;
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| typed(name, &first, FIRST));
        let two = scope.spawn(|| typed(name, &second, SECOND));
        (
            one.join().expect("the first"),
            two.join().expect("the second"),
        )
    });
    assert_line(name, &two, "3 packets transmitted, 3 packets received");
    assert!(sum_of(&one).is_some(), "{one}");
    assert_eq!(sum_of(&one), sum_of(&two), "{one}{two}");
}

/// A command by ssh in the guest; what it printed, if the connection came about.
fn ssh(port: u16, command: &str) -> Option<String> {
    let options = "StrictHostKeyChecking=no UserKnownHostsFile=/dev/null BatchMode=yes ConnectTimeout=30 LogLevel=ERROR";
    let mut client = Command::new("ssh");
    // Not what this user's own configuration says.
    client.args(["-F", "/dev/null", "-p", &port.to_string()]);
    client.args(options.split(' ').flat_map(|o| ["-o", o]));
    let output = client
        .args(["root@127.0.0.1", command])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[test]
fn ssh_through_a_forwarded_port() {
    let name = "ssh_through_a_forwarded_port";
    if Command::new("ssh").arg("-V").output().is_err() {
        eprintln!("{name}: skipped, there is no ssh (Debian: apt-get install openssh-client)");
        return;
    }
    let server = match guest::file("ssh") {
        Ok(server) => server,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().expect("a directory");
    let at = host::free_port();
    let card = Card::new(Network::User(NetUserOptions {
        forwards: vec![forward(at, 22)],
        ..NetUserOptions::default()
    }));
    let Some(config) = config(name, dir.path(), AMD64, card) else {
        return;
    };
    let initrd = config.initrd.clone().expect("an initramfs");
    let mut archive = std::fs::read(&initrd).expect("the initramfs");
    archive.extend(std::fs::read(server).expect("the server"));
    std::fs::write(&initrd, archive).expect("written");
    // Whoever comes is let in: root has no password.
    let script = format!("{DHCP}dropbear -R -B -E -p 22\n");
    let ended = AtomicBool::new(false);
    let (output, said) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut said = None;
            while said.is_none() && !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(500));
                said = ssh(
                    at.port(),
                    "echo in-$((6 * 7)); hostname; head -c 1000000 /dev/zero | md5sum",
                );
            }
            // The connection does not outlive the machine.
            let _ = ssh(at.port(), "poweroff -f");
            said
        });
        let output = std::panic::catch_unwind(|| typed(name, &config, &script));
        ended.store(true, Ordering::Relaxed);
        (output, client.join().expect("the client"))
    });
    output.expect("the guest's output");
    let want = format!("in-42\nferry\n{}  -\n", md5(&vec![0; 1_000_000]));
    assert_eq!(said, Some(want));
}
