//! How the demo looks: aligned, at most 100 columns, colour only for people who want it.

use std::fmt::Display;
use std::io::IsTerminal;

use crate::output;

/// Columns of the narrowest screen that it must fit.
const COLUMNS: usize = 100;

/// Columns of the mark and the label at the head of a line.
const LABEL: usize = 34;

/// A line that is checked: the reason if it came out as it must, or what came instead.
pub type Checked = anyhow::Result<String>;

/// Standard output, with a count of what did not come out as it must.
pub struct Screen {
    quiet: bool,
    colour: bool,
    checks: usize,
    failures: usize,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Red,
}

impl Screen {
    /// With colour if a terminal shows it and nobody asked for none.
    pub fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { quiet: false, colour, checks: 0, failures: 0 }
    }

    /// One on which nothing is shown.
    pub fn quiet() -> Self {
        Self { quiet: true, colour: false, checks: 0, failures: 0 }
    }

    fn line(&self, text: impl Display) -> anyhow::Result<()> {
        if self.quiet { Ok(()) } else { output::line(text) }
    }

    fn styled(&self, style: Style, text: impl Display) -> String {
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Green => 32,
            Style::Red => 31,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// The first line.
    pub fn title(&self, text: &str) -> anyhow::Result<()> {
        self.line(self.styled(Style::Bold, text))
    }

    /// A new part.
    pub fn heading(&self, text: &str) -> anyhow::Result<()> {
        self.line(format_args!("\n{}", self.styled(Style::Bold, text)))
    }

    /// A paragraph.
    pub fn text(&self, text: impl Display) -> anyhow::Result<()> {
        wrap(&text.to_string(), COLUMNS).into_iter().try_for_each(|line| self.line(line))
    }

    /// A line that is told as it happens.
    pub fn step(&self, label: &str, text: impl Display) -> anyhow::Result<()> {
        self.entry("  ", label, &text.to_string())
    }

    /// A line that must come out right.
    pub fn check(&mut self, label: &str, checked: Checked) -> anyhow::Result<()> {
        self.checks += 1;
        match checked {
            Ok(reason) => {
                let mark = self.styled(Style::Green, "ok");
                self.entry(&mark, label, &reason)
            }
            Err(error) => {
                self.failures += 1;
                let mark = self.styled(Style::Red, "!!");
                self.entry(&mark, label, &format!("NOT AS IT MUST BE: {error:#}"))
            }
        }
    }

    fn entry(&self, mark: &str, label: &str, text: &str) -> anyhow::Result<()> {
        let mut lines = wrap(text, COLUMNS - LABEL - 2).into_iter();
        let first = lines.next().unwrap_or_default();
        self.line(format_args!("{mark} {label:width$} {first}", width = LABEL - 2))?;
        lines.try_for_each(|line| self.line(format_args!("{:width$}{line}", "", width = LABEL + 2)))
    }

    /// A line of a table.
    pub fn row(&self, cells: [&str; 4]) -> anyhow::Result<()> {
        let [stage, first, second, what] = cells;
        let line = format!("   {stage:13} {first:>11} {second:>11}   {what}");
        self.line(line.trim_end())
    }

    /// What a command does.
    pub fn comment(&self, text: &str) -> anyhow::Result<()> {
        self.line(self.styled(Style::Dim, format_args!("  # {text}")))
    }

    /// A command to copy: never wrapped.
    pub fn verbatim(&self, text: &str) -> anyhow::Result<()> {
        self.line(format_args!("  {text}"))
    }

    /// The last line; `true` if everything came out as it must.
    pub fn verdict(&self) -> anyhow::Result<bool> {
        let text = match self.failures {
            0 => self.styled(Style::Green, format_args!("All {} checks came out as they must.", self.checks)),
            failures => self.styled(
                Style::Red,
                format_args!("{failures} of {} checks did not come out as they must.", self.checks),
            ),
        };
        self.line(format_args!("\n{text}"))?;
        Ok(self.failures == 0)
    }
}

/// Breaks text at spaces. A word that is too long stays whole, so that it can be copied.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    if text.chars().count() <= columns {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a last line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_is_broken_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("   1", 5), ["   1"]);
    }
}
