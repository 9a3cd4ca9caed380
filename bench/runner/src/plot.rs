//! Bar charts as SVG, written by hand: they need no font file and are the same on every machine.

mod panel;

use crate::cases::Kind;
use crate::contenders::{Role, Server};
use crate::table::Table;
use panel::{Bar, Panel};

const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 16.0;
/// Panels beside each other.
const COLUMNS: usize = 2;
const GAP: f64 = 20.0;
/// Longer bars are cut and tell their length.
const RATIO_MAX: f64 = 3.0;
/// So that small differences do not fill the picture.
const RATIO_LEAST: f64 = 1.5;
const RESIDENT_MAX: f64 = 1000.0;
/// The target for memory.
const RESIDENT_MARK: f64 = 250.0;
const LEGEND_COLUMN: f64 = 190.0;
const LEGEND_LINE: f64 = 16.0;
const FLOORS: [&str; 2] = ["#6b7280", "#9ca3af"];
const OURS: [&str; 4] = ["#ea580c", "#f59e0b", "#b45309", "#fbbf24"];
const PEERS: [&str; 8] =
    ["#2563eb", "#0891b2", "#16a34a", "#65a30d", "#9333ea", "#db2777", "#0d9488", "#64748b"];
const STYLE: &str = "<style>.ground{fill:#ffffff}.words{fill:#1f2328}.line{stroke:#d0d7de}\
     .mark{stroke:#57606a}.whisker{stroke:#1f2328}\
     @media (prefers-color-scheme:dark){.ground{fill:#0d1117}.words{fill:#e6edf3}\
     .line{stroke:#30363d}.mark{stroke:#8b949e}.whisker{stroke:#e6edf3}}</style>\n";

/// Processor time per request as multiples of the floor's: a panel for each case, a bar for each
/// server.
pub(crate) fn bars(kind: Kind, subtitle: &str, tables: &[Table]) -> String {
    let mut palette = Palette::default();
    let mut panels: Vec<Panel> =
        tables.iter().filter_map(|table| ratios(table, &mut palette)).collect();
    panels.extend(tables.iter().filter_map(|table| resident(table, &mut palette)));
    let legend_rows = palette.names.len().div_ceil(legend_columns());
    let top = 62.0 + legend_rows as f64 * LEGEND_LINE + GAP;
    let (body, bottom) = arrange(&panels, top);
    let height = bottom + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\">\n{STYLE}<rect class=\"ground\" width=\"{WIDTH}\" \
         height=\"{height:.0}\"/>\n"
    );
    svg.push_str(&text(MARGIN, 26.0, "start", 17, &title(kind)));
    svg.push_str(&text(MARGIN, 45.0, "start", 11, subtitle));
    svg.push_str(&palette.legend(62.0));
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

/// What the picture shows.
pub(crate) fn title(kind: Kind) -> String {
    format!("{}, as multiples of the raw epoll floor (less is better)", kind.caption())
}

/// Puts the panels into columns, row by row; gives the picture and its lower end.
fn arrange(panels: &[Panel], top: f64) -> (String, f64) {
    let columns = COLUMNS.min(panels.len().max(1));
    let width = (WIDTH - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
    let (mut svg, mut y) = (String::new(), top);
    for row in panels.chunks(columns) {
        for (column, panel) in row.iter().enumerate() {
            let x = MARGIN + column as f64 * (width + GAP);
            svg.push_str(&panel.svg(x, y, width));
        }
        y += row.iter().map(Panel::height).fold(0.0, f64::max) + GAP;
    }
    (svg, y - GAP)
}

fn ratios(table: &Table, palette: &mut Palette) -> Option<Panel> {
    let bars: Vec<Bar> = (table.cells.iter())
        .filter_map(|cell| {
            let estimate = table.ratio(cell)?;
            let color = palette.color(&cell.server);
            Some(Bar { name: cell.server.name.clone(), color, estimate, digits: 2 })
        })
        .collect();
    let longest = bars.iter().map(|bar| bar.estimate.high).fold(RATIO_LEAST, f64::max);
    (!bars.is_empty()).then(|| Panel {
        title: table.title(),
        unit: "server CPU per request, floor = 1; thin: interval",
        mark: 1.0,
        step: 0.5,
        end: longest.min(RATIO_MAX),
        bars,
    })
}

fn resident(table: &Table, palette: &mut Palette) -> Option<Panel> {
    let bars: Vec<Bar> = (table.cells.iter())
        .filter_map(|cell| {
            let estimate = cell.resident_each()?;
            let color = palette.color(&cell.server);
            Some(Bar { name: base(&cell.server).to_owned(), color, estimate, digits: 0 })
        })
        .collect();
    (!bars.is_empty()).then(|| Panel {
        title: "Resident memory of the server per idle connection".to_owned(),
        unit: "bytes; the line is the target",
        mark: RESIDENT_MARK,
        step: RESIDENT_MARK,
        end: RESIDENT_MAX,
        bars,
    })
}

/// Which colour is whose; the same in all panels.
#[derive(Default)]
struct Palette {
    names: Vec<(String, &'static str)>,
    used: [usize; 3],
}

impl Palette {
    fn color(&mut self, server: &Server) -> &'static str {
        let name = base(server);
        if let Some((_, color)) = self.names.iter().find(|(known, _)| known == name) {
            return color;
        }
        let (shelf, colors): (usize, &[&'static str]) = match server.role {
            Role::Floor => (0, &FLOORS),
            Role::Ours(_) | Role::Tasks(_) | Role::Framed(_) => (1, &OURS),
            Role::Peer | Role::Again => (2, &PEERS),
        };
        let color = colors[self.used[shelf] % colors.len()];
        self.used[shelf] += 1;
        self.names.push((name.to_owned(), color));
        color
    }

    fn legend(&self, top: f64) -> String {
        let entry = |(index, (name, color)): (usize, &(String, &str))| {
            let x = MARGIN + (index % legend_columns()) as f64 * LEGEND_COLUMN;
            let y = top + (index / legend_columns()) as f64 * LEGEND_LINE;
            let square = format!(
                "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\n"
            );
            square + &text(x + 15.0, y + 9.0, "start", 11, name)
        };
        self.names.iter().enumerate().map(entry).collect()
    }
}

fn legend_columns() -> usize {
    ((WIDTH - 2.0 * MARGIN) / LEGEND_COLUMN) as usize
}

/// The server itself, with whatever beside it and however often.
fn base(server: &Server) -> &str {
    let name = server.name.strip_suffix(" again").unwrap_or(&server.name);
    name.strip_suffix(" + idle").unwrap_or(name)
}

fn text(x: f64, y: f64, anchor: &str, size: u32, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<text class=\"words\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" \
         font-size=\"{size}\">{words}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    #[test]
    fn each_measured_server_has_a_bar_and_a_place_in_the_legend() {
        let svg = bars(Kind::Echo, "a < b", &[table()]);
        let (ground, measured) = (1, 5);
        assert_eq!(svg.matches("<rect").count(), ground + 2 * measured, "{svg}");
        assert_eq!(svg.matches(">mainspring ready</text>").count(), 2, "bar and legend");
        assert!(svg.contains(">1.25</text>"), "{svg}");
        assert!(!svg.contains("x-echo"), "what was not measured has no bar");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("floor = 1"));
    }

    #[test]
    fn memory_has_a_panel_of_its_own() {
        let mut table = table();
        table.cells[1].samples[0].resident_each = Some(1234.0);
        let svg = bars(Kind::Idle, "", &[table]);
        assert!(svg.contains("Resident memory") && svg.contains(">1234 (cut)</text>"), "{svg}");
    }

    #[test]
    fn a_server_has_one_colour_with_and_without_idle_connections() {
        let mut palette = Palette::default();
        let server = Server::peer("tokio-echo");
        assert_eq!(palette.color(&server), palette.color(&server.with_idle(5)));
        assert_ne!(palette.color(&server), palette.color(&Server::peer("mio-echo")));
        assert_eq!(palette.names.len(), 2);
    }
}
