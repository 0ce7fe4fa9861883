//! Tables for people: no frame, columns as wide as their content, the last one wrapped to the terminal.
//!
//! Only the last column is wrapped: it holds what is said in sentences. What somebody copies out of the others (a
//! host, an id, a path) stays in one piece, also where the terminal is too narrow for it and breaks the line itself.

use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, Width, presets};

use super::{Tone, Ui, tame};

/// The last column is never narrower than this: a sentence with one word a line can not be read.
const NARROWEST: u16 = 24;

/// A table under construction.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

/// One cell. The tone is no part of the text, so that a colour moves no column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A text in a tone.
    pub fn toned(tone: Tone, text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            tone: Some(tone),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Cell> for comfy_table::Cell {
    fn from(cell: Cell) -> Self {
        let drawn = Self::new_owned(tame::line(&cell.text).into_owned());
        match cell.tone {
            None => drawn,
            Some(Tone::Good) => drawn.fg(Color::DarkGreen),
            Some(Tone::Warn) => drawn.fg(Color::DarkYellow),
            Some(Tone::Bad) => drawn.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Some(Tone::Dim) => drawn.add_attribute(Attribute::Dim),
            Some(Tone::Strong) => drawn.add_attribute(Attribute::Bold),
        }
    }
}

impl Table {
    /// With these column titles.
    pub fn new(titles: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(titles.iter().map(|title| title.to_uppercase()));
        table.style_text_only();
        Self(table)
    }

    /// Columns of figures, counted from 0, end at the same place, so that they can be compared.
    #[must_use]
    pub fn figures(mut self, columns: &[usize]) -> Self {
        for column in columns {
            if let Some(column) = self.0.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Adds a row.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells.into_iter().map(|cell| comfy_table::Cell::from(cell.into()));
        self.0.add_row(cells.collect::<Vec<_>>());
    }

    /// Prints it as a result.
    pub fn print(self, ui: &Ui) -> std::io::Result<()> {
        ui.data(&self.draw(ui.width(), ui.has_color()))
    }

    /// The lines on a terminal of this width; without one, a row is a line.
    fn draw(mut self, width: Option<u16>, color: bool) -> String {
        let table = &mut self.0;
        let titles = u16::try_from(table.column_count()).unwrap_or(u16::MAX);
        for column in table.column_iter_mut() {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if let Some(width) = width {
            let others: u16 = table
                .column_max_content_widths()
                .iter()
                .rev()
                .skip(1)
                .fold(0, |sum, width| sum.saturating_add(*width));
            // Each column has a space on either side.
            let left = width
                .saturating_sub(others)
                .saturating_sub(titles.saturating_mul(2))
                .max(NARROWEST);
            table.set_width(u16::MAX);
            if let Some(last) = table.column_iter_mut().last() {
                last.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(left)));
            }
        }
        if color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["host", "files", "state", "notes"]).figures(&[1]);
        table.row([
            "db-1".into(),
            "7".into(),
            Cell::toned(Tone::Bad, "failed"),
            "the head of notes.lance can not be read, and three files of it are missing".into(),
        ]);
        table.row(["größe-π-東京", "12345", "-", ""]);
        table
    }

    #[test]
    fn without_a_terminal_a_row_is_a_line_and_figures_end_together() {
        let drawn = table().draw(None, false);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 3, "{drawn}");
        assert_eq!(lines[0], " HOST          FILES  STATE   NOTES");
        assert!(
            lines[1].starts_with(" db-1              7  failed  the head"),
            "{drawn}"
        );
        // Wide characters take two columns.
        assert_eq!(lines[2], " größe-π-東京  12345  -");
    }

    #[test]
    fn only_the_last_column_is_wrapped_and_never_to_nothing() {
        let drawn = table().draw(Some(60), false);
        assert!(drawn.lines().count() > 3, "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 60), "{drawn}");
        // Narrower than the columns themselves: hosts and states are still whole.
        let drawn = table().draw(Some(20), false);
        assert!(drawn.contains("größe-π-東京  12345  -"), "{drawn}");
        assert!(drawn.contains("the head of\n"), "{drawn}");
    }

    #[test]
    fn colours_move_no_column() {
        let colored = table().draw(Some(60), true);
        assert!(colored.contains('\u{1b}'), "{colored}");
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some(start) = rest.find('\u{1b}') {
            plain.push_str(&rest[..start]);
            let end = rest[start..].find('m').expect("the end of a colour");
            rest = &rest[start + end + 1..];
        }
        plain.push_str(rest);
        let plain: Vec<&str> = plain.lines().map(str::trim_end).collect();
        let expected = table().draw(Some(60), false);
        assert_eq!(plain, expected.lines().collect::<Vec<_>>());
    }
}
