//! `broadcast`.

use crate::process::{Example, fails};

#[test]
fn every_policy_keeps_its_account_and_costs_the_readers_nothing() {
    let mut example = Example::start("broadcast", &["4"]);
    let line = || example.line();
    assert!(line().starts_with("policy "));
    for (policy, place) in [("DropNewest", 4), ("DropOldest", 5), ("Disconnect", 7)] {
        let row = line();
        let figures: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(figures[0], policy, "{row}");
        let figure = |place: usize| -> u64 { figures[place].parse().expect(&row) };
        // What the four slow ones missed is by far the most of what was not delivered.
        assert!(figure(place) > 50, "{row}");
        for other in [4, 5, 6, 7].into_iter().filter(|other| *other != place) {
            assert_eq!(figure(other), 0, "{row}");
        }
        let sum = line();
        let numbers: Vec<u64> =
            sum.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [delivered, queued, dropped, sent] = numbers[..] else { panic!("{sum}") };
        assert_eq!(delivered + queued + dropped, sent, "{sum}");
        assert_eq!((figure(1), figure(2), figure(3)), (sent, delivered, queued), "{sum}");
        let readers = line();
        assert!(readers.contains("4 readers: "), "{readers}");
        assert!(readers.ends_with(" lines in order, none missing"), "{readers}");
        let lines: u64 = readers.split_whitespace().nth(2).unwrap().parse().expect(&readers);
        assert!(lines > 400, "{readers}");
    }
    assert!(example.wait().success());
}

#[test]
fn a_time_that_is_none_is_refused() {
    assert!(fails("broadcast", &["long"]).contains("'long'"));
    assert!(fails("broadcast", &["0"]).contains("'0'"));
}
