//! Redraws a table in its place on a terminal.

use std::fmt::Write as _;

use super::table::{Row, render};

/// Clears the rest of the line, without moving (ECMA-48, EL).
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears everything below, without moving (ECMA-48, ED).
const CLEAR_BELOW: &str = "\u{1b}[J";
/// Lines that are not hosts: the titles, and the one on which the cursor rests.
const OTHER_LINES: usize = 2;

/// Size of the terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub lines: usize,
    /// Characters of a line.
    pub columns: usize,
}

/// What stands on the terminal.
#[derive(Debug, Default)]
pub struct Screen {
    drawn: usize,
}

impl Screen {
    /// The text that puts the table over what was drawn before, cut to the terminal: what scrolls out or wraps could not be
    /// drawn over again.
    pub fn redraw(&mut self, rows: &[Row], size: Size) -> String {
        let room = size.lines.saturating_sub(OTHER_LINES).max(1);
        let shown = if rows.len() > room { room - 1 } else { rows.len() };
        let mut table = render(rows.iter().take(shown));
        if shown < rows.len() {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "and {} more", rows.len() - shown);
        }
        let cut = |line: &str| line.chars().take(size.columns).collect::<String>();
        self.over(table.lines().map(cut))
    }

    /// The text that puts the whole table over what was drawn before; nothing is drawn over it.
    #[must_use]
    pub fn finish(mut self, rows: &[Row]) -> String {
        self.over(render(rows).lines().map(str::to_owned))
    }

    fn over(&mut self, lines: impl Iterator<Item = String>) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // To the first line of before, at its first character (ECMA-48, CPL).
            let _ = write!(text, "\u{1b}[{}F", self.drawn);
        }
        self.drawn = 0;
        for line in lines {
            let _ = writeln!(text, "{line}{CLEAR_LINE}");
            self.drawn += 1;
        }
        text.push_str(CLEAR_BELOW);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { lines: 4, columns: 12 };

    fn rows(count: usize) -> Vec<Row> {
        (1..=count).map(|host| Row::new(format!("10.0.0.{host}"))).collect()
    }

    #[test]
    fn the_next_table_stands_where_the_last_one_stood() {
        let mut screen = Screen::default();
        let first = screen.redraw(&rows(1), SIZE);
        assert_eq!(
            first, "host      se\u{1b}[K\n10.0.0.1    \u{1b}[K\n\u{1b}[J",
            "cut, not wrapped"
        );
        let second = screen.redraw(&rows(1), SIZE);
        assert_eq!(second, format!("\u{1b}[2F{first}"));
    }

    #[test]
    fn no_more_lines_than_the_terminal_has_are_drawn_until_the_end() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.redraw(&rows(2), SIZE).lines().count(),
            4,
            "all of them and the cursor's"
        );
        let cut = screen.redraw(&rows(5), SIZE);
        assert!(cut.contains("10.0.0.1") && !cut.contains("10.0.0.2"), "{cut}");
        assert!(cut.contains("and 4 more"), "{cut}");
        let whole = screen.finish(&rows(5));
        assert!(whole.starts_with("\u{1b}[3F"), "{whole}");
        assert!(whole.contains("10.0.0.5") && whole.contains("stamp"), "{whole}");
    }

    #[test]
    fn what_was_never_drawn_needs_no_way_back() {
        assert!(!Screen::default().finish(&rows(1)).contains("\u{1b}[1F"));
    }
}
