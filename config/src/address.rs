//! Addresses of the configuration: where to listen, where the planner is, what a network is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use xprober_proto::{Addresses, HostName};

use crate::agent::ServerAddress;
use crate::value::{InvalidValue, Parsed, quote};

/// Parses a Go-style listen address; `:6001` means every interface, IPv6 and IPv4.
///
/// # Errors
/// Host names are refused: which interface they mean depends on the resolver.
pub fn listen_address(text: &str) -> Parsed<SocketAddr> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port_number(port).map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        InvalidValue::new(format!(
            "{} is not a listen address: use :PORT, IPv4:PORT or [IPv6]:PORT",
            quote(text)
        ))
    })
}

/// Parses `host:port` of the planner; `:6001` means this machine, as it did in the old tool.
///
/// # Errors
/// The text is not a host name or address literal followed by a port from 1 to 65535.
pub fn server_address(text: &str) -> Parsed<ServerAddress> {
    let (host, port) = match text.strip_prefix(':') {
        Some(port) => (Some(HostName::Address(Ipv4Addr::LOCALHOST.into())), port_number(port)),
        None => match host_and_port(text) {
            Some((host, port)) => (Some(host), Some(port)),
            None => (None, None),
        },
    };
    match (host, port.filter(|port| *port != 0)) {
        (Some(host), Some(port)) => Ok(ServerAddress {
            host: host.to_string(),
            port,
        }),
        (None, _) | (_, None) => Err(InvalidValue::new(format!(
            "{} is not a server address: use HOST:PORT without a scheme, or :PORT for this machine",
            quote(text)
        ))),
    }
}

/// Splits `host:port` or `[IPv6]:port`; `None` when either is wrong.
pub(crate) fn host_and_port(text: &str) -> Option<(HostName, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port_number(port).filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => HostName::Address(IpAddr::V6(literal.parse().ok()?)),
        // An IPv6 literal without brackets: nobody knows where the port starts.
        None if host.contains(':') => return None,
        None => host.parse().ok()?,
    };
    Some((host, port))
}

fn port_number(text: &str) -> Option<u16> {
    // `u16::from_str` takes a leading plus sign.
    text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses an address that one machine can have: neither unspecified nor multicast. An IPv4-mapped IPv6 address is the
/// IPv4 address that it stands for.
pub(crate) fn unicast(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    Addresses::of(address).map(|_| address)
}

/// Parses a network, `10.0.0.0/8`; a bare address is a network of one.
pub(crate) fn network(text: &str) -> Parsed<IpNet> {
    let parsed = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = parsed.ok_or_else(|| {
        InvalidValue::new(format!(
            "{} is not a network: use ADDRESS/PREFIX, as in 10.0.0.0/8 or fd00::/8",
            quote(text)
        ))
    })?;
    if network.addr() == network.network() {
        return Ok(network);
    }
    Err(InvalidValue::new(format!(
        "{text} has bits set behind its prefix: use {} for the network or {} for the one address",
        network.trunc(),
        network.addr()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_listens_on_both_families() {
        for (text, address) in [
            (":6001", "[::]:6001"),
            ("0.0.0.0:6001", "0.0.0.0:6001"),
            ("[::1]:6001", "[::1]:6001"),
            (":0", "[::]:0"),
        ] {
            assert_eq!(listen_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":",
            "6001",
            "localhost:6001",
            "::1:6001",
            ":+1",
            ":65536",
            "http://:6001",
        ] {
            assert!(listen_address(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn a_port_alone_is_a_server_on_this_machine() {
        for (text, address) in [
            (":6001", "127.0.0.1:6001"),
            ("planner:6001", "planner:6001"),
            ("Planner.example.com.:1", "planner.example.com.:1"),
            ("[fd00::1]:6001", "[fd00::1]:6001"),
        ] {
            assert_eq!(server_address(text).unwrap().to_string(), address, "{text}");
        }
        for text in [
            "",
            ":",
            ":0",
            "planner",
            "planner:0",
            "http://planner:6001",
            "fd00::1:6001",
            "[planner]:1",
            "a b:1",
            "$(id):1",
        ] {
            assert!(server_address(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn networks_end_where_their_prefix_ends() {
        assert_eq!(network("10.0.0.0/8"), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network("10.0.0.1"), Ok("10.0.0.1/32".parse().unwrap()));
        assert_eq!(network("::/0"), Ok("::/0".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "10/8", "vm1"] {
            assert!(network(text).is_err(), "{text:?} passed");
        }
    }
}
