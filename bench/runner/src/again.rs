//! What the bench can tell apart: the ratio of a server to itself, which is 1 but for the machine.

use crate::cases::Case;
use crate::contenders::Role;
use crate::measure::Cell;
use crate::stats::Estimate;
use crate::table::{Table, estimated, markdown_rows};

/// Adds to a case the servers whose name has one of these texts once more, as `NAME again`.
pub(crate) fn add(case: &mut Case, texts: &[String]) {
    let has = |name: &str| {
        let name = name.to_lowercase();
        texts.iter().any(|text| name.contains(&text.to_lowercase()))
    };
    let again: Vec<_> = case
        .servers
        .iter()
        .filter(|server| has(&server.name))
        .map(|server| server.again())
        .collect();
    case.servers.extend(again);
}

/// A line that says how far equals came out apart, and a table; nothing where none ran twice.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let equals: Vec<(String, String, Estimate)> = tables
        .iter()
        .flat_map(|table| table.cells.iter().filter_map(|cell| equal(table, cell)))
        .collect();
    if equals.is_empty() {
        return String::new();
    }
    let furthest = |of: fn(&Estimate) -> f64| {
        equals.iter().map(|(.., estimate)| of(estimate)).fold(0.0, f64::max)
    };
    let apart = furthest(|estimate| (estimate.median - 1.0).abs());
    let wide = furthest(|estimate| (estimate.high - 1.0).max(1.0 - estimate.low));
    let within = equals.iter().filter(|(.., estimate)| estimate.leaves_open(1.0)).count();
    let mut rows = vec![
        ["case", "server beside itself", "ratio [interval]", "1 within"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (case, name, estimate) in &equals {
        let is_within = if estimate.leaves_open(1.0) { "yes" } else { "**no**" };
        rows.push(vec![
            case.clone(),
            name.clone(),
            estimated(Some(*estimate)),
            is_within.to_owned(),
        ]);
    }
    format!(
        "Resolution: equals came out up to {:.1} % apart, with intervals up to {:.1} % from 1, which lies within \
         {within} of {}.\n\n{}",
        100.0 * apart,
        100.0 * wide,
        equals.len(),
        markdown_rows(&rows)
    )
}

/// A server that ran twice, by its name, and the ratio of the second to the first.
fn equal(table: &Table, cell: &Cell) -> Option<(String, String, Estimate)> {
    if cell.server.role != Role::Again {
        return None;
    }
    let first = table.cells.iter().find(|first| first.server.again().name == cell.server.name)?;
    let estimate = cell.over(first, |sample| sample.server_us)?;
    Some((table.title(), first.server.name.clone(), estimate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cell;
    use crate::table::tests::{cell, table};

    #[test]
    fn servers_are_added_by_name_and_judged_by_nothing_else() {
        let mut case = table().case;
        let count = case.servers.len();
        add(&mut case, &["TOKIO".to_owned(), "mainspring ready".to_owned()]);
        let names: Vec<&str> =
            case.servers[count..].iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["mainspring ready again", "tokio-echo again"]);
        assert!(case.servers[count..].iter().all(|server| server.role == Role::Again));
    }

    /// Two servers of which each costs the same, on a machine whose speed changes threefold from
    /// round to round and by some percent within one: equal ones come out as equal, and one that costs
    /// a twentieth more does not.
    #[test]
    fn equals_are_told_from_what_costs_a_twentieth_more() {
        for seed in 1..=20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut times = [vec![], vec![], vec![]];
            for _ in 0..21 {
                let moment = 4.0 * (1.0 + 2.0 * random.f64());
                for (times, cost) in times.iter_mut().zip([1.0, 1.0, 1.05]) {
                    times.push(moment * cost * (1.0 + 0.03 * (random.f64() - 0.5)));
                }
            }
            let [first, same, dearer] = &times;
            let mut table = table();
            let server = table.cells[0].server.clone();
            let again = Cell { server: server.again(), ..cell(server.clone(), same) };
            table.cells = vec![cell(server.clone(), first), again, cell(server, dearer)];
            let (_, _, ratio) = equal(&table, &table.cells[1]).unwrap();
            assert!((ratio.median - 1.0).abs() < 0.02, "seed {seed}: {ratio:?}");
            assert!(ratio.high - ratio.low < 0.04, "seed {seed}: {ratio:?}");
            let ratio = table.cells[2].over(&table.cells[0], |sample| sample.server_us).unwrap();
            assert!(!ratio.leaves_open(1.0) && ratio.median > 1.03, "seed {seed}: {ratio:?}");
        }
    }

    #[test]
    fn the_resolution_is_told_where_a_server_ran_twice() {
        assert_eq!(markdown(&[table()]), "");
        let mut twice = table();
        let server = twice.cells[0].server.clone();
        twice.cells.push(Cell { server: server.again(), ..cell(server.clone(), &[4.4, 5.0, 3.3]) });
        let mut biased = table();
        let times = [5.0, 6.0, 4.5];
        biased.cells.push(Cell { server: server.again(), ..cell(server, &times) });
        let text = markdown(&[twice, biased, table()]);
        assert!(text.contains("up to 25.0 % apart") && text.contains("within 1 of 2."), "{text}");
        assert!(text.contains("| floor-echo | 1.100 [1.000-1.100] | yes |"), "{text}");
        assert!(text.contains("| floor-echo | 1.250 [1.200-1.500] | **no** |"), "{text}");
    }
}
