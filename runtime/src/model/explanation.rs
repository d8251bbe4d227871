//! Activation maps (Grad-CAM) of a genre, as a picture over the poster.
//!
//! The classifier head sees the means of feature maps of several scales. Its two linear layers with a ReLU between them
//! are, around one poster, a linear function of these means, whose slopes have a closed form. So the logit of a genre is a
//! constant plus a sum over the places of the feature maps: Grad-CAM (Selvaraju et al., 2017) without its average over
//! gradients, since the gradient is the same at every place, and with every scale that the head sees.
//!
//! Exact: the sum of all contributions and the constant is the logit. Approximate: which pixels a place stands for, since
//! a feature looks at a field larger than its cell; what would happen if a part of the poster were changed, since the
//! ReLUs would switch and the features around it change, too; and the interpolation of the coarse scales.

use super::prediction::Prediction;
use crate::kernels::{Evidence, MobileNet};
use crate::preprocess::Rgb8Image;

/// Pixels of the network's input on a side of a cell of the map.
pub(super) const CELL: usize = 32;

/// A prediction that can say where it comes from.
pub struct Explanation<'a> {
    pub(super) prediction: Prediction,
    pub(super) network: &'a MobileNet,
    pub(super) evidence: Evidence,
}

impl Explanation<'_> {
    /// The prediction itself. Its probabilities differ from those of [`Model::classify_image`](crate::Model::classify_image)
    /// in the last digits, since sums are taken in another order.
    pub fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// The activation map of a genre, by its place in the card.
    ///
    /// # Panics
    /// If there is no such genre.
    pub fn map(&self, genre: usize) -> ActivationMap {
        let scales = self.network.contributions(&self.evidence, genre);
        let finest = scales.iter().fold([1, 1], |finest, (grid, _)| [0, 1].map(|side| grid[side].max(finest[side])));
        let [rows, columns] = finest;
        let mut values = vec![0.0; rows * columns];
        for (grid, cells) in scales {
            // A cell's contribution is spread over its share of the poster.
            let density = (grid[0] * grid[1]) as f32 / (rows * columns) as f32;
            let scale = ActivationMap { grid, values: cells };
            for (index, value) in values.iter_mut().enumerate() {
                let middle = |place: usize, count: usize| (place as f32 + 0.5) / count as f32;
                *value += density * scale.at(middle(index / columns, rows), middle(index % columns, columns));
            }
        }
        ActivationMap { grid: finest, values }
    }
}

/// Contribution of each part of a poster to the logit of a genre.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationMap {
    /// Rows and columns.
    pub grid: [usize; 2],
    /// `[rows, columns]`: parts of the logit, in nats; negative where the poster speaks against the genre.
    pub values: Vec<f32>,
}

impl ActivationMap {
    /// The map at a place, 0 to 1 from the top and from the left, interpolated between the middles of the cells.
    pub fn at(&self, top: f32, left: f32) -> f32 {
        let between = |place: f32, count: usize| {
            let place = (place * count as f32 - 0.5).clamp(0.0, (count - 1) as f32);
            (place as usize, (place as usize + 1).min(count - 1), place.fract())
        };
        let [rows, columns] = self.grid;
        let (above, below, down) = between(top, rows);
        let (before, behind, across) = between(left, columns);
        let row = |row: usize| {
            let [first, second] = [before, behind].map(|column| self.values[row * columns + column]);
            first + (second - first) * across
        };
        row(above) + (row(below) - row(above)) * down
    }

    /// Lays the map over a poster: grey where nothing speaks for the genre, to yellow where most does.
    pub fn overlay(&self, poster: &Rgb8Image) -> Rgb8Image {
        let (width, height) = poster.dimensions();
        let highest = self.values.iter().copied().fold(0.0, f32::max);
        let mut pixels = poster.pixels();
        Rgb8Image::from_fn(width, height, |x, y| {
            let [red, green, blue] = pixels.next().expect("the two images have the same pixels").map(f32::from);
            let value = self.at((y as f32 + 0.5) / height as f32, (x as f32 + 0.5) / width as f32);
            let heat = if highest > 0.0 { (value / highest).clamp(0.0, 1.0) } else { 0.0 };
            let grey = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            let colour = heat_colour(heat);
            let weight = 0.15 + 0.5 * heat;
            [0, 1, 2].map(|channel| (grey * 0.75 * (1.0 - weight) + colour[channel] * weight).round() as u8)
        })
    }
}

/// Colours from none to most that also differ in lightness, so that they can be told apart in grey and by people with
/// colour blindness: five stops of matplotlib's "inferno".
fn heat_colour(heat: f32) -> [f32; 3] {
    const STOPS: [[f32; 3]; 5] =
        [[0.0, 0.0, 4.0], [87.0, 16.0, 110.0], [188.0, 55.0, 84.0], [249.0, 142.0, 9.0], [252.0, 255.0, 164.0]];
    let place = heat * (STOPS.len() - 1) as f32;
    let first = (place as usize).min(STOPS.len() - 2);
    let part = place - first as f32;
    [0, 1, 2].map(|channel| STOPS[first][channel] + (STOPS[first + 1][channel] - STOPS[first][channel]) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_exact_in_the_middles_of_its_cells_and_level_at_its_ends() {
        let map = ActivationMap { grid: [2, 3], values: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0] };
        let cases = [
            (0.25, 1.0 / 6.0, 0.0),
            (0.25, 0.5, 1.0),
            (0.75, 5.0 / 6.0, 12.0),
            (0.5, 0.5, 6.0),
            (0.0, 0.0, 0.0),
            (1.0, 1.0, 12.0),
        ];
        for (top, left, expected) in cases {
            assert!((map.at(top, left) - expected).abs() < 1e-4, "{top} {left}: {}", map.at(top, left));
        }
    }

    #[test]
    fn the_brightest_place_of_an_overlay_is_where_most_speaks_for_the_genre() {
        let poster = Rgb8Image::from_fn(30, 20, |_, _| [90, 120, 60]);
        let map = ActivationMap { grid: [2, 3], values: vec![-3.0, 0.0, 0.5, 0.0, 2.0, -1.0] };
        let overlay = map.overlay(&poster);
        let lightness = |index: usize| overlay.as_raw()[3 * index..][..3].iter().map(|it| u32::from(*it)).sum::<u32>();
        let brightest = (0..600).max_by_key(|index| lightness(*index)).unwrap();
        assert_eq!((brightest / 30 >= 10, brightest % 30 / 10), (true, 1), "{brightest}");
        let nothing = ActivationMap { grid: [1, 1], values: vec![-1.0] }.overlay(&poster);
        assert!(nothing.pixels().all(|pixel| pixel == nothing.pixels().next().unwrap()), "no place speaks for it");
    }
}
