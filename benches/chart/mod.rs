//! What a bench measured as bars on a logarithmic scale: a row for each line, a colour for each peer
//! or size, and how far the values spread.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

/// A drawing.
pub struct Picture {
    pub caption: String,
    /// What the values are of, from top to bottom.
    pub rows: Vec<String>,
    /// What the colours stand for.
    pub series: Vec<String>,
    /// The values that have a place on it.
    pub scale: Range<f64>,
    /// The value that bars start from.
    pub base: f64,
    pub bars: Vec<Bar>,
}

/// What was measured of a row for one of the series.
pub struct Bar {
    pub row: usize,
    pub series: usize,
    /// The bar's end.
    pub value: f64,
    /// A thin line across it.
    pub spread: (f64, f64),
    /// A mark at what is wanted.
    pub budget: Option<f64>,
    /// Written behind it.
    pub note: String,
}

const COLOURS: [RGBColor; 3] =
    [RGBColor(0x4c, 0x78, 0xa8), RGBColor(0xf5, 0x85, 0x18), RGBColor(0x9d, 0x9d, 0x9d)];

/// Height of a row without its bars.
const GAP: f64 = 0.2;

impl Picture {
    /// Draws it below the folder for what is built, and says where.
    pub fn draw(&self, name: &str) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("target").join(name).with_extension("svg");
        self.render(&path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
        println!("\ndrawn: {}", path.strip_prefix(root)?.display());
        Ok(())
    }

    fn render(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let Self { rows, series, scale, .. } = self;
        let many = rows.len();
        let root =
            SVGBackend::new(path, (960, 110 + (24 * series.len() as u32 + 18) * many as u32))
                .into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.caption, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(320)
            .build_cartesian_2d(scale.clone().log_scale(), 0f64..many as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_label_formatter(&|x| format!("{x}"))
            .draw()?;
        let line = [(self.base, 0.0), (self.base, many as f64)];
        chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))])?;
        let height = (1.0 - GAP) / series.len() as f64;
        for (index, name) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let top = |bar: &Bar| (many - bar.row) as f64 - GAP / 2.0 - height * index as f64;
            let of = || self.bars.iter().filter(|bar| bar.series == index);
            let within = |value: f64| value.clamp(scale.start, scale.end);
            let bars = of().map(|bar| {
                let corners = [(self.base, top(bar) - height * 0.9), (within(bar.value), top(bar))];
                Rectangle::new(corners, colour.filled())
            });
            chart.draw_series(bars)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled())
            });
            chart.draw_series(of().filter_map(|bar| {
                let budget = bar.budget?;
                let ends = [(budget, top(bar)), (budget, top(bar) - height * 0.9)];
                Some(PathElement::new(ends, RED.stroke_width(3)))
            }))?;
            chart.draw_series(of().map(|bar| {
                let middle = top(bar) - height * 0.45;
                let ends = [bar.spread.0, bar.spread.1].map(|value| (within(value), middle));
                PathElement::new(ends, BLACK.stroke_width(1))
            }))?;
            chart.draw_series(of().map(|bar| {
                let end = (within(bar.value.max(bar.spread.1)), top(bar));
                EmptyElement::at(end) + Text::new(bar.note.clone(), (6, 4), ("sans-serif", 12))
            }))?;
        }
        for (row, name) in rows.iter().enumerate() {
            let place = (scale.start, (many - row) as f64 - 0.4);
            chart
                .draw_series([EmptyElement::at(place)
                    + Text::new(name.clone(), (-315, -8), ("sans-serif", 14))])?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .draw()?;
        root.present()?;
        Ok(())
    }
}
