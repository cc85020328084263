//! The table as bars: how many times ahead of each peer, on a logarithmic scale, with the spread.

use crate::Table;
use crate::measure::Measure;
use crate::world::Kind;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const PEERS: [(Kind, RGBColor); 3] = [
    (Kind::StockPacket, RGBColor(0x4c, 0x78, 0xa8)),
    (Kind::StockXdp, RGBColor(0xf5, 0x85, 0x18)),
    (Kind::Kernel, RGBColor(0x9d, 0x9d, 0x9d)),
];

/// Draws the table.
pub fn draw(table: &Table, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    render(table, path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn render(table: &Table, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let rows = Measure::ALL.len();
    let root = SVGBackend::new(path, (900, 90 + 90 * rows as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("ovn-xdp, user tier: times ahead (1 = equal)", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(210)
        .build_cartesian_2d((0.1f64..10.0).log_scale(), 0f64..rows as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_label_formatter(&|x| format!("{x}"))
        .draw()?;
    chart
        .draw_series([PathElement::new([(1.0, 0.0), (1.0, rows as f64)], BLACK.stroke_width(2))])?;
    for (index, (peer, colour)) in PEERS.into_iter().enumerate() {
        let bars = Measure::ALL.into_iter().enumerate().flat_map(|(row, measure)| {
            let low = (rows - row) as f64 - 0.9 + 0.27 * (PEERS.len() - 1 - index) as f64;
            let spread = table.ahead(measure, peer);
            let middle = low + 0.12;
            [
                Rectangle::new([(1.0, low), (spread.median, low + 0.24)], colour.filled()),
                Rectangle::new(
                    [(spread.least, middle), (spread.most, middle + 0.01)],
                    BLACK.filled(),
                ),
            ]
        });
        chart
            .draw_series(bars)?
            .label(format!("against {}", peer.label()))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
    }
    for (row, measure) in Measure::ALL.into_iter().enumerate() {
        let place = (0.1, (rows - row) as f64 - 0.4);
        chart
            .draw_series([EmptyElement::at(place)
                + Text::new(measure.label(), (-200, -8), ("sans-serif", 15))])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}
