//! One run of an agent's process, from its start to its end.

/// What an agent says about its samples when it ends on its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Put into the queue.
    pub sealed: usize,
    /// Given up.
    pub dropped: usize,
    /// Still in the queue.
    pub left: usize,
}

impl Totals {
    /// Reads the last line of that kind in an agent's log.
    #[must_use]
    pub fn last(log: &str) -> Option<Self> {
        let line = log.lines().rfind(|line| line.contains("agent stopped"))?;
        let number = |name: &str| {
            let mut words = line.split_whitespace();
            words
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?
                .parse()
                .ok()
        };
        Some(Self {
            sealed: number("sealed")?,
            dropped: number("dropped")?,
            left: number("left")?,
        })
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Alive,
    /// SIGKILL.
    Killed,
    /// SIGTERM; with its last words, if it had any.
    Stopped(Option<Totals>),
}

/// One run; times are wall-clock milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Before its start.
    pub begun: i64,
    /// When it had started.
    pub started: i64,
    /// When it was killed, or had ended.
    pub ended: i64,
    /// How.
    pub end: End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_the_last_run_count() {
        let log = "ts=1 level=info sealed=5 stale_markers=1 pushed=5 dropped=0 left=0 msg=\"agent stopped\"\n\
                   ts=2 level=info sealed=70 stale_markers=1 pushed=60 dropped=1 left=9 msg=\"agent stopped\"\nmore\n";
        let expected = Totals {
            sealed: 70,
            dropped: 1,
            left: 9,
        };
        assert_eq!(Totals::last(log), Some(expected));
        assert_eq!(Totals::last("nothing"), None);
    }
}
