//! Memory of a process that is in RAM.

use crate::Error;

/// Bytes by `/proc/PID/smaps_rollup`, which walks the page tables: the counters of
/// `/proc/PID/statm` are kept per core and lag behind by up to some hundred pages.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).map_err(Error::io(format!("cannot read {path}")))?;
    parse(&text).ok_or_else(|| Error::Usage(format!("{path} has no line `Rss: N kB`")))
}

fn parse(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_resident_pages_is_read() {
        let text = "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:     1652 kB\nPss: 9 kB\n";
        assert_eq!(parse(text), Some(1652 * 1024));
        assert_eq!(parse("Pss: 9 kB\n"), None);
    }

    #[test]
    fn memory_that_is_touched_is_counted() {
        let before = resident_bytes(std::process::id()).unwrap();
        let touched = vec![1_u8; 8 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(after >= before + (7 << 20), "{before} to {after}");
        drop(touched);
    }
}
