//! A small DNS server: the questions and answers as bytes (RFC 1035, section 4); [`task`] receives and sends them.
//!
//! ```text
//! | id 2 | flags 2 | questions 2 | answers 2 | authority 2 | additional 2 | name, type 2, class 2 | answer.. |
//! ```

pub mod task;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const HEADER_LENGTH: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_INTERNET: u16 = 1;
/// Response, recursion desired and available.
const FLAGS: u16 = 0x8180;
const CODE_SERVER_FAILURE: u16 = 2;
const CODE_NO_SUCH_NAME: u16 = 3;
/// Zero: nobody may keep an answer, or a delay would be felt only once.
const LIFETIME_SECONDS: u32 = 0;

/// What the server answers and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Time between question and answer. The C library asks again after 2 s in the lab.
    pub delay: Duration,
    /// Answers every question with SERVFAIL.
    pub broken: bool,
    /// IPv4 addresses by name, lower case, without a final dot.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// IPv6 addresses in the same way; hosts of the lab have none unless they are put here.
    pub names_v6: BTreeMap<String, Ipv6Addr>,
}

/// A question as it stands in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'message> {
    /// Name in lower case, without a final dot.
    pub name: String,
    /// Record type asked for.
    pub kind: u16,
    /// The message's bytes up to the end of the question.
    bytes: &'message [u8],
}

/// Reads the first question of a message; nothing comes back for anything but a well-formed query.
#[must_use]
pub fn read_question(message: &[u8]) -> Option<Question<'_>> {
    let is_response = message.get(2)? & 0x80 != 0;
    let questions = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    if is_response || questions != 1 {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = HEADER_LENGTH;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || labels.len() > 127 {
            return None;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let [kind_high, kind_low, class_high, class_low] = *message.get(at..at + 4)? else {
        return None;
    };
    if u16::from_be_bytes([class_high, class_low]) != CLASS_INTERNET {
        return None;
    }
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    Some(Question {
        name: labels.join("."),
        kind,
        bytes: &message[..at + 4],
    })
}

/// Writes the answer to a question.
#[must_use]
pub fn write_answer(question: &Question<'_>, settings: &DnsSettings) -> Vec<u8> {
    let (v4, v6) = (
        settings.names.get(&question.name),
        settings.names_v6.get(&question.name),
    );
    let code = match (v4, v6) {
        _ if settings.broken => CODE_SERVER_FAILURE,
        (None, None) => CODE_NO_SUCH_NAME,
        _ => 0,
    };
    let address = match question.kind {
        TYPE_A => v4.map(|address| address.octets().to_vec()),
        TYPE_AAAA => v6.map(|address| address.octets().to_vec()),
        _ => None,
    };
    let mut message = question.bytes.to_vec();
    message[2..4].copy_from_slice(&(FLAGS | code).to_be_bytes());
    message[6..HEADER_LENGTH].fill(0);
    if let Some(address) = address.filter(|_| code == 0) {
        message[7] = 1;
        // A pointer to the question's name.
        message.extend([0xc0, 0x0c]);
        message.extend(question.kind.to_be_bytes());
        message.extend(CLASS_INTERNET.to_be_bytes());
        message.extend(LIFETIME_SECONDS.to_be_bytes());
        message.extend([0, if question.kind == TYPE_A { 4 } else { 16 }]);
        message.extend(address);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_INTERNET.to_be_bytes());
        message
    }

    fn settings() -> DnsSettings {
        let names = BTreeMap::from([("web1.lab".to_owned(), Ipv4Addr::new(10, 6, 0, 1))]);
        DnsSettings {
            names,
            ..DnsSettings::default()
        }
    }

    #[test]
    fn known_name_has_an_ipv4_and_no_ipv6_address() {
        let question = query("WEB1.lab", TYPE_A);
        let answer = write_answer(&read_question(&question).unwrap(), &settings());
        assert_eq!(answer[..4], [0xab, 0xcd, 0x81, 0x80]);
        assert_eq!(answer[7], 1);
        assert_eq!(answer[answer.len() - 4..], [10, 6, 0, 1]);
        let question = query("web1.lab", TYPE_AAAA);
        let answer = write_answer(&read_question(&question).unwrap(), &settings());
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 0));
    }

    #[test]
    fn name_may_have_an_ipv6_address_alone() {
        let address = "fd00:3::1".parse().unwrap();
        let settings = DnsSettings {
            names_v6: BTreeMap::from([("six.lab".to_owned(), address)]),
            ..DnsSettings::default()
        };
        let question = query("six.lab", TYPE_AAAA);
        let answer = write_answer(&read_question(&question).unwrap(), &settings);
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 1));
        assert_eq!(answer[answer.len() - 18..answer.len() - 16], [0, 16]);
        assert_eq!(answer[answer.len() - 16..], address.octets());
        let question = query("six.lab", TYPE_A);
        let answer = write_answer(&read_question(&question).unwrap(), &settings);
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 0));
    }

    #[test]
    fn unknown_name_and_broken_server_have_their_codes() {
        let question = query("nobody.lab", TYPE_A);
        assert_eq!(
            write_answer(&read_question(&question).unwrap(), &settings())[3] & 0x0f,
            3
        );
        let broken = DnsSettings {
            broken: true,
            ..settings()
        };
        let question = query("web1.lab", TYPE_A);
        assert_eq!(write_answer(&read_question(&question).unwrap(), &broken)[3] & 0x0f, 2);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(message: Vec<u8>) {
            if let Some(question) = read_question(&message) {
                assert!(write_answer(&question, &settings()).len() >= HEADER_LENGTH);
            }
        }
    }
}
