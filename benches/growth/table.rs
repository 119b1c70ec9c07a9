//! A table of results, which is printed row by row and then written to `benches/results`.

use std::fs;
use std::path::Path;

pub(crate) struct Table {
    name: &'static str,
    /// The number of columns that say what was measured.
    keys: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(name: &'static str, keys: usize, columns: &[&str]) -> Self {
        println!("\n{name}");
        let mut table = Self {
            name,
            keys,
            rows: Vec::new(),
        };
        table.row(columns.iter().map(|&column| column.into()));
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        let shown = cells.iter().map(|cell| format!("{cell:>12} "));
        println!("{}", shown.collect::<String>());
        self.rows.push(cells);
    }

    /// Writes the file, unless this was a trial. Rows of the file that were not measured now stay.
    pub(crate) fn end(self, scale: crate::Scale) {
        if scale.quick {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        let file = folder.join(self.name).with_extension("tsv");
        let before = fs::read_to_string(&file).unwrap_or_default();
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        let mut rows: Vec<Vec<String>> = before.lines().map(cells).collect();
        for row in self.rows {
            let is_same = |old: &Vec<String>| old[..self.keys] == row[..self.keys];
            match rows.iter().position(is_same) {
                Some(at) => rows[at] = row,
                None => rows.push(row),
            }
        }
        let lines = rows.into_iter().map(|row| row.join("\t") + "\n");
        fs::write(file, lines.collect::<String>()).expect("there is room");
    }
}

/// Writes a figure with three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value if value >= 0.001 => format!("{value:.4}"),
        value => format!("{value:.7}"),
    }
}
