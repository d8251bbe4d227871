//! A JPEG decoded straight to a smaller size.
//!
//! A JPEG holds each 8 x 8 block of pixels as the strengths of 64 cosine waves (ITU-T T.81, A.3). The `n` x `n` longest
//! waves, put together at `n` x `n` places instead of 8 x 8, are that block at `n / 8` of its size. A large poster is
//! thus never held at its full size, the short waves are passed over as they are read, and scans that tell of nothing
//! else are not read at all.
//!
//! Halved colour needs no care of its own: a block of it spans twice as many pixels and is put together at twice as many
//! places, at most 8, so that every component comes out at one size.

use image::RgbImage;

/// The largest `n` of a scale `n / 8`. From three eighths on, to decode in full and let the filter do the rest is faster.
pub const LARGEST_SCALE: u32 = 2;

/// The place of each coefficient of a block in the order of the file: row times 8 plus column.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Where coefficients are put that are not kept.
const SPARE: u8 = 64;

/// Decodes a JPEG at `scale / 8` of its size, each side rounded up, as 8-bit RGB.
///
/// `scale` goes from 1 to [`LARGEST_SCALE`]. Returns nothing for what is damaged or of a rarer kind: other than 8 bits,
/// grey or YCbCr, Huffman coding; the decoder of full pictures reads it, or knows what to say of it.
pub fn decode(bytes: &[u8], scale: u32) -> Option<RgbImage> {
    Decoder { rest: bytes, tables: Tables::default(), restart_interval: 0, adobe_transform: None, frame: None }
        .run(scale as usize)
}

/// What the segments of the file have said so far.
struct Decoder<'a> {
    /// Bytes that have not been looked at.
    rest: &'a [u8],
    tables: Tables,
    /// Units between two restart markers; 0 if there are none.
    restart_interval: usize,
    adobe_transform: Option<u8>,
    frame: Option<Frame>,
}

#[derive(Default)]
struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
}

impl<'a> Decoder<'a> {
    fn run(mut self, scale: usize) -> Option<RgbImage> {
        loop {
            let marker = self.next_marker()?;
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            if marker == 0xD9 {
                return self.frame?.picture();
            }
            let segment = self.segment()?;
            match marker {
                0xC0..=0xC2 if self.frame.is_none() => {
                    self.frame = Some(Frame::read(segment, marker == 0xC2, scale, self.adobe_transform)?);
                }
                0xC4 => self.huffman(segment)?,
                0xC0..=0xCF | 0xDC => return None,
                0xDA => self.scan(segment)?,
                0xDB => self.quantisation(segment)?,
                0xDD => self.restart_interval = usize::from(u16_at(segment, 0)?),
                0xEE if segment.starts_with(b"Adobe") => self.adobe_transform = Some(*segment.get(11)?),
                _ => {}
            }
        }
    }

    /// The next marker's code; what stands before it, such as a scan that was not read, is passed over.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            let place = self.rest.iter().position(|byte| *byte == 0xFF)?;
            let code = *self.rest.get(place + 1)?;
            let is_fill = code == 0xFF;
            self.rest = &self.rest[place + if is_fill { 1 } else { 2 }..];
            if !is_fill && code != 0 {
                return Some(code);
            }
        }
    }

    fn segment(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let segment = self.rest.get(2..length)?;
        self.rest = &self.rest[length..];
        Some(segment)
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, values)) = segment.split_first() {
            let table = self.tables.quantisation.get_mut(usize::from(kind & 15))?.insert([0; 64]);
            let width = 1 + usize::from(kind >> 4 != 0);
            for (value, bytes) in table.iter_mut().zip(values.get(..64 * width)?.chunks_exact(width)) {
                *value = bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            segment = &values[64 * width..];
        }
        Some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let mut table = Huffman::new(counts, symbols)?;
            let is_ac = kind >> 4 != 0;
            let tables = if is_ac { &mut self.tables.ac } else { &mut self.tables.dc };
            if is_ac {
                table.several = (0..1 << SEVERAL).map(|bits| table.several_of(bits)).collect();
            }
            *tables.get_mut(usize::from(kind & 15))? = Some(table);
            segment = &rest[16 + total..];
        }
        Some(())
    }

    /// Reads one scan, unless it tells only of what is not kept.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let frame = self.frame.as_mut()?;
        let count = usize::from(*segment.first()?);
        let (&[first, last, steps], selectors) = (segment.last_chunk()?, segment.get(1..1 + 2 * count)?);
        let mut parts = Vec::with_capacity(count);
        for selector in selectors.chunks_exact(2) {
            let component = frame.components.iter().position(|component| component.id == selector[0])?;
            parts.push(Part {
                component,
                dc: self.tables.dc.get(usize::from(selector[1] >> 4))?.as_ref(),
                ac: self.tables.ac.get(usize::from(selector[1] & 15))?.as_ref(),
                previous: 0,
            });
        }
        for part in &parts {
            frame.components[part.component].take_weights(&self.tables)?;
        }
        let pass = Pass { first: first.into(), last: last.into(), high: steps >> 4, low: steps & 15 };
        if frame.is_progressive {
            let is_sound = pass.last < 64 && pass.first <= pass.last && pass.low < 14;
            if !is_sound || (pass.first == 0) != (pass.last == 0) || (pass.first > 0 && count != 1) {
                return None;
            }
            if pass.first > 0 && frame.components[parts[0].component].len() == 1 {
                return Some(());
            }
        }
        let mut bits = Bits::new(self.rest);
        frame.scan(&mut parts, &pass, self.restart_interval, &mut bits)?;
        self.rest = bits.rest()?;
        Some(())
    }
}

/// A component's share in a scan.
struct Part<'a> {
    component: usize,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
    /// The DC value before this one.
    previous: i32,
}

/// Which coefficients a progressive scan tells of, and which of their bits (T.81, G.1.1.1).
struct Pass {
    first: usize,
    last: usize,
    high: u8,
    low: u8,
}

/// The picture that is being decoded.
struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    scale: usize,
    /// Units side by side and one below the other.
    units: (usize, usize),
    components: Vec<Component>,
}

impl Frame {
    fn read(segment: &[u8], is_progressive: bool, scale: usize, adobe_transform: Option<u8>) -> Option<Self> {
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
            let size = (scale * (widest / across), scale * (highest / down));
            if size.0 > 8 || size.1 > 8 {
                return None;
            }
            components.push(Component::new(part[0], part[2], (across, down), size, units, is_progressive));
        }
        for component in &mut components {
            component.used = (
                (width * component.sampling.0).div_ceil(8 * widest),
                (height * component.sampling.1).div_ceil(8 * highest),
            );
        }
        Some(Self { is_progressive, width, height, scale, units, components })
    }

    /// Reads the entropy-coded data of a scan.
    fn scan(&mut self, parts: &mut [Part], pass: &Pass, restart_interval: usize, bits: &mut Bits) -> Option<()> {
        // A scan of one component goes over that component's own blocks, row by row (T.81, A.2.2).
        let alone = (parts.len() == 1).then(|| self.components[parts[0].component].used);
        let (across, down) = alone.unwrap_or(self.units);
        let mut run = 0;
        for unit in 0..across * down {
            if restart_interval > 0 && unit > 0 && unit % restart_interval == 0 {
                bits.restart()?;
                run = 0;
                parts.iter_mut().for_each(|part| part.previous = 0);
            }
            let (column, row) = (unit % across, unit / across);
            if column == 0 && bits.is_overdrawn() {
                return None;
            }
            for part in &mut *parts {
                let component = &mut self.components[part.component];
                let (wide, high) = if alone.is_some() { (1, 1) } else { component.sampling };
                for block in 0..wide * high {
                    let place = (column * wide + block % wide, row * high + block / wide);
                    if !self.is_progressive {
                        component.sequential(place, part, bits)?;
                    } else if pass.first == 0 {
                        component.progressive_dc(place, part, pass, bits)?;
                    } else if pass.high == 0 {
                        component.progressive_ac(place, part.ac?, pass, &mut run, bits)?;
                    } else {
                        component.refine_ac(place, part.ac?, pass, &mut run, bits)?;
                    }
                }
            }
        }
        (!bits.is_overdrawn()).then_some(())
    }

    fn picture(mut self) -> Option<RgbImage> {
        if self.is_progressive {
            self.components.iter_mut().for_each(Component::put_together);
        }
        if self.components.iter().any(|component| component.weights.is_none()) {
            return None;
        }
        let (width, height) = ((self.width * self.scale).div_ceil(8), (self.height * self.scale).div_ceil(8));
        let mut picture = RgbImage::new(width as u32, height as u32);
        let lines = picture.chunks_exact_mut(3 * width);
        match &self.components[..] {
            [grey] => {
                for (line, grey) in lines.zip(grey.rows()) {
                    for (pixel, grey) in line.chunks_exact_mut(3).zip(grey) {
                        pixel.fill(*grey);
                    }
                }
            }
            [luma, blue, red] => {
                for (line, ((luma, blue), red)) in lines.zip(luma.rows().zip(blue.rows()).zip(red.rows())) {
                    for (pixel, ((luma, blue), red)) in line.chunks_exact_mut(3).zip(luma.iter().zip(blue).zip(red)) {
                        pixel.copy_from_slice(&rgb(*luma, *blue, *red));
                    }
                }
            }
            _ => unreachable!("a frame has one or three components"),
        }
        Some(picture)
    }
}

/// ITU-T T.871, 7: the inverse of JFIF's YCbCr, in 16 bits behind the point.
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = ((i32::from(luma) << 16) + (1 << 15), i32::from(blue) - 128, i32::from(red) - 128);
    [luma + 91_881 * red, luma - 22_554 * blue - 46_802 * red, luma + 116_130 * blue]
        .map(|value| (value >> 16).clamp(0, 255) as u8)
}

/// One of the planes of a picture.
struct Component {
    id: u8,
    quantisation: u8,
    /// Blocks in a unit, across and down.
    sampling: (usize, usize),
    /// Blocks that show part of the picture, across and down; the plane may have more to make whole units.
    used: (usize, usize),
    /// Values that a block is put together at, across and down. So many coefficients of it are kept.
    size: (usize, usize),
    /// Where each coefficient, in the order of the file, is kept; with room for the longest step past the block's end.
    slots: [u8; 128],
    /// Behind the last coefficient that is kept, in the order of the file.
    end: usize,
    /// Values of each kept coefficient's step, with what the cosine transform multiplies it with.
    weights: Option<[f32; 64]>,
    basis: (Basis, Basis),
    /// Kept coefficients of each block of a progressive picture.
    coefficients: Vec<i16>,
    /// Which coefficients of each block are not zero, a bit each, those that are not kept included: refining scans
    /// depend on it.
    nonzero: Vec<u64>,
    plane: Vec<u8>,
    stride: usize,
}

impl Component {
    fn new(
        id: u8,
        quantisation: u8,
        sampling: (usize, usize),
        size: (usize, usize),
        units: (usize, usize),
        is_progressive: bool,
    ) -> Self {
        let blocks = (units.0 * sampling.0, units.1 * sampling.1);
        let stride = blocks.0 * size.0;
        let mut slots = [SPARE; 128];
        let mut end = 0;
        for (place, (slot, zigzag)) in slots.iter_mut().zip(ZIGZAG).enumerate() {
            let (row, column) = (usize::from(zigzag / 8), usize::from(zigzag % 8));
            if column < size.0 && row < size.1 {
                *slot = (row * size.0 + column) as u8;
                end = place + 1;
            }
        }
        let count = if is_progressive { blocks.0 * blocks.1 } else { 0 };
        Self {
            id,
            quantisation,
            sampling,
            used: blocks,
            size,
            slots,
            end,
            weights: None,
            basis: (basis(size.0), basis(size.1)),
            coefficients: vec![0; count * size.0 * size.1],
            nonzero: vec![0; count],
            plane: vec![0; stride * blocks.1 * size.1],
            stride,
        }
    }

    /// Coefficients that are kept of a block.
    fn len(&self) -> usize {
        self.size.0 * self.size.1
    }

    /// Takes the quantisation table that holds when the component's first scan begins.
    fn take_weights(&mut self, tables: &Tables) -> Option<()> {
        if self.weights.is_none() {
            let steps = tables.quantisation.get(usize::from(self.quantisation))?.as_ref()?;
            let mut weights = [0.0; 64];
            for (slot, step) in self.slots.iter().zip(steps).filter(|(slot, _)| **slot != SPARE) {
                weights[usize::from(*slot)] = f32::from(*step) / 8.0;
            }
            self.weights = Some(weights);
        }
        Some(())
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.plane.chunks_exact(self.stride)
    }

    /// The place of a block among those of the plane.
    fn index(&self, (column, row): (usize, usize)) -> usize {
        row * (self.stride / self.size.0) + column
    }

    /// Reads a block of a picture that is not progressive, and puts it together.
    fn sequential(&mut self, place: (usize, usize), part: &mut Part, bits: &mut Bits) -> Option<()> {
        part.previous = part.previous.wrapping_add(bits.difference(part.dc?)?);
        // No branch here: what comes next is as good as random, and a wrong guess takes longer than the work.
        let mut block = [0; SPARE as usize + 1];
        block[0] = part.previous as i16;
        let table = part.ac?;
        let mut next = 1;
        while next < self.end {
            let code = bits.code(table)?;
            bits.skip(code.total - code.size);
            next += usize::from(code.advance);
            block[usize::from(self.slots[next - 1])] = bits.value(code.size) as i16;
        }
        while next < 64 {
            bits.refill();
            let several = table.several[(bits.buffer >> (64 - SEVERAL)) as usize];
            if several.total > 0 && next + usize::from(several.before_last) < 64 {
                bits.skip(several.total);
                next += usize::from(several.advance);
            } else {
                let code = bits.code(table)?;
                bits.skip(code.total);
                next += usize::from(code.advance);
            }
        }
        self.put(place, &block[..self.len()]);
        Some(())
    }

    fn progressive_dc(&mut self, place: (usize, usize), part: &mut Part, pass: &Pass, bits: &mut Bits) -> Option<()> {
        let index = self.index(place) * self.len();
        if pass.high == 0 {
            part.previous = part.previous.wrapping_add(bits.difference(part.dc?)?);
            self.coefficients[index] = (part.previous << pass.low) as i16;
        } else if bits.bit() {
            self.coefficients[index] |= 1 << pass.low;
        }
        Some(())
    }

    /// The first bits of a block's coefficients (T.81, G.1.2.2).
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
        let index = self.index(place);
        let mut next = pass.first;
        while next <= pass.last {
            let code = bits.code(table)?;
            bits.skip(code.total - code.size);
            if code.size > 0 {
                next += usize::from(code.symbol >> 4);
                let value = bits.value(code.size);
                self.keep(index, next, value << pass.low)?;
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
    fn refine_ac(
        &mut self,
        place: (usize, usize),
        table: &Huffman,
        pass: &Pass,
        run: &mut u32,
        bits: &mut Bits,
    ) -> Option<()> {
        let index = self.index(place);
        let mut next = pass.first;
        while *run == 0 && next <= pass.last {
            let code = bits.code(table)?;
            bits.skip(code.total - code.size);
            let zeros = code.symbol >> 4;
            let new = match code.size {
                0 if zeros == 15 => None,
                0 => {
                    *run = (1 << zeros) + bits.unsigned(zeros);
                    break;
                }
                _ => Some(if bits.bit() { 1 } else { -1 }),
            };
            // The new coefficient stands behind so many that stay zero.
            let mut zero = !self.nonzero[index] & within(next, pass.last);
            for _ in 0..zeros {
                zero &= zero.wrapping_sub(1);
            }
            let place = if zero == 0 { pass.last + 1 } else { zero.trailing_zeros() as usize };
            self.refine(index, next, place, pass.low, bits);
            if let Some(sign) = new {
                self.keep(index, place, sign << pass.low)?;
            }
            next = place + 1;
        }
        if *run > 0 {
            *run -= 1;
            self.refine(index, next, pass.last + 1, pass.low, bits);
        }
        Some(())
    }

    /// A coefficient of a block that was zero so far.
    fn keep(&mut self, block: usize, place: usize, value: i32) -> Option<()> {
        let slot = *self.slots[..64].get(place)?;
        self.nonzero[block] |= 1 << place;
        if slot != SPARE {
            let len = self.len();
            self.coefficients[block * len + usize::from(slot)] = value as i16;
        }
        Some(())
    }

    /// Reads the next bit of each coefficient from `start` to before `end` that is not zero.
    fn refine(&mut self, block: usize, start: usize, end: usize, low: u8, bits: &mut Bits) {
        if start >= end {
            return;
        }
        let mut rest = self.nonzero[block] & within(start, end - 1);
        while rest.trailing_zeros() < self.end as u32 {
            let slot = self.slots[rest.trailing_zeros() as usize];
            if bits.bit() && slot != SPARE {
                let len = self.len();
                let value = &mut self.coefficients[block * len + usize::from(slot)];
                *value = value.wrapping_add(value.signum() << low);
            }
            rest &= rest - 1;
        }
        bits.skip_many(rest.count_ones());
    }

    /// Puts the blocks of a progressive picture together.
    fn put_together(&mut self) {
        let coefficients = std::mem::take(&mut self.coefficients);
        let across = self.stride / self.size.0;
        for (index, block) in coefficients.chunks_exact(self.len()).enumerate() {
            self.put((index % across, index / across), block);
        }
    }

    /// Puts a block together from its kept coefficients, in the plane.
    fn put(&mut self, (column, row): (usize, usize), block: &[i16]) {
        let Some(weights) = &self.weights else { return };
        let (width, height) = self.size;
        let start = row * height * self.stride + column * width;
        if block[1..].iter().all(|value| *value == 0) {
            let value = to_byte(f32::from(block[0]) * weights[0]);
            for line in self.plane[start..].chunks_mut(self.stride).take(height) {
                line[..width].fill(value);
            }
            return;
        }
        let (basis, plane, stride) = (&self.basis, &mut self.plane[start..], self.stride);
        match width {
            1 => transform::<1>(height, block, weights, basis, plane, stride),
            2 => transform::<2>(height, block, weights, basis, plane, stride),
            3 => transform::<3>(height, block, weights, basis, plane, stride),
            4 => transform::<4>(height, block, weights, basis, plane, stride),
            6 => transform::<6>(height, block, weights, basis, plane, stride),
            8 => transform::<8>(height, block, weights, basis, plane, stride),
            _ => unreachable!("a block is 1 to 4 values wide, or two or four times that, and at most 8"),
        }
    }
}

/// The inverse cosine transform of a block, `W` values wide and `height` high, first along its rows.
fn transform<const W: usize>(
    height: usize,
    block: &[i16],
    weights: &[f32; 64],
    basis: &(Basis, Basis),
    plane: &mut [u8],
    stride: usize,
) {
    let mut rows = [[0.0; W]; 8];
    let (values, weights) = (block.as_chunks::<W>().0, weights.as_chunks::<W>().0);
    for ((values, weights), sums) in values.iter().zip(weights).zip(&mut rows) {
        for ((value, weight), wave) in values.iter().zip(weights).zip(&basis.0) {
            add(sums, f32::from(*value) * weight, wave);
        }
    }
    for (y, line) in plane.chunks_mut(stride).take(height).enumerate() {
        let mut sums = [0.0; W];
        for (wave, row) in basis.1.iter().zip(&rows[..height]) {
            add(&mut sums, wave[y], row);
        }
        for (pixel, sum) in line.iter_mut().zip(sums) {
            *pixel = to_byte(sum);
        }
    }
}

fn add(sums: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// A value around 0 as one from 0 to 255.
fn to_byte(value: f32) -> u8 {
    (value + 128.5) as u8
}

/// The bits from `first` to `last`, both less than 64.
fn within(first: usize, last: usize) -> u64 {
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// Waves of a cosine transform, each at up to eight places.
type Basis = [[f32; 8]; 8];

/// The waves of the inverse cosine transform at `n` places (T.81, A.3.3, for 8).
fn basis(n: usize) -> Basis {
    let mut basis = [[0.0; 8]; 8];
    for (k, wave) in basis.iter_mut().enumerate().take(n) {
        for (x, value) in wave.iter_mut().enumerate().take(n) {
            let angle = (2 * x + 1) as f64 * k as f64 * std::f64::consts::PI / (2 * n) as f64;
            *value = (angle.cos() * if k == 0 { 1.0 } else { std::f64::consts::SQRT_2 }) as f32;
        }
    }
    basis
}

/// Bits of the codes that are found at once; longer ones are rare.
const SHORT: u32 = 10;

/// Bits in which several codes are looked for at once.
const SEVERAL: u32 = 12;

/// What a Huffman code says.
#[derive(Clone, Copy, Default)]
struct Code {
    /// Bits of the code and of the value behind it; 0 where no code is.
    total: u8,
    /// Bits of the value.
    size: u8,
    /// How many coefficients further it leads in a block that is not progressive; 64 at the end of the block.
    advance: u8,
    symbol: u8,
}

/// What a run of codes says to whom their values do not matter.
#[derive(Clone, Copy, Default)]
struct Several {
    /// Bits of the codes and of the values behind them; 0 where not even one code ends.
    total: u8,
    /// How many coefficients further they lead, as in [`Code::advance`].
    advance: u8,
    /// How many of these all but the last of them lead.
    before_last: u8,
}

/// A Huffman table (T.81, C and F.2.2.3).
struct Huffman {
    /// The codes that begin in so many bits, of coefficients that are passed over: most of them.
    several: Vec<Several>,
    /// What each beginning of [`SHORT`] bits says.
    short: [Code; 1 << SHORT],
    /// One more than the last code of each length, brought to 16 bits; not less than those of shorter ones.
    ends: [u32; 17],
    /// What to add to a code of each length for its symbol's place.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            several: Vec::new(),
            short: [Code::default(); 1 << SHORT],
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.into(),
        };
        let (mut code, mut place) = (0_u32, 0);
        for (length, &count) in (1_u32..).zip(counts) {
            table.offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= SHORT {
                    let start = (code << (SHORT - length)) as usize;
                    let found = table.short.get_mut(start..start + (1 << (SHORT - length)))?;
                    found.fill(Self::code_of(length, *symbols.get(place)?));
                }
                code += 1;
                place += 1;
            }
            table.ends[length as usize] = code << (16 - length);
            if code > 1 << length {
                return None;
            }
            code <<= 1;
        }
        Some(table)
    }

    /// The whole codes in [`SEVERAL`] bits up to the end of a block. The last one's value may lie behind these bits.
    fn several_of(&self, bits: u32) -> Several {
        let mut several = Several::default();
        while u32::from(several.total) < SEVERAL && several.advance < 64 {
            let left = SEVERAL - u32::from(several.total);
            let next = bits << u32::from(several.total) & ((1 << SEVERAL) - 1);
            let code = self.short[(next >> (SEVERAL - SHORT)) as usize];
            if code.total == 0 || u32::from(code.total - code.size) > left {
                break;
            }
            several.before_last = several.advance;
            several.total += code.total;
            several.advance += code.advance;
        }
        several
    }

    fn code_of(length: u32, symbol: u8) -> Code {
        let (run, size) = (symbol >> 4, symbol & 15);
        let advance = if size > 0 || run == 15 { run + 1 } else { 64 };
        Code { total: length as u8 + size, size, advance, symbol }
    }

    /// What 16 bits begin with, if the code is longer than [`SHORT`].
    #[cold]
    fn long(&self, bits: u32) -> Option<Code> {
        let length = (SHORT + 1..=16).find(|length| bits < self.ends[*length as usize])?;
        let place = (bits >> (16 - length)) as i32 + self.offsets[length as usize];
        Some(Self::code_of(length, *self.symbols.get(usize::try_from(place).ok()?)?))
    }
}

/// Bits of a scan. Past its end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    place: usize,
    /// Bits that are read next, the first of them at the top.
    buffer: u64,
    /// Bits in the buffer.
    count: u32,
    /// Zeros among them or behind them that were never in the file.
    padding: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0, buffer: 0, count: 0, padding: 0 }
    }

    /// Makes sure of 32 bits: more than any code and its value have.
    fn refill(&mut self) {
        if self.count > 32 {
            return;
        }
        if let Some(bytes) = self.bytes.get(self.place..).and_then(<[u8]>::first_chunk) {
            let word = u32::from_be_bytes(*bytes);
            let has_marker = (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 != 0;
            if !has_marker {
                self.buffer |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.place += 4;
                return;
            }
        }
        self.refill_bytes();
    }

    /// Byte by byte, as 0xFF is followed by a 0 that is no data, or is a marker's beginning.
    #[cold]
    fn refill_bytes(&mut self) {
        while self.count <= 48 {
            let byte = match (self.bytes.get(self.place), self.bytes.get(self.place + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.place += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(byte), _) => {
                    self.place += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, count: u8) {
        self.buffer <<= count;
        self.count -= u32::from(count);
    }

    fn skip_many(&mut self, mut count: u32) {
        while count > 0 {
            self.refill();
            self.skip(count.min(32) as u8);
            count -= count.min(32);
        }
    }

    /// The next code, which is not skipped; it and its value can be read without a further [`Self::refill`].
    fn code(&mut self, table: &Huffman) -> Option<Code> {
        self.refill();
        let code = table.short[(self.buffer >> (64 - SHORT)) as usize];
        if code.total > 0 { Some(code) } else { table.long((self.buffer >> 48) as u32) }
    }

    /// A number of `length` bits, at most 16.
    fn unsigned(&mut self, length: u8) -> u32 {
        self.refill();
        let value = (self.buffer >> 1 >> (63 - length)) as u32;
        self.skip(length);
        value
    }

    fn bit(&mut self) -> bool {
        self.unsigned(1) == 1
    }

    /// A value of `size` bits (T.81, F.1.2.1): those that begin with a 0 are negative.
    fn value(&mut self, size: u8) -> i32 {
        let value = (self.buffer >> 1 >> (63 - size)) as i32;
        self.skip(size);
        value - i32::from(value < (1 << size) >> 1) * ((1 << size) - 1)
    }

    /// How much a DC value differs from the one before it.
    fn difference(&mut self, table: &Huffman) -> Option<i32> {
        let code = self.code(table)?;
        self.skip(code.total - code.size);
        (code.symbol < 16).then(|| self.value(code.size))
    }

    /// Whether more was read than there is.
    fn is_overdrawn(&self) -> bool {
        self.padding > self.count
    }

    /// Goes on behind a restart marker, which must be next.
    fn restart(&mut self) -> Option<()> {
        let rest = self.rest()?;
        let is_restart = matches!(rest, [0xFF, 0xD0..=0xD7, ..]);
        let is_sound = is_restart && !self.is_overdrawn();
        *self = Self::new(rest.get(2..)?);
        is_sound.then_some(())
    }

    /// What follows the bits that were read.
    fn rest(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.place..)
    }
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(place..)?.first_chunk()?))
}
