//! Draws a section as a bar chart: a bar to the median, a line from least to greatest.

use super::{Row, Section, markdown::number};
use crate::statistics::Summary;
use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea as _, PathElement, Rectangle, SVGBackend, Text},
    style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, TextStyle},
};

const WIDTH: i32 = 900;
const ROW: i32 = 24;
const HEAD: i32 = 48;
const LABELS: i32 = 400;
const VALUES: i32 = 90;
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(40, 40, 40);
const BAR: RGBColor = RGBColor(150, 170, 190);
const OWN_BAR: RGBColor = RGBColor(0, 110, 170);

/// The chart, as SVG.
pub(super) fn draw(section: &Section) -> Result<String> {
    let rows: Vec<(&Row, Summary)> =
        section.rows.iter().filter_map(|row| row.samples.summary().map(|found| (row, found))).collect();
    let height = HEAD + ROW * i32::try_from(rows.len())? + ROW / 2;
    let greatest = rows.iter().map(|(_, found)| found.max).fold(f64::MIN_POSITIVE, f64::max);
    let mut text = String::new();
    {
        let canvas = SVGBackend::with_string(&mut text, (u32::try_from(WIDTH)?, u32::try_from(height)?));
        let canvas = canvas.into_drawing_area();
        canvas.fill(&PAPER).map_err(|error| anyhow!("{error}"))?;
        write(&canvas, format!("{}: {}", section.name, section.unit), (12, 14), 18)?;
        for (position, (row, found)) in (0..).zip(&rows) {
            let top = HEAD + ROW * position;
            write(&canvas, format!("{} · {}", row.case, row.subject), (12, top + 4), 13)?;
            write(&canvas, number(found.median), (WIDTH - VALUES + 12, top + 4), 13)?;
            bar(&canvas, row, found, greatest, top)?;
        }
        canvas.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn bar(canvas: &Canvas<'_>, row: &Row, found: &Summary, greatest: f64, top: i32) -> Result<()> {
    let x = |value: f64| {
        let length = (value / greatest).clamp(0.0, 1.0) * f64::from(WIDTH - LABELS - VALUES);
        #[expect(clippy::cast_possible_truncation, reason = "some hundred pixels")]
        let length = length as i32;
        LABELS + length
    };
    let colour = if row.subject.starts_with("dispatcher") { OWN_BAR } else { BAR };
    let bar = Rectangle::new([(LABELS, top + 3), (x(found.median), top + ROW - 5)], colour.filled());
    canvas.draw(&bar).map_err(|error| anyhow!("{error}"))?;
    let middle = top + ROW / 2 - 1;
    let line = PathElement::new([(x(found.min), middle), (x(found.max), middle)], ShapeStyle::from(INK));
    canvas.draw(&line).map_err(|error| anyhow!("{error}"))
}

fn write(canvas: &Canvas<'_>, text: String, at: (i32, i32), size: i32) -> Result<()> {
    let style = TextStyle::from(("sans-serif", size).into_font()).color(&INK);
    canvas.draw(&Text::new(text, at, style)).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Better, statistics::Samples};

    #[test]
    fn every_row_with_a_value_is_drawn() {
        let mut section = Section::new("packet/cost", "ns per packet", Better::Lower);
        section.rows.push(Row::new("hot", "dispatcher", [40.0, 42.0].into_iter().collect()));
        section.rows.push(Row::new("hot", "floor <lean>", [20.0].into_iter().collect()));
        section.rows.push(Row::new("hot", "absent", Samples::new()));
        let svg = draw(&section).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["packet/cost: ns per packet", "hot · dispatcher", "41.0", "floor &lt;lean&gt;"] {
            assert!(svg.contains(text), "{text} is not in\n{svg}");
        }
        assert!(!svg.contains("absent"));
        // A background and one bar for each value.
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
    }
}
