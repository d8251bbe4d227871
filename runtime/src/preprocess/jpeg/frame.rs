//! The coefficients of a JPEG: how strong the waves of its blocks are. Only the longest waves are kept.

use super::filter;
use super::huffman::{Bits, Huffman};
use super::u16_at;

/// The place of each coefficient of a block in the order of the file: row times 8 plus column.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The slot of coefficients that are not kept: that of the block's first, which is written after them.
const NOT_KEPT: u32 = 0;

/// A component's share in a scan.
pub struct Part<'a> {
    pub component: usize,
    pub dc: Option<&'a Huffman>,
    pub ac: Option<&'a Huffman>,
    /// The DC value before this one.
    pub previous: i32,
}

/// Which coefficients a progressive scan tells of, and which of their bits (T.81, G.1.1.1).
pub struct Pass {
    pub first: usize,
    pub last: usize,
    pub high: u8,
    pub low: u8,
}

/// The picture that is being read.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub is_progressive: bool,
    /// Width and height in pixels.
    pub dimensions: (usize, usize),
    /// Units side by side and one below the other.
    units: (usize, usize),
    /// One, of light, or three, of light and of the two differences of colour (ITU-T T.871).
    pub components: Vec<Component>,
}

impl Frame {
    /// What the header of a frame says, if the picture is one to be read here for the `wanted` size.
    pub fn read(segment: &[u8], is_progressive: bool, wanted: (u32, u32), adobe_transform: Option<u8>) -> Option<Self> {
        let (&[precision, _, _, _, _, count], rest) = segment.split_first_chunk()?;
        let (height, width) = (usize::from(u16_at(segment, 1)?), usize::from(u16_at(segment, 3)?));
        let described: Vec<&[u8; 3]> = rest.as_chunks().0.iter().take(count.into()).collect();
        let is_rgb = adobe_transform == Some(0) || described.iter().map(|part| part[0]).eq(*b"RGB");
        if precision != 8 || width * height == 0 || described.len() != usize::from(count) {
            return None;
        }
        if !(count == 1 || count == 3 && !is_rgb) {
            return None;
        }
        let scale = (width as f64 / f64::from(wanted.0), height as f64 / f64::from(wanted.1));
        if scale.0.min(scale.1) < filter::LEAST_SCALE {
            return None;
        }
        let sampling = |part: &[u8; 3]| (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        let widest = described.iter().map(|part| sampling(part).0).max()?;
        let highest = described.iter().map(|part| sampling(part).1).max()?;
        if widest == 0 || highest == 0 {
            return None;
        }
        let units = (width.div_ceil(8 * widest), height.div_ceil(8 * highest));
        let mut components = Vec::with_capacity(3);
        for part in described {
            let (across, down) = sampling(part);
            let is_whole = across > 0 && down > 0 && widest % across == 0 && highest % down == 0;
            if !is_whole || across > 4 || down > 4 {
                return None;
            }
            let spread = (widest / across, highest / down);
            let waves = (filter::waves(scale.0 / spread.0 as f64), filter::waves(scale.1 / spread.1 as f64));
            let mut component = Component::new(part, (across, down), spread, units, waves, is_progressive);
            component.used = (width.div_ceil(8 * spread.0), height.div_ceil(8 * spread.1));
            components.push(component);
        }
        // Both differences of colour go through the same filter.
        if components.len() == 3 && components[1].spread != components[2].spread {
            return None;
        }
        Some(Self { is_progressive, dimensions: (width, height), units, components })
    }

    /// Reads the entropy-coded data of a scan.
    #[inline(always)]
    pub fn scan(&mut self, parts: &mut [Part], pass: &Pass, restart_interval: usize, bits: &mut Bits) -> Option<()> {
        // A scan of one component goes over that component's own blocks, row by row (T.81, A.2.2).
        let alone = (parts.len() == 1).then(|| self.components[parts[0].component].used);
        let (across, down) = alone.unwrap_or(self.units);
        let (mut run, mut until_restart) = (0, restart_interval);
        for row in 0..down {
            if bits.is_overdrawn() {
                return None;
            }
            for column in 0..across {
                if restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart()?;
                        (run, until_restart) = (0, restart_interval);
                        parts.iter_mut().for_each(|part| part.previous = 0);
                    }
                    until_restart -= 1;
                }
                for part in &mut *parts {
                    let component = &mut self.components[part.component];
                    let (wide, high) = if alone.is_some() { (1, 1) } else { component.sampling };
                    for y in row * high..(row + 1) * high {
                        for x in column * wide..(column + 1) * wide {
                            if !self.is_progressive {
                                component.sequential((x, y), part, bits)?;
                            } else if pass.first == 0 {
                                component.progressive_dc((x, y), part, pass, bits)?;
                            } else if pass.high == 0 {
                                component.progressive_ac((x, y), part.ac?, pass, &mut run, bits)?;
                            } else {
                                component.refine_ac((x, y), part.ac?, pass, &mut run, bits)?;
                            }
                        }
                    }
                }
            }
        }
        (!bits.is_overdrawn()).then_some(())
    }

    /// The frame when all of its scans are read.
    pub fn finish(mut self) -> Option<Self> {
        self.components.iter_mut().try_for_each(Component::finish)?;
        Some(self)
    }
}

/// One of the planes of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    pub id: u8,
    quantisation: u8,
    /// Blocks in a unit, across and down.
    sampling: (usize, usize),
    /// Pixels that a sample spans, across and down.
    pub spread: (usize, usize),
    /// Blocks that show part of the picture, across and down; there may be more, to make whole units.
    used: (usize, usize),
    /// Blocks, across and down.
    pub blocks: (usize, usize),
    /// Waves of a block that are kept, across and down.
    pub waves: (usize, usize),
    /// Where a block's coefficients, in the order of the file, are kept behind its first one; with room for the longest
    /// step past the block's end.
    slots: [u32; 128],
    /// Behind the last coefficient that is kept, in the order of the file.
    end: usize,
    /// Each coefficient's quantisation step, in the order of the file.
    steps: Option<[u16; 64]>,
    /// A matrix `[blocks down * waves down, blocks across * waves across]`: a block's waves lie side by side and one
    /// below the other. In steps first, multiplied with them at the end.
    pub coefficients: Vec<i16>,
    /// Which coefficients of each block of a progressive picture are not zero, a bit each, those that are not kept
    /// included: refining scans depend on it.
    nonzero: Vec<u64>,
}

impl Component {
    fn new(
        &[id, _, quantisation]: &[u8; 3],
        sampling: (usize, usize),
        spread: (usize, usize),
        units: (usize, usize),
        waves: (usize, usize),
        is_progressive: bool,
    ) -> Self {
        let blocks = (units.0 * sampling.0, units.1 * sampling.1);
        let stride = blocks.0 * waves.0;
        let mut slots = [NOT_KEPT; 128];
        let mut end = 0;
        for (place, (slot, zigzag)) in slots.iter_mut().zip(ZIGZAG).enumerate() {
            let (row, column) = (usize::from(zigzag / 8), usize::from(zigzag % 8));
            if column < waves.0 && row < waves.1 {
                *slot = (row * stride + column) as u32;
                end = place + 1;
            }
        }
        let nonzero = vec![0; if is_progressive { blocks.0 * blocks.1 } else { 0 }];
        let coefficients = vec![0; stride * blocks.1 * waves.1];
        Self {
            id,
            quantisation,
            sampling,
            spread,
            used: blocks,
            blocks,
            waves,
            slots,
            end,
            steps: None,
            coefficients,
            nonzero,
        }
    }

    /// Values in a row of the matrix.
    pub fn stride(&self) -> usize {
        self.blocks.0 * self.waves.0
    }

    /// Takes the quantisation table that holds when the component's first scan begins.
    pub fn take_steps(&mut self, tables: &[Option<[u16; 64]>; 4]) -> Option<()> {
        if self.steps.is_none() {
            self.steps = Some(*tables.get(usize::from(self.quantisation))?.as_ref()?);
        }
        Some(())
    }

    /// Whether a pass tells of a coefficient that is kept.
    pub fn keeps_any(&self, pass: &Pass) -> bool {
        pass.first == 0 || self.slots[pass.first..=pass.last].iter().any(|slot| *slot != NOT_KEPT)
    }

    /// Multiplies the coefficients with their steps. Nothing if the component had no scan.
    fn finish(&mut self) -> Option<()> {
        let steps = self.steps.as_ref()?;
        let stride = self.blocks.0 * self.waves.0;
        for row in 0..self.waves.1 {
            let mut factors = vec![0_i16; self.waves.0];
            for (zigzag, step) in ZIGZAG.iter().zip(steps) {
                if usize::from(zigzag / 8) == row && usize::from(zigzag % 8) < self.waves.0 {
                    factors[usize::from(zigzag % 8)] = *step as i16;
                }
            }
            let factors = factors.repeat(self.blocks.0);
            for line in self.coefficients.chunks_exact_mut(stride).skip(row).step_by(self.waves.1) {
                for (value, factor) in line.iter_mut().zip(&factors) {
                    *value = value.wrapping_mul(*factor);
                }
            }
        }
        Some(())
    }

    /// The place of a block's first coefficient.
    #[inline(always)]
    fn start(&self, (column, row): (usize, usize)) -> usize {
        row * self.waves.1 * self.blocks.0 * self.waves.0 + column * self.waves.0
    }

    /// Reads a block of a picture that is not progressive.
    #[inline(always)]
    fn sequential(&mut self, place: (usize, usize), part: &mut Part, bits: &mut Bits) -> Option<()> {
        part.previous = part.previous.wrapping_add(bits.difference(part.dc?)?);
        let start = self.start(place);
        let (block, table, slots, end) = (&mut self.coefficients[start..], part.ac?, &self.slots, self.end);
        let mut next = 1;
        // No branch here on what is kept: what comes next is as good as random, and a wrong guess takes longer than the work.
        while next < end {
            let code = bits.next(table)?;
            next += usize::from(code.advance);
            block[slots[(next - 1) % 128] as usize] = code.value;
        }
        block[0] = part.previous as i16;
        bits.skip_block(table, next)
    }

    #[inline(always)]
    fn progressive_dc(&mut self, place: (usize, usize), part: &mut Part, pass: &Pass, bits: &mut Bits) -> Option<()> {
        let start = self.start(place);
        if pass.high == 0 {
            part.previous = part.previous.wrapping_add(bits.difference(part.dc?)?);
            self.coefficients[start] = (part.previous << pass.low) as i16;
        } else if bits.bit() {
            self.coefficients[start] |= 1 << pass.low;
        }
        Some(())
    }

    /// The first bits of a block's coefficients (T.81, G.1.2.2).
    #[inline(always)]
    fn progressive_ac(
        &mut self,
        place: (usize, usize),
        table: &Huffman,
        pass: &Pass,
        run: &mut u32,
        bits: &mut Bits,
    ) -> Option<()> {
        if *run > 0 {
            *run -= 1;
            return Some(());
        }
        let block = place.1 * self.blocks.0 + place.0;
        let start = self.start(place);
        let mut next = pass.first;
        while next <= pass.last {
            let (code, value) = bits.code_and_value(table)?;
            if code.size() > 0 {
                next += usize::from(code.symbol >> 4);
                self.keep(block, start, next, value << pass.low)?;
                next += 1;
            } else if code.symbol == 0xF0 {
                next += 16;
            } else {
                let length = code.symbol >> 4;
                *run = (1 << length) - 1 + bits.unsigned(length);
                break;
            }
        }
        Some(())
    }

    /// One more bit of a block's coefficients (T.81, G.1.2.3).
    #[inline(always)]
    fn refine_ac(
        &mut self,
        place: (usize, usize),
        table: &Huffman,
        pass: &Pass,
        run: &mut u32,
        bits: &mut Bits,
    ) -> Option<()> {
        let block = place.1 * self.blocks.0 + place.0;
        let start = self.start(place);
        let mut next = pass.first;
        while *run == 0 && next <= pass.last {
            let code = bits.code(table)?;
            let zeros = code.symbol >> 4;
            let new = match code.size() {
                0 if zeros == 15 => None,
                0 => {
                    *run = (1 << zeros) + bits.unsigned(zeros);
                    break;
                }
                _ => Some(if bits.bit() { 1 } else { -1 }),
            };
            // The new coefficient stands behind so many that stay zero.
            let mut zero = !self.nonzero[block] & within(next, pass.last);
            for _ in 0..zeros {
                zero &= zero.wrapping_sub(1);
            }
            let place = if zero == 0 { pass.last + 1 } else { zero.trailing_zeros() as usize };
            self.refine(block, start, (next, place), pass.low, bits);
            if let Some(sign) = new {
                self.keep(block, start, place, sign << pass.low)?;
            }
            next = place + 1;
        }
        if *run > 0 {
            *run -= 1;
            self.refine(block, start, (next, pass.last + 1), pass.low, bits);
        }
        Some(())
    }

    /// A coefficient of a block that was zero so far.
    #[inline(always)]
    fn keep(&mut self, block: usize, start: usize, coefficient: usize, value: i32) -> Option<()> {
        if coefficient > 63 {
            return None;
        }
        self.nonzero[block] |= 1 << coefficient;
        let slot = self.slots[coefficient];
        if slot != NOT_KEPT {
            self.coefficients[start + slot as usize] = value as i16;
        }
        Some(())
    }

    /// Reads the next bit of each coefficient from `first` to before `end` that is not zero.
    #[inline(always)]
    fn refine(&mut self, block: usize, start: usize, (first, end): (usize, usize), low: u8, bits: &mut Bits) {
        if first >= end {
            return;
        }
        let mut rest = self.nonzero[block] & within(first, end - 1);
        while rest.trailing_zeros() < self.end as u32 {
            let slot = self.slots[rest.trailing_zeros() as usize];
            if bits.bit() && slot != NOT_KEPT {
                let value = &mut self.coefficients[start + slot as usize];
                *value = value.wrapping_add(value.signum() << low);
            }
            rest &= rest - 1;
        }
        bits.skip_many(rest.count_ones());
    }
}

/// The bits from `first` to `last`, both less than 64.
fn within(first: usize, last: usize) -> u64 {
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}
