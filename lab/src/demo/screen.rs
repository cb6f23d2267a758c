//! The terminal: redraws in place where it can, else prints one block after the other.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

/// Time between two blocks when the output is a file or a pipe.
const QUIET_PAUSE: Duration = Duration::from_secs(15);

/// Where the demo draws.
#[derive(Debug)]
pub(super) struct Screen {
    redraws: bool,
    start: Instant,
    drawn_lines: usize,
    last_block: Option<Instant>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            redraws: stdout().is_terminal(),
            start: Instant::now(),
            drawn_lines: 0,
            last_block: None,
        }
    }

    /// Writes a line that stays.
    pub(super) fn note(&mut self, text: &str) {
        let line = format!("[{:5.1} s] {text}\n", self.start.elapsed().as_secs_f64());
        self.stay(&line);
    }

    /// Writes text that stays, above the block that is redrawn.
    pub(super) fn stay(&mut self, text: &str) {
        self.erase();
        write(text);
    }

    /// Draws the live block in place of the one before; where nothing can be redrawn, only now and then, and the last one.
    pub(super) fn draw(&mut self, text: &str, is_last: bool) {
        if self.redraws {
            self.erase();
            write(text);
            self.drawn_lines = text.lines().count();
        } else if is_last || self.last_block.is_none_or(|last| last.elapsed() >= QUIET_PAUSE) {
            self.last_block = Some(Instant::now());
            write(text);
        }
    }

    fn erase(&mut self) {
        if self.drawn_lines > 0 {
            // Cursor up, then clear to the end of the screen (ECMA-48 CPL and ED).
            write(&format!("\u{1b}[{}F\u{1b}[J", self.drawn_lines));
            self.drawn_lines = 0;
        }
    }
}

/// A terminal that went away is no reason to stop.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
