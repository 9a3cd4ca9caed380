//! One case of a chart: bars, an axis, and the line that they are held against.

use super::text;
use crate::stats::Estimate;

const NAME_WIDTH: f64 = 150.0;
const VALUE_WIDTH: f64 = 60.0;
const BAR: f64 = 10.0;
const PITCH: f64 = 13.0;
const HEAD: f64 = 12.0;
const AXIS: f64 = 30.0;

/// A group of bars.
pub(super) struct Panel {
    pub(super) title: String,
    /// What the axis counts.
    pub(super) unit: &'static str,
    /// Where the dashed line stands.
    pub(super) mark: f64,
    /// From one tick to the next.
    pub(super) step: f64,
    /// Where the axis ends.
    pub(super) end: f64,
    pub(super) bars: Vec<Bar>,
}

/// The length of the bar is the median; a line shows its interval.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) color: &'static str,
    pub(super) estimate: Estimate,
    /// Behind the point of the number.
    pub(super) digits: usize,
}

impl Panel {
    pub(super) fn height(&self) -> f64 {
        HEAD + self.bars.len() as f64 * PITCH + AXIS
    }

    pub(super) fn svg(&self, left: f64, top: f64, width: f64) -> String {
        let zero = left + NAME_WIDTH;
        let scale = (width - NAME_WIDTH - VALUE_WIDTH) / self.end;
        let x = |value: f64| zero + value.clamp(0.0, self.end) * scale;
        let (bars_top, bottom) = (top + HEAD, top + HEAD + self.bars.len() as f64 * PITCH);
        let mut svg = text(left, top + 3.0, "start", 13, &self.title);
        for tick in 0..=(self.end / self.step + 1e-9) as usize {
            let value = tick as f64 * self.step;
            svg.push_str(&vertical(x(value), bars_top, bottom, "class=\"line\""));
            svg.push_str(&text(x(value), bottom + 11.0, "middle", 9, &number(value)));
        }
        for (index, bar) in self.bars.iter().enumerate() {
            svg.push_str(&self.bar(bar, left, bars_top + index as f64 * PITCH, x));
        }
        let dashes = "class=\"mark\" stroke-dasharray=\"3 3\"";
        svg.push_str(&vertical(x(self.mark), bars_top, bottom, dashes));
        svg.push_str(&text(zero, bottom + 23.0, "start", 9, self.unit));
        svg
    }

    fn bar(&self, bar: &Bar, left: f64, y: f64, x: impl Fn(f64) -> f64) -> String {
        let Bar { name, color, estimate: Estimate { median, low, high, .. }, digits } = bar;
        let (zero, end, baseline) = (x(0.0), x(*median), y + BAR - 1.0);
        let cut = if *median > self.end { " (cut)" } else { "" };
        let label = format!("{median:.digits$}{cut}");
        let (from, to, middle) = (x(*low), x(*high), y + BAR / 2.0);
        format!(
            "{}<rect x=\"{zero:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" \
             fill=\"{color}\"/>\n<line class=\"whisker\" x1=\"{from:.1}\" y1=\"{middle:.1}\" \
             x2=\"{to:.1}\" y2=\"{middle:.1}\"/>\n{}",
            text(left + NAME_WIDTH - 5.0, baseline, "end", 10, name),
            end - zero,
            text(end.max(to) + 4.0, baseline, "start", 10, &label)
        )
    }
}

fn vertical(x: f64, top: f64, bottom: f64, look: &str) -> String {
    format!("<line {look} x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\n")
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(median: f64) -> Panel {
        let estimate = Estimate::of(&[median]).unwrap();
        Panel {
            title: "t".to_owned(),
            unit: "u",
            mark: 1.0,
            step: 0.5,
            end: 2.0,
            bars: vec![Bar { name: "a".to_owned(), color: "#000", estimate, digits: 2 }],
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let width = NAME_WIDTH + VALUE_WIDTH + 200.0;
        let svg = panel(1.5).svg(0.0, 0.0, width);
        assert!(svg.contains("width=\"150.0\"") && svg.contains(">1.50</text>"), "{svg}");
        assert_eq!(svg.matches("class=\"line\"").count(), 5, "0, 0.5, 1, 1.5, 2: {svg}");
        let svg = panel(7.0).svg(0.0, 0.0, width);
        assert!(svg.contains("width=\"200.0\"") && svg.contains(">7.00 (cut)</text>"), "{svg}");
    }
}
