//! The user network under Debian's cloud kernel: DHCP, a download from the host's loopback, a connection from the host, pings.
//!
//! Skipped by name where the guest's files cannot be had.

mod common;
mod guest;
mod modules;

use bus::StopReason;
use machine::cards::{Card, Network};
use machine::{NetForward, NetProtocol, NetUserOptions};
use modules::files;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const PROMPT: &str = "root@ferry:/root# ";
const BYTES: usize = 20 << 20;

fn content() -> Vec<u8> {
    let mut x = 1u64;
    (0..BYTES)
        .map(|_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .collect()
}

fn md5(bytes: &[u8]) -> String {
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("md5sum");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(bytes)
        .expect("written");
    let output = child.wait_with_output().expect("an answer").stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Answers each request with all bytes.
fn serve(listener: &TcpListener, bytes: &[u8]) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut request = [0; 4096];
        match stream.read(&mut request) {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let head = format!(
            "HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        );
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(bytes));
    }
}

/// Connects through the forwarded port until the guest's program answers.
fn talk(port: u16, ended: &AtomicBool) -> String {
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        let _ = stream.write_all(b"from-the-host\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let mut text = String::new();
        if stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
            return text;
        }
    }
    String::new()
}

const SCRIPT: &str = "for m in /ferry/modules/*; do insmod $m; done; sleep 1; echo '[ $1 = bound ] || exit 0; ip addr add $ip/24 dev eth0; \
ip route add default via $router; echo lease $ip $router $dns' >/tmp/s; sed -i '1i #!/bin/sh' /tmp/s; chmod +x /tmp/s; ip link set eth0 up; \
udhcpc -i eth0 -n -q -s /tmp/s; ping -c 2 10.0.2.2; wget -q -O - http://10.0.2.2:PORT/file | md5sum; \
echo hello-$((6 * 7)) | nc -l -p 7777 >/tmp/got; echo got $(cat /tmp/got); wget -q -O - http://10.0.2.2:1/ || echo refused-$((6 * 7)); poweroff -f\n";

#[test]
fn user_network() {
    let name = "user_network";
    let dir = tempfile::tempdir().expect("a directory");
    let [kernel, initrd] = match files(dir.path(), "vmlinuz", "initrd", "modules") {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let bytes = content();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = server.local_addr().expect("an address");
    // A port that was free a moment ago.
    let forwarded = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .expect("a port");
    let dump = dir.path().join("frames.pcap");
    let mut config = common::config(kernel, "x86-64-v2", guest::fastest());
    config.memory = 512 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    config.cards = vec![Card {
        network: Network::User(NetUserOptions {
            forwards: vec![NetForward {
                protocol: NetProtocol::Tcp,
                host: forwarded,
                guest: 7777,
            }],
            dump: Some(dump.clone()),
            ..NetUserOptions::default()
        }),
        mac: None,
    }];
    let script = SCRIPT.replace("PORT", &at.port().to_string());
    let ended = AtomicBool::new(false);
    let (outcome, said) = std::thread::scope(|scope| {
        scope.spawn(|| serve(&server, &bytes));
        let talker = scope.spawn(|| talk(forwarded.port(), &ended));
        let outcome = common::converse(&config, LIMIT, Some((PROMPT, &script)));
        ended.store(true, Ordering::Relaxed);
        // The server's last connection.
        drop(TcpStream::connect(at));
        (outcome, talker.join().expect("the talker"))
    });
    let output = &outcome.output;
    let has = |want: &str| {
        assert!(
            output.lines().any(|l| l.trim().starts_with(want)),
            "{name}: no '{want}' in:\n{output}"
        );
    };
    has("lease 10.0.2.15 10.0.2.2 10.0.2.3");
    has("2 packets transmitted, 2 packets received");
    has(&md5(&bytes));
    has("got from-the-host");
    has("refused-42");
    assert_eq!(said, "hello-42\n");
    assert_eq!(outcome.reason, Some(StopReason::PowerOff), "{output}");
    let frames = std::fs::metadata(&dump).expect("the dump").len();
    assert!(frames > BYTES as u64, "{frames} bytes of frames");
}
