//! A bar chart as SVG, written by hand: it needs no font file and is the same on every machine.

use crate::table::Table;

const BAR: f64 = 16.0;
const GAP: f64 = 26.0;
const LEFT: f64 = 130.0;
const WIDTH: f64 = 860.0;
const TOP: f64 = 52.0;
/// Longer bars are cut and tell their length.
const RATIO_MAX: f64 = 4.0;
const COLORS: &[&str] = &["#8a8f98", "#c2410c", "#2563eb", "#15803d", "#7c3aed", "#b45309"];

/// Server CPU per request as multiples of the floor's: a group for each case, a bar for each
/// server.
pub(crate) fn bars(title: &str, subtitle: &str, tables: &[Table]) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut body = String::new();
    let mut y = TOP;
    for table in tables.iter().filter(|table| !table.ratios().is_empty()) {
        y += GAP;
        body.push_str(&text(12.0, y - 7.0, "start", 13, &table.title));
        for (name, ratio) in table.ratios() {
            let known = names.iter().position(|found| *found == name);
            let color = known.unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            body.push_str(&bar(y, name, ratio, COLORS[color % COLORS.len()]));
            y += BAR + 3.0;
        }
    }
    let height = y + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    svg.push_str(&text(12.0, 22.0, "start", 16, title));
    svg.push_str(&text(12.0, 42.0, "start", 12, subtitle));
    let floor = x(1.0);
    svg.push_str(&format!(
        "<line x1=\"{floor:.1}\" y1=\"{TOP}\" x2=\"{floor:.1}\" y2=\"{y:.1}\" stroke=\"#8a8f98\" \
         stroke-dasharray=\"3 3\"/>\n"
    ));
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

fn bar(y: f64, name: &str, ratio: f64, color: &str) -> String {
    let length = x(ratio.min(RATIO_MAX)) - LEFT;
    let middle = y + BAR - 4.0;
    let cut = if ratio > RATIO_MAX { " (cut)" } else { "" };
    format!(
        "{}<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n{}",
        text(LEFT - 6.0, middle, "end", 12, name),
        text(LEFT + length + 5.0, middle, "start", 12, &format!("{ratio:.2}{cut}"))
    )
}

fn x(ratio: f64) -> f64 {
    const ROOM_FOR_NUMBERS: f64 = 90.0;
    LEFT + ratio / RATIO_MAX * (WIDTH - LEFT - ROOM_FOR_NUMBERS)
}

fn text(x: f64, y: f64, anchor: &str, size: u32, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
         fill=\"#1f2328\">{words}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn each_measured_server_has_a_bar_as_long_as_its_ratio() {
        let svg = bars("Echo", "a < b", &[table()]);
        assert_eq!(svg.matches("<rect").count(), 1 + 2, "the ground and two bars");
        assert!(svg.contains(">mainspring</text>") && svg.contains(">1.50</text>"), "{svg}");
        assert!(!svg.contains("redis-server"), "what was not measured has no bar");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        let width = |ratio: f64| format!("width=\"{:.1}\"", x(ratio) - LEFT);
        assert!(svg.contains(&width(1.0)) && svg.contains(&width(1.5)), "{svg}");
    }

    #[test]
    fn a_bar_beyond_the_edge_is_cut_and_says_so() {
        assert!(bar(0.0, "a", 9.0, "#000").contains("9.00 (cut)"));
        assert!(x(RATIO_MAX) < WIDTH);
    }
}
