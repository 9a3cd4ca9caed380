//! All cases of a kind on one page: servers across, cases down.

use crate::contenders::Server;
use crate::table::{Table, markdown_rows, micros, multiple};

/// Median processor time per request and, in brackets, the median of its ratios to the floor in the same rounds; the best peer of
/// each case is bold.
pub(crate) fn matrix(tables: &[Table]) -> String {
    let mut servers: Vec<&Server> = Vec::new();
    for cell in tables.iter().flat_map(|table| &table.cells) {
        if !servers.iter().any(|server| server.name == cell.server.name) {
            servers.push(&cell.server);
        }
    }
    let mut head = vec!["server CPU us/req (vs floor)".to_owned()];
    head.extend(tables.iter().map(Table::title));
    let mut rows = vec![head];
    for server in servers {
        let mut row = vec![server.name.clone()];
        row.extend(tables.iter().map(|table| entry(table, &server.name)));
        rows.push(row);
    }
    markdown_rows(&rows)
}

fn entry(table: &Table, name: &str) -> String {
    let Some(cell) = table.cells.iter().find(|cell| cell.server.name == name) else {
        return String::new();
    };
    let Some(spread) = cell.server_us() else { return "-".to_owned() };
    let text = format!(
        "{} ({})",
        micros(spread.median),
        multiple(table.ratio(cell).map(|ratio| ratio.median))
    );
    let is_best = table.best_peer().is_some_and(|best| best.server.name == name);
    let mark = if cell.contended() > 0 { " !" } else { "" };
    if is_best { format!("**{text}**{mark}") } else { format!("{text}{mark}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn each_server_has_a_row_and_each_case_a_column() {
        let mut tables = vec![table(), table()];
        tables[1].cells.remove(1);
        tables[1].cells[0].samples[0].contended = Some("others".to_owned());
        let text = matrix(&tables);
        assert!(text.contains("| mainspring ready | 6.000 (1.25) |  |"), "{text}");
        assert!(text.contains("| **4.300 (1.10)** | **4.300 (1.10)** |"), "{text}");
        assert!(text.contains("| x-echo | - | - |"), "{text}");
        assert!(text.contains("| 4.000 (1.00) | 4.000 (1.00) ! |"), "{text}");
    }
}
