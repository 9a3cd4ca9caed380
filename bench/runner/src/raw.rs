//! Every run as a line of figures, for those who want to look for themselves.

use crate::measure::{Cell, Sample};
use crate::table::Table;

const HEAD: &str = "case\tserver\tround\tbegun s\tserver CPU us/req\tload CPU us/req\treq/s\t\
                    contended\n";

/// Tab-separated, one run a line, in the order of the tables.
pub(crate) fn lines(tables: &[Table]) -> String {
    let mut text = HEAD.to_owned();
    for table in tables {
        for cell in &table.cells {
            let lines = cell.samples.iter().map(|sample| line(&table.title(), cell, sample));
            text.extend(lines);
        }
    }
    text
}

fn line(case: &str, cell: &Cell, sample: &Sample) -> String {
    let Sample { round, at_s, server_us, load_us, per_second, .. } = sample;
    let load_us = load_us.map_or_else(String::new, |load_us| format!("{load_us:.5}"));
    let contended = sample.contended.as_deref().unwrap_or_default();
    let name = &cell.server.name;
    format!(
        "{case}\t{name}\t{round}\t{at_s:.3}\t{server_us:.5}\t{load_us}\t{per_second:.0}\t\
         {contended}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn each_run_has_a_line_with_all_columns() {
        let text = lines(&[table()]);
        assert_eq!(text.lines().count(), 1 + 15);
        let columns = HEAD.split('\t').count();
        assert!(text.lines().all(|line| line.split('\t').count() == columns), "{text}");
        assert!(text.contains("tcp 64 B 50c x1\tmainspring ready\t2\t0.000\t6.00000\t"), "{text}");
    }
}
