//! Columns for people: as wide as their widest cell, numbers to the right.

use std::fmt;

/// Lines of cells under a line of titles.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Nothing but titles. A column whose title ends with `#` holds numbers; the `#` is not shown.
    pub fn new<const N: usize>(titles: [&str; N]) -> Self {
        Self { rows: vec![titles.map(str::to_owned).into()] }
    }

    /// One more line, with as many cells as there are titles.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = &self.rows[0];
        if self.rows.len() == 1 {
            return Ok(());
        }
        let title = |column: usize| titles[column].trim_end_matches('#');
        let cells = |column: usize| self.rows[1..].iter().map(move |row| row[column].as_str());
        let widths: Vec<usize> = (0..titles.len())
            .map(|column| cells(column).chain([title(column)]).map(|cell| cell.chars().count()))
            .map(|lengths| lengths.max().unwrap_or(0))
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let cell = if number == 0 { title(column) } else { cell };
                let width = widths[column];
                line += &if titles[column].ends_with('#') {
                    format!(" {cell:>width$} ")
                } else {
                    format!(" {cell:<width$} ")
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
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
