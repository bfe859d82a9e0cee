//! `--net`: from what is typed to network cards.

use crate::config::{Refusal, refuse};
use crate::drives::split;
use machine::cards::{Card, LIMIT, Model, Network};
use machine::{
    NetForward, NetProtocol, NetRestrict, NetStreamAddress, NetStreamOptions, NetUserOptions,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

const NETWORKS: &str = "user, switch, socket, stream and tap";
/// Keys of every card, for messages.
const CARD: &str = "mac=, model= and dump=";
const FORWARD: &str = "accepted is tcp:HOST:PORT-:PORT or udp:HOST:PORT-:PORT, where HOST is an address of this host \
or empty for 127.0.0.1, and the PORTs are from 1 to 65535";
const ADDRESS: &str = "accepted is HOST:PORT, or :PORT on 127.0.0.1";

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

/// What follows the network's name, and the keys that it has beside the card's.
struct Keys {
    own: &'static str,
    pairs: Vec<(String, String)>,
}

impl Keys {
    fn new(parts: impl Iterator<Item = String>, own: &'static str) -> Result<Self, Refusal> {
        let mut keys = Self {
            own,
            pairs: Vec::new(),
        };
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(bad(format!(
                    "'{part}' has no value; accepted are {}",
                    keys.accepted()
                )));
            };
            keys.pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(keys)
    }

    fn accepted(&self) -> String {
        format!("{} {CARD}", self.own)
    }

    /// All values of a key, which are taken out.
    fn all(&mut self, key: &str) -> Vec<String> {
        let found = self.pairs.extract_if(.., |p| p.0 == key);
        found.map(|p| p.1).collect()
    }

    /// The value of a key; the last one counts.
    fn one(&mut self, key: &str) -> Option<String> {
        self.all(key).pop()
    }

    /// A switch, `on` or `off`.
    fn switch(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.one(key).as_deref() {
            Some("on") => Ok(true),
            Some("off") | None => Ok(false),
            Some(v) => Err(bad(format!("{key}='{v}'; accepted are on and off"))),
        }
    }

    /// A value that must be there and not be empty.
    fn needed(&mut self, network: &str, key: &str, what: &str) -> Result<String, Refusal> {
        match self.one(key).filter(|v| !v.is_empty()) {
            Some(v) => Ok(v),
            None => Err(bad(format!("{network} needs {what}; accepted is {key}="))),
        }
    }
}

fn parse(text: &str) -> Result<Card, Refusal> {
    let mut parts = split(text).into_iter();
    let network = parts.next().unwrap_or_default();
    let own = match &network[..] {
        "user" => "hostfwd=, restrict=, resolver=,",
        "switch" => "path=,",
        "socket" => "listen=, connect=,",
        "stream" => "server=, addr.type=, addr.path=, addr.host=, addr.port=, reconnect-ms=,",
        "tap" => "ifname=,",
        _ => {
            return Err(bad(format!(
                "'{network}' is no network; accepted are {NETWORKS}, and behind each its keys, separated by commas"
            )));
        }
    };
    let mut keys = Keys::new(parts, own)?;
    let mut card = Card::new(match &network[..] {
        "user" => user(&mut keys)?,
        "switch" => {
            let path = keys.needed("switch", "path", "the path of its socket")?;
            Network::Switch(path.into())
        }
        "socket" => socket(&mut keys)?,
        "stream" => stream(&mut keys)?,
        _ => Network::Tap(interface(keys.needed("tap", "ifname", "an interface")?)?),
    });
    if let Some(v) = keys.one("mac") {
        card.mac = Some(address(&v)?);
    }
    if let Some(v) = keys.one("model") {
        let found = Model::NAMES.iter().find(|m| m.0 == v);
        card.model = found.map(|m| m.1).ok_or_else(|| {
            let names = Model::NAMES.map(|m| m.0).join(", ");
            bad(format!("unknown model '{v}'; accepted are {names}"))
        })?;
    }
    card.dump = match keys.one("dump") {
        Some(v) if v.is_empty() => {
            return Err(bad("dump= has no file; accepted is dump=FILE".into()));
        }
        found => found.map(Into::into),
    };
    match keys.pairs.first() {
        Some((key, _)) => Err(bad(format!(
            "{network} has no key '{key}'; accepted are {}",
            keys.accepted()
        ))),
        None => Ok(card),
    }
}

fn user(keys: &mut Keys) -> Result<Network, Refusal> {
    let forwards = keys.all("hostfwd");
    let forwards: Result<_, _> = forwards.iter().map(|v| forward(v)).collect();
    Ok(Network::User(NetUserOptions {
        forwards: forwards?,
        restrict: match keys.switch("restrict")? {
            true => NetRestrict::Yes,
            false => NetRestrict::No,
        },
        resolver: keys.one("resolver").map(|v| resolver(&v)).transpose()?,
    }))
}

/// ADDRESS or ADDRESS:PORT.
fn resolver(text: &str) -> Result<SocketAddr, Refusal> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    alone.or_else(|_| text.parse()).map_err(|_| {
        bad(format!(
            "resolver='{text}' is no address; accepted are an IP address, and one with a port behind it: 127.0.0.1:5353"
        ))
    })
}

/// QEMU's `-netdev socket`.
fn socket(keys: &mut Keys) -> Result<Network, Refusal> {
    let options = match (keys.one("listen"), keys.one("connect")) {
        (Some(at), None) => NetStreamOptions::Listen(tcp("listen", &at)?),
        (None, Some(to)) => NetStreamOptions::Connect {
            to: tcp("connect", &to)?,
            reconnect: None,
        },
        _ => {
            return Err(bad(
                "socket needs one side; accepted is listen=[HOST]:PORT or connect=HOST:PORT".into(),
            ));
        }
    };
    Ok(Network::Stream(options))
}

/// QEMU's `-netdev stream`.
fn stream(keys: &mut Keys) -> Result<Network, Refusal> {
    let server = keys.switch("server")?;
    let address = match keys.one("addr.type").as_deref() {
        Some("unix") => {
            let path = keys.needed("stream", "addr.path", "the path of its socket")?;
            NetStreamAddress::Unix(path.into())
        }
        Some("inet") => {
            let host = keys.one("addr.host").unwrap_or_default();
            let port = keys.needed("stream", "addr.port", "a port")?;
            let host = match host.contains(':') {
                true => format!("[{host}]"),
                false => host,
            };
            tcp("addr.host and addr.port", &format!("{host}:{port}"))?
        }
        other => {
            let other = other.unwrap_or_default();
            return Err(bad(format!(
                "addr.type='{other}'; accepted are unix and inet"
            )));
        }
    };
    let reconnect = match keys.one("reconnect-ms") {
        None => None,
        Some(v) => Some(v.parse::<u64>().map_err(|_| {
            bad(format!(
                "reconnect-ms='{v}' is no time; accepted are milliseconds, 0 for never"
            ))
        })?),
    };
    let reconnect = reconnect.filter(|ms| *ms > 0).map(Duration::from_millis);
    Ok(Network::Stream(match (server, reconnect) {
        (true, None) => NetStreamOptions::Listen(address),
        (true, Some(_)) => {
            return Err(bad(
                "a server does not connect; accepted is reconnect-ms= with server=off".into(),
            ));
        }
        (false, reconnect) => NetStreamOptions::Connect {
            to: address,
            reconnect,
        },
    }))
}

/// HOST:PORT, or :PORT on loopback.
fn tcp(key: &str, text: &str) -> Result<NetStreamAddress, Refusal> {
    let whole = match text.starts_with(':') {
        true => format!("{}{text}", Ipv4Addr::LOCALHOST),
        false => text.to_owned(),
    };
    let found = whole.to_socket_addrs().ok().and_then(|mut all| all.next());
    match found.filter(|a| a.port() != 0) {
        Some(a) => Ok(NetStreamAddress::Tcp(a)),
        None => Err(bad(format!("{key}='{text}' is no address; {ADDRESS}"))),
    }
}

fn interface(name: String) -> Result<String, Refusal> {
    match name.len() {
        1..=15 => Ok(name),
        _ => Err(bad(format!(
            "ifname='{name}' is no interface; accepted are names of up to 15 bytes"
        ))),
    }
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
        let text = "user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-:5353,hostfwd=tcp:[::1]:80-:8080,restrict=on,resolver=9.9.9.9,mac=52:54:0:1:2:3,\
model=virtio,dump=a,,b";
        let all = cards(&[text.to_owned(), "user".to_owned()]).expect("cards");
        let Network::User(o) = &all[0].network else {
            panic!("{:?}", all[0].network);
        };
        let hosts: Vec<String> = o.forwards.iter().map(|f| f.host.to_string()).collect();
        assert_eq!(hosts, ["127.0.0.1:2222", "0.0.0.0:53", "[::1]:80"]);
        assert_eq!(o.forwards[1].protocol, NetProtocol::Udp);
        assert_eq!(o.forwards[2].guest, 8080);
        assert_eq!(o.restrict, NetRestrict::Yes);
        assert_eq!(o.resolver, Some("9.9.9.9:53".parse().expect("an address")));
        assert_eq!(all[0].dump, Some("a,b".into()));
        assert_eq!(all[0].mac, Some([0x52, 0x54, 0, 1, 2, 3]));
        assert_eq!(all[1].network, Network::User(NetUserOptions::default()));
    }

    #[test]
    fn cables_are_read() {
        let network = |text: &str| cards(&[text.to_owned()]).expect("a card").remove(0).network;
        let at = |text: &str| NetStreamAddress::Tcp(text.parse().expect("an address"));
        for (text, want) in [
            ("switch,path=/tmp/s", Network::Switch("/tmp/s".into())),
            ("tap,ifname=tap0", Network::Tap("tap0".into())),
            (
                "socket,listen=:1234",
                Network::Stream(NetStreamOptions::Listen(at("127.0.0.1:1234"))),
            ),
            (
                "socket,connect=10.1.2.3:7,mac=2:0:0:0:0:1",
                Network::Stream(NetStreamOptions::Connect {
                    to: at("10.1.2.3:7"),
                    reconnect: None,
                }),
            ),
            (
                "stream,server=on,addr.type=inet,addr.host=::1,addr.port=9",
                Network::Stream(NetStreamOptions::Listen(at("[::1]:9"))),
            ),
            (
                "stream,addr.type=unix,addr.path=/a,,b,reconnect-ms=500",
                Network::Stream(NetStreamOptions::Connect {
                    to: NetStreamAddress::Unix("/a,b".into()),
                    reconnect: Some(Duration::from_millis(500)),
                }),
            ),
        ] {
            assert_eq!(network(text), want, "{text}");
        }
        for (name, model) in Model::NAMES {
            let card = cards(&[format!("user,model={name}")])
                .expect("a card")
                .remove(0);
            assert_eq!(card.model, model);
        }
    }

    #[test]
    fn refusals_name_the_bad_part() {
        for (text, want) in [
            ("", "'' is no network; accepted are user, switch"),
            ("vde", "'vde' is no network"),
            ("tap", "tap needs an interface; accepted is ifname="),
            ("tap,ifname=a-name-that-is-long", "is no interface"),
            ("switch", "switch needs the path of its socket"),
            (
                "switch,path=/s,hostfwd=tcp::1-:1",
                "switch has no key 'hostfwd'",
            ),
            ("socket", "socket needs one side"),
            ("socket,listen=:1,connect=:2", "socket needs one side"),
            ("socket,listen=1", "listen='1' is no address"),
            ("socket,listen=:0", "listen=':0' is no address"),
            ("stream", "addr.type=''; accepted are unix and inet"),
            ("stream,addr.type=fd", "addr.type='fd'"),
            ("stream,addr.type=unix", "stream needs the path"),
            (
                "stream,addr.type=unix,addr.path=/a,reconnect-ms=x",
                "is no time",
            ),
            (
                "stream,server=on,addr.type=unix,addr.path=/a,reconnect-ms=1",
                "a server does not connect",
            ),
            ("user,restrict", "'restrict' has no value"),
            ("user,restrict=1", "restrict='1'; accepted are on and off"),
            ("user,colour=red", "user has no key 'colour'"),
            ("user,model=ne2k", "unknown model 'ne2k'"),
            ("user,dump=", "dump= has no file"),
            ("user,resolver=dns.example", "is no address"),
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
