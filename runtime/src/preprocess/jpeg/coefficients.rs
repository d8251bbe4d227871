//! DCT coefficients of a frame: storage of those that are kept, sequential decoding (T.81, F.2), dequantisation
//! (A.3.4).
//!
//! `dct_resize.rs` tests the coefficients of sequential files, `tests/jpeg.rs` those of every kind.

use super::colours::Colours;
use super::entropy::BitReader;
use super::frame::{ComponentHeader, FrameHeader};
use super::plan::{Layout, Plan};
use super::problem::Damaged;
use super::scan_header::{ScanComponent, ScanParams};

/// The zigzag sequence (T.81, A.3.6): the index, row times 8 plus column, of each coefficient of a block.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The offset of coefficients that are not kept: that of the block's DC coefficient, which is stored after them.
const NOT_KEPT: u32 = 0;

/// A frame that is being decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub is_progressive: bool,
    pub colours: Colours,
    /// Width and height in pixels.
    pub dimensions: (usize, usize),
    /// MCUs across and down.
    pub mcus: (usize, usize),
    pub components: Vec<Component>,
}

impl Frame {
    pub fn new(header: &FrameHeader, colours: Colours, plan: Plan) -> Self {
        let components = header.components.iter().zip(plan.layouts);
        Self {
            is_progressive: header.is_progressive,
            colours,
            dimensions: header.dimensions,
            mcus: plan.mcus,
            components: components
                .map(|(component, layout)| Component::new(component, layout, header.is_progressive))
                .collect(),
        }
    }

    /// Whether the scans so far held every bit of every coefficient.
    pub fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.complete == u64::MAX)
    }

    /// Dequantises the coefficients, after the last scan.
    pub fn finish(mut self) -> Result<Self, Damaged> {
        self.components.iter_mut().try_for_each(Component::dequantise)?;
        Ok(self)
    }
}

/// The coefficients of one component.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    pub id: u8,
    /// Index of the quantisation table.
    quantisation_table: u8,
    pub layout: Layout,
    /// The kept coefficients, in the order of the layout: quantised until [`Component::dequantise`].
    pub coefficients: Vec<i16>,
    /// Offset from the block's DC coefficient of each coefficient in zigzag order, or [`NOT_KEPT`]; 64 more, so that a
    /// run of zeros past the block's end needs no check.
    offsets: [u32; 128],
    /// One more than the zigzag index of the last coefficient that is kept.
    pub(super) kept_end: usize,
    /// A bit for each coefficient in zigzag order whose last bit was in a scan.
    complete: u64,
    /// The quantisation table, in zigzag order.
    quantisation: Option<[u16; 64]>,
    /// Of a progressive frame, for each block, a bit for each coefficient in zigzag order that is not zero, those not
    /// kept included: the bits that refinement scans hold depend on it.
    pub(super) nonzero: Vec<u64>,
}

impl Component {
    fn new(header: &ComponentHeader, layout: Layout, is_progressive: bool) -> Self {
        let mut offsets = [NOT_KEPT; 128];
        let mut kept_end = 0;
        for (index, (offset, zigzag)) in offsets.iter_mut().zip(ZIGZAG).enumerate() {
            let (row, column) = (usize::from(zigzag / 8), usize::from(zigzag % 8));
            if column < layout.coefficients_per_side.0 && row < layout.coefficients_per_side.1 {
                *offset = (row * layout.stride() + column) as u32;
                kept_end = index + 1;
            }
        }
        let nonzero = vec![0; if is_progressive { layout.blocks.0 * layout.blocks.1 } else { 0 }];
        let coefficients = vec![0; layout.stride() * layout.rows()];
        let (id, quantisation_table) = (header.id, header.quantisation_table);
        Self {
            id,
            quantisation_table,
            layout,
            coefficients,
            offsets,
            kept_end,
            complete: 0,
            quantisation: None,
            nonzero,
        }
    }

    /// Takes the quantisation table that is defined when the component's first scan begins.
    pub fn take_quantisation(&mut self, tables: &[Option<[u16; 64]>; 4]) -> Result<(), Damaged> {
        if self.quantisation.is_none() {
            let table = tables.get(usize::from(self.quantisation_table)).and_then(Option::as_ref);
            self.quantisation = Some(*table.ok_or(Damaged)?);
        }
        Ok(())
    }

    /// Notes what a scan holds.
    pub fn note_scan(&mut self, params: &ScanParams, is_progressive: bool) {
        if !is_progressive {
            self.complete = u64::MAX;
        } else if params.low == 0 {
            self.complete |= bit_range(params.start, params.end);
        }
    }

    /// Whether a scan holds a coefficient that is kept.
    pub fn keeps_any(&self, params: &ScanParams) -> bool {
        params.start == 0 || self.offsets[params.start..=params.end].iter().any(|offset| *offset != NOT_KEPT)
    }

    /// Multiplies the coefficients with the quantisation table. Fails if the component had no scan.
    fn dequantise(&mut self) -> Result<(), Damaged> {
        let quantisation = self.quantisation.as_ref().ok_or(Damaged)?;
        let (across, down) = self.layout.coefficients_per_side;
        for row in 0..down {
            let mut factors = vec![0_i16; across];
            for (zigzag, factor) in ZIGZAG.iter().zip(quantisation) {
                if usize::from(zigzag / 8) == row && usize::from(zigzag % 8) < across {
                    factors[usize::from(zigzag % 8)] = *factor as i16;
                }
            }
            let factors = factors.repeat(self.layout.blocks.0);
            for line in self.coefficients.chunks_exact_mut(self.layout.stride()).skip(row).step_by(down) {
                for (value, factor) in line.iter_mut().zip(&factors) {
                    *value = value.wrapping_mul(*factor);
                }
            }
        }
        Ok(())
    }

    /// Decodes a block of a sequential frame, at a column and a row.
    #[inline(always)]
    pub fn decode_sequential(
        &mut self,
        block: (usize, usize),
        scan: &mut ScanComponent,
        bits: &mut BitReader,
    ) -> Result<(), Damaged> {
        scan.prediction = scan.prediction.wrapping_add(bits.dc_difference(scan.dc_table()?)?);
        let dc_offset = self.layout.dc_offset(block);
        let coefficients = &mut self.coefficients[dc_offset..];
        let (table, offsets, end) = (scan.ac_table()?, &self.offsets, self.kept_end);
        let mut next = 1;
        // No branch on whether a coefficient is kept: it is unpredictable, and a misprediction costs more than the
        // store.
        while next < end {
            let coefficient = bits.coefficient(table)?;
            next += usize::from(coefficient.advance);
            coefficients[offsets[(next - 1) % 128] as usize] = coefficient.value;
        }
        coefficients[0] = scan.prediction as i16;
        bits.skip_block(table, next)
    }

    /// Stores the coefficient with an index in zigzag order of the block whose DC coefficient is at `dc_offset`, if it
    /// is kept.
    #[inline(always)]
    pub(super) fn store(&mut self, dc_offset: usize, index: usize, value: i16) {
        if let Some(coefficient) = self.kept(dc_offset, index) {
            *coefficient = value;
        }
    }

    /// The AC coefficient with an index in zigzag order, if it is kept.
    #[inline(always)]
    pub(super) fn kept(&mut self, dc_offset: usize, index: usize) -> Option<&mut i16> {
        let offset = self.offsets[index];
        (offset != NOT_KEPT).then(|| &mut self.coefficients[dc_offset + offset as usize])
    }
}

/// The bits from `first` to `last`, both less than 64.
pub(super) fn bit_range(first: usize, last: usize) -> u64 {
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}
