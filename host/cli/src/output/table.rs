//! A table and the JSON that says the same. Never decides where it is printed.

use serde::Serialize;
use serde_json::Value;
use skep_core::name::shown;

use crate::api::types::{List, Versioned};

/// The most characters of a cell on a terminal.
const CELL_CHARS_MAX: usize = 100;
/// The most characters of a cell elsewhere.
const FIELD_CHARS_MAX: usize = 100_000;

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows yet.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Two columns without headings.
    pub fn of_pairs(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let rows = pairs.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Self { header: Vec::new(), rows }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// For people: columns aligned under their headings.
    pub(super) fn decorated(&self, color: bool) -> String {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| shown(cell, CELL_CHARS_MAX)).collect()).collect();
        let header: Vec<String> = self.header.iter().map(|cell| cell.to_uppercase()).collect();
        let mut widths = Vec::new();
        for row in rows.iter().chain([&header]) {
            for (place, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(place) {
                    Some(known) => *known = width.max(*known),
                    None => widths.push(width),
                }
            }
        }
        let mut out = String::new();
        if !header.is_empty() {
            let line = aligned(&header, &widths);
            out.push_str(&if color { format!("\u{1b}[1m{line}\u{1b}[0m\n") } else { format!("{line}\n") });
        }
        for row in &rows {
            out.push_str(&aligned(row, &widths));
            out.push('\n');
        }
        out
    }

    /// For programs: a row a line, cells parted by tabs, no headings.
    pub(super) fn plain(&self) -> String {
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().map(|cell| shown(cell, FIELD_CHARS_MAX)).collect();
            cells.join("\t") + "\n"
        };
        self.rows.iter().map(line).collect()
    }
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(&format!("{cell:width$}  "));
    }
    line.truncate(line.trim_end().len());
    line
}

/// What a command has to say, in every format.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) json: Value,
    pub(super) items: Option<Vec<Value>>,
    pub(super) table: Table,
    pub(super) names: Vec<String>,
}

impl Document {
    /// A list: `table` has a row for each item, `names` a name.
    pub fn list<T: Serialize>(kind: &str, items: &[T], names: Vec<String>, table: Table) -> Self {
        let values: Vec<Value> = items.iter().map(to_json).collect();
        let json = to_json(&Versioned::new(kind, List { items: values.clone() }));
        Self { json, items: Some(values), table, names }
    }

    /// One shape with its name.
    pub fn one<T: Serialize>(kind: &str, value: &T, name: impl Into<String>, table: Table) -> Self {
        Self { json: to_json(&Versioned::new(kind, value)), items: None, table, names: vec![name.into()] }
    }
    /// The same with the names of what is in it.
    pub fn rename(&mut self, names: Vec<String>) {
        self.names = names;
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["agent", "status"]);
        table.row(["a".to_owned(), "idle".to_owned()]);
        table.row(["longer".to_owned(), "\u{1b}[2J\tx".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_hostile_cells_escaped() {
        let expected = "AGENT   STATUS\na       idle\nlonger  \\u{1b}[2J\\u{9}x\n";
        assert_eq!(table().decorated(false), expected);
    }

    #[test]
    fn plain_lines_have_tabs_and_no_headings() {
        assert_eq!(table().plain(), "a\tidle\nlonger\t\\u{1b}[2J\\u{9}x\n");
    }
}
