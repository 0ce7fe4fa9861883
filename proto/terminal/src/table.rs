//! Tables for people: no frame, columns by content, the last one wrapped to the terminal.

use comfy_table::{ContentArrangement, presets};

use super::Ui;

/// A table under construction.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

impl Table {
    /// With these column titles.
    pub fn new(titles: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(titles.iter().map(|title| title.to_uppercase()));
        Self(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().collect::<Vec<_>>());
    }

    /// Prints it as a result.
    pub fn print(&self, ui: &Ui) -> std::io::Result<()> {
        let lines: Vec<String> = self
            .0
            .to_string()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        ui.data(&lines.join("\n"))
    }
}
