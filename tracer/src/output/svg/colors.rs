//! Colours of regions.

use inferno::flamegraph::color::Color;

use crate::profile::regions::{RegionIndex, Regions};

/// Colours on which black text can be read, and which can be told apart: ColorBrewer's Set3 without its grey (Harrower
/// and Brewer, The Cartographic Journal 40 (2003) 27).
const REGIONS: [Color; 11] = [
    rgb(128, 177, 211),
    rgb(253, 180, 98),
    rgb(179, 222, 105),
    rgb(251, 128, 114),
    rgb(188, 128, 189),
    rgb(141, 211, 199),
    rgb(255, 237, 111),
    rgb(252, 205, 229),
    rgb(190, 186, 218),
    rgb(204, 235, 197),
    rgb(255, 255, 179),
];

/// Frames of no region.
const OTHER: Color = rgb(217, 217, 217);
/// Frames of several regions.
pub const SEVERAL: Color = rgb(244, 244, 238);

const fn rgb(r: u8, g: u8, b: u8) -> Color {
    Color { r, g, b }
}

/// The colour of a region. The twelfth region has that of the first, but darker, and so on.
pub fn of_region(region: RegionIndex, regions: &Regions) -> Color {
    let region = usize::from(region);
    if region + 1 >= regions.names.len() {
        return OTHER;
    }
    scaled(REGIONS[region % REGIONS.len()], 100 - 15 * (region / REGIONS.len()).min(3) as u32)
}

/// A little darker, or not, by a name's index: frames of the same region that touch can be told apart.
pub fn shaded(color: Color, name: u32) -> Color {
    scaled(color, 100 - 3 * (name.wrapping_mul(0x9e37_79b9) >> 30))
}

fn scaled(Color { r, g, b }: Color, percent: u32) -> Color {
    let scaled = |part: u8| (u32::from(part) * percent / 100) as u8;
    rgb(scaled(r), scaled(g), scaled(b))
}
