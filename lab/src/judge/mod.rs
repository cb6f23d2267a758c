//! A judge between agents and a real receiver: passes requests on, checks every one, and disturbs them on request.
//!
//! ```text
//!  agents --HTTP--> [task: proxy] --HTTP--> Prometheus, VictoriaMetrics
//!                     |   ^
//!          Account {book, attempts}   Disturbance (a watch): 429, 500, cut, hang, refuse, ..
//! ```
//! [`book`] holds what the receiver took, sample by sample, and the rules for content; [`attempts`] the rules for when and
//! how requests come again. Both are pure; [`task`] has the sockets, and [`open`] counts them.

pub mod book;

pub mod attempts;

pub mod open;

pub mod task;

use std::collections::BTreeMap;
use std::net::IpAddr;

use self::attempts::Attempts;
use self::book::Book;

/// What the proxy does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers a status instead of passing the request on, with `Retry-After` in seconds or without.
    Status(u16, Option<u32>),
    /// Closes the connection in the middle of the body.
    CutBody,
    /// Passes the request on and closes the connection when the receiver has answered: it is stored, and nobody knows.
    CutAnswer,
    /// Never answers.
    Hang,
    /// Closes the port.
    Refuse,
}

/// A fault and how many of the requests it hits, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturbance {
    /// What happens.
    pub fault: Fault,
    /// To which share of the requests; a closed port is closed for all.
    pub share: f64,
}

/// Breaches that are kept word by word; more are only counted.
const KEPT_BREACHES: usize = 50;

/// Everything that was seen and what was wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// What the receiver took.
    pub book: Book,
    /// How the requests came, by the sender's address.
    pub attempts: Attempts,
    /// How many snapshots the receiver took, by the sender's address.
    pub snapshots: BTreeMap<IpAddr, Snapshots>,
    /// What was wrong, one sentence each.
    pub breaches: Vec<String>,
    /// How often something was wrong.
    pub breach_count: usize,
    /// Requests by what became of them: passed on and taken, refused by the receiver, disturbed.
    pub taken: usize,
    /// See above.
    pub refused: usize,
    /// See above.
    pub disturbed: usize,
}

/// Snapshots of one sender that the receiver took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshots {
    /// How many, each counted when it begins.
    pub count: usize,
    /// Milliseconds since the Unix epoch of the newest.
    newest: i64,
}

impl Account {
    /// Notes that the receiver took a request whose newest sample is of that time.
    fn took(&mut self, sender: IpAddr, newest: Option<i64>) {
        self.taken += 1;
        let snapshots = self.snapshots.entry(sender).or_default();
        if let Some(newest) = newest.filter(|newest| *newest > snapshots.newest) {
            snapshots.newest = newest;
            snapshots.count += 1;
        }
    }

    /// Notes breaches of one sender.
    pub fn note(&mut self, sender: IpAddr, breaches: impl IntoIterator<Item = String>) {
        for breach in breaches {
            self.breach_count += 1;
            if self.breaches.len() < KEPT_BREACHES {
                self.breaches.push(format!("{sender}: {breach}"));
            }
        }
    }
}
