//! From what was typed to the address that is probed.

use std::net::IpAddr;

use xprober_proto::{Family, HostName};

/// Finds the address of a host: of the wanted family, else IPv4 first. The error is a line for people.
///
/// # Errors
///
/// The name does not resolve, or there is no address of the family.
pub async fn find(host: HostName, family: Option<Family>) -> Result<IpAddr, String> {
    let addresses = match host {
        HostName::Address(address) => vec![address],
        HostName::Name(name) => {
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(|error| one_line(&error.to_string()))?;
            found.map(|address| address.ip()).collect()
        }
    };
    choose(&addresses, family).ok_or_else(|| match family {
        Some(Family::V4) => "has no IPv4 address".to_owned(),
        Some(Family::V6) => "has no IPv6 address".to_owned(),
        None => "has no address".to_owned(),
    })
}

/// Takes the first address of the family, in the resolver's order.
fn choose(addresses: &[IpAddr], family: Option<Family>) -> Option<IpAddr> {
    let first = |family| addresses.iter().find(|address| Family::of(**address) == family);
    let found = match family {
        Some(family) => first(family),
        None => first(Family::V4).or_else(|| first(Family::V6)),
    };
    found.map(IpAddr::to_canonical)
}

/// Escapes what would start a new line or speak to the terminal.
fn one_line(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escaped).collect::<Vec<String>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_wanted_family_decides_and_ipv4_goes_first() {
        let both = addresses(&["fd00::1", "10.0.0.2", "10.0.0.1"]);
        assert_eq!(choose(&both, None), "10.0.0.2".parse().ok());
        assert_eq!(choose(&both, Some(Family::V6)), "fd00::1".parse().ok());
        assert_eq!(choose(&addresses(&["fd00::1"]), None), "fd00::1".parse().ok());
        assert_eq!(choose(&addresses(&["fd00::1"]), Some(Family::V4)), None);
        assert_eq!(choose(&addresses(&["::ffff:10.0.0.1"]), None), "10.0.0.1".parse().ok());
    }

    #[tokio::test]
    async fn an_address_of_the_other_family_is_refused_in_words() {
        let refused = find("10.0.0.1".parse().unwrap(), Some(Family::V6)).await;
        assert_eq!(refused, Err("has no IPv6 address".to_owned()));
    }

    #[test]
    fn messages_cannot_speak_to_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2J\nb é"), "a\\u{1b}[2J\\nb é");
    }
}
