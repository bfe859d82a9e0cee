//! `--net`: from what is typed to network cards.

use crate::config::{Refusal, refuse};
use crate::drives::split;
use machine::cards::{Card, LIMIT, Network};
use machine::{NetForward, NetProtocol, NetRestrict, NetUserOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What follows the network's name, for messages.
const KEYS: &str = "hostfwd=, restrict=, mac=, model= and dump=";
const FORWARD: &str = "accepted is tcp:HOST:PORT-:PORT or udp:HOST:PORT-:PORT, where HOST is an address of this host \
or empty for 127.0.0.1, and the PORTs are from 1 to 65535";

fn bad(reason: String) -> Refusal {
    refuse("--net", reason)
}

/// All cards, in the order of the command line.
pub fn cards(texts: &[String]) -> Result<Vec<Card>, Refusal> {
    if texts.len() > LIMIT {
        let count = texts.len();
        return Err(bad(format!("{count} cards; accepted are {LIMIT}")));
    }
    texts.iter().map(|t| parse(t)).collect()
}

fn parse(text: &str) -> Result<Card, Refusal> {
    let mut parts = split(text).into_iter();
    let network = parts.next().unwrap_or_default();
    if network != "user" {
        return Err(bad(format!(
            "'{network}' is no network; accepted is user, and behind it {KEYS} separated by commas"
        )));
    }
    let mut options = NetUserOptions::default();
    let mut mac = None;
    for part in parts {
        let Some((key, value)) = part.split_once('=') else {
            return Err(bad(format!("'{part}' has no value; accepted are {KEYS}")));
        };
        match key {
            "hostfwd" => options.forwards.push(forward(value)?),
            "restrict" => {
                options.restrict = match value {
                    "on" => NetRestrict::Yes,
                    "off" => NetRestrict::No,
                    _ => return Err(bad(format!("restrict='{value}'; accepted are on and off"))),
                }
            }
            "mac" => mac = Some(address(value)?),
            "model" if value == "virtio" => {}
            "model" => {
                return Err(bad(format!("unknown model '{value}'; accepted is virtio")));
            }
            "dump" if value.is_empty() => {
                return Err(bad("dump= has no file; accepted is dump=FILE".into()));
            }
            "dump" => options.dump = Some(value.into()),
            _ => return Err(bad(format!("unknown key '{key}'; accepted are {KEYS}"))),
        }
    }
    Ok(Card {
        network: Network::User(options),
        mac,
    })
}

/// tcp:HOST:PORT-:PORT
fn forward(text: &str) -> Result<NetForward, Refusal> {
    let fail = |what: &str| bad(format!("hostfwd='{text}': {what}; {FORWARD}"));
    let (protocol, rest) = text
        .split_once(':')
        .ok_or_else(|| fail("there is no protocol"))?;
    let protocol = match protocol {
        "tcp" => NetProtocol::Tcp,
        "udp" => NetProtocol::Udp,
        _ => return Err(fail(&format!("'{protocol}' is no protocol"))),
    };
    let (host, guest) = rest
        .rsplit_once("-:")
        .ok_or_else(|| fail("there is no '-:' before the guest's port"))?;
    let (address, host_port) = host
        .rsplit_once(':')
        .ok_or_else(|| fail("the host's port is missing"))?;
    let port = |whose: &str, text: &str| {
        let found = text.parse::<u16>().ok().filter(|p| *p != 0);
        found.ok_or_else(|| fail(&format!("the {whose}'s port '{text}' is none")))
    };
    let ip: IpAddr = match address.trim_matches(['[', ']']) {
        "" => Ipv4Addr::LOCALHOST.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        ip => ip
            .parse()
            .map_err(|_| fail(&format!("'{ip}' is no address")))?,
    };
    Ok(NetForward {
        protocol,
        host: SocketAddr::new(ip, port("host", host_port)?),
        guest: port("guest", guest)?,
    })
}

/// Six bytes in hexadecimal with colons, not of a group.
fn address(text: &str) -> Result<[u8; 6], Refusal> {
    let fail = |what: &str| {
        bad(format!(
            "mac='{text}' {what}; accepted are six bytes such as 52:54:00:12:34:56, the first one even"
        ))
    };
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|b| match b.len() {
            1 | 2 => u8::from_str_radix(b, 16).map_err(|_| ()),
            _ => Err(()),
        })
        .collect();
    let bytes = bytes.map_err(|()| fail("is no hardware address"))?;
    let mac: [u8; 6] = bytes
        .try_into()
        .map_err(|_| fail("is no hardware address"))?;
    match mac {
        [0, 0, 0, 0, 0, 0] => Err(fail("is the address of no card")),
        [first, ..] if first & 1 != 0 => Err(fail("is the address of a group")),
        mac => Ok(mac),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let text = "user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-:5353,hostfwd=tcp:[::1]:80-:8080,restrict=on,mac=52:54:0:1:2:3,\
model=virtio,dump=a,,b";
        let all = cards(&[text.to_owned(), "user".to_owned()]).expect("cards");
        let Network::User(o) = &all[0].network;
        let hosts: Vec<String> = o.forwards.iter().map(|f| f.host.to_string()).collect();
        assert_eq!(hosts, ["127.0.0.1:2222", "0.0.0.0:53", "[::1]:80"]);
        assert_eq!(o.forwards[1].protocol, NetProtocol::Udp);
        assert_eq!(o.forwards[2].guest, 8080);
        assert_eq!(o.restrict, NetRestrict::Yes);
        assert_eq!(o.dump, Some("a,b".into()));
        assert_eq!(all[0].mac, Some([0x52, 0x54, 0, 1, 2, 3]));
        assert_eq!(all[1].network, Network::User(NetUserOptions::default()));
    }

    #[test]
    fn refusals_name_the_bad_part() {
        for (text, want) in [
            ("", "'' is no network; accepted is user"),
            ("tap", "'tap' is no network"),
            ("user,restrict", "'restrict' has no value"),
            ("user,restrict=1", "restrict='1'; accepted are on and off"),
            ("user,colour=red", "unknown key 'colour'"),
            ("user,model=ne2k", "unknown model 'ne2k'"),
            ("user,dump=", "dump= has no file"),
            ("user,mac=1:2:3", "is no hardware address"),
            ("user,mac=01:2:3:4:5:6", "is the address of a group"),
            ("user,mac=0:0:0:0:0:0", "is the address of no card"),
            ("user,hostfwd=22", "there is no protocol"),
            ("user,hostfwd=sctp::1-:1", "'sctp' is no protocol"),
            ("user,hostfwd=tcp::22", "there is no '-:'"),
            ("user,hostfwd=tcp:22-:22", "the host's port is missing"),
            ("user,hostfwd=tcp::0-:22", "the host's port '0' is none"),
            ("user,hostfwd=tcp::22-:x", "the guest's port 'x' is none"),
            ("user,hostfwd=tcp:nohost:22-:22", "'nohost' is no address"),
        ] {
            let got = cards(&[text.to_owned()]).unwrap_err().to_string();
            assert!(
                got.starts_with("--net: ") && got.contains(want),
                "{text}: {got}"
            );
        }
        assert!(cards(&vec!["user".to_owned(); 5]).is_err());
    }
}
