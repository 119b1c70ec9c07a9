//! A table of results, which is printed row by row and then written to `benches/results`.

use std::fs;
use std::path::Path;

pub(crate) struct Table {
    name: &'static str,
    rows: Vec<String>,
}

impl Table {
    pub(crate) fn new(name: &'static str, columns: &[&str]) -> Self {
        println!("\n{name}");
        let mut table = Self {
            name,
            rows: Vec::new(),
        };
        table.row(columns.iter().map(|&column| column.into()));
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        let shown = cells.iter().map(|cell| format!("{cell:>12} "));
        println!("{}", shown.collect::<String>());
        self.rows.push(cells.join("\t") + "\n");
    }

    /// Writes the file, unless this was a trial.
    pub(crate) fn end(self, scale: crate::Scale) {
        if scale.quick {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        let file = folder.join(self.name).with_extension("tsv");
        fs::write(file, self.rows.concat()).expect("there is room");
    }
}

/// Writes a figure with three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
