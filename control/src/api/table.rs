//! Columns for people: as wide as their widest cell, numbers to the right.

use std::fmt;

/// Columns under titles. One whose title ends with `#` holds numbers; the `#` is not shown.
#[derive(Debug)]
pub struct Columns {
    titles: Vec<&'static str>,
    widths: Vec<usize>,
}

impl Columns {
    /// As wide as their titles.
    pub fn new(titles: &[&'static str]) -> Self {
        let mut columns = Self { titles: titles.to_vec(), widths: vec![0; titles.len()] };
        columns.widen(&columns.names());
        columns
    }

    /// Makes room for a line.
    pub fn widen(&mut self, cells: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }

    /// The line of titles.
    pub fn head(&self) -> String {
        self.line(&self.names())
    }

    /// A line of as many cells as there are titles, with its end.
    pub fn line(&self, cells: &[String]) -> String {
        let mut line = String::from(" ");
        for ((title, &width), cell) in self.titles.iter().zip(&self.widths).zip(cells) {
            line += &match title.ends_with('#') {
                true => format!(" {cell:>width$} "),
                false => format!(" {cell:<width$} "),
            };
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }

    fn names(&self) -> Vec<String> {
        self.titles.iter().map(|title| title.trim_end_matches('#').to_owned()).collect()
    }
}

/// Lines of cells under a line of titles.
#[derive(Debug)]
pub struct Table {
    columns: Columns,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Nothing but titles.
    pub fn new<const N: usize>(titles: [&'static str; N]) -> Self {
        Self { columns: Columns::new(&titles), rows: Vec::new() }
    }

    /// One more line, with as many cells as there are titles.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.columns.widen(&cells);
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        f.write_str(&self.columns.head())?;
        self.rows.iter().try_for_each(|row| f.write_str(&self.columns.line(row)))
    }
}

/// Bytes in the largest unit that leaves a number before the point.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new(["port", "frames#", "drops"]);
        assert_eq!(table.to_string(), "", "a table of nothing has no titles");
        table.row(["vm1".into(), "7".into(), String::new()]);
        table.row(["a-long-name".into(), "123456789".into(), "no-port 1".into()]);
        let text = table.to_string();
        let expected = [
            "  port            frames  drops",
            "  vm1                  7",
            "  a-long-name  123456789  no-port 1",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn bytes_are_told_in_units_that_can_be_read() {
        let told = [0, 1023, 1024, 1_572_864, u64::MAX].map(bytes);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16384.0 PiB"]);
    }
}
