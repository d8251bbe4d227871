//! Progressive decoding (T.81, annex G): spectral selection and successive approximation.
//!
//! A refinement scan holds one bit for each coefficient that is not zero, so the zeros among the coefficients that are
//! not kept must be known as well ([`Component::nonzero`]). `tests/jpeg.rs` decodes progressive files with many
//! refinement scans.

use super::coefficients::{Component, bit_range};
use super::entropy::{BitReader, HuffmanTable};
use super::problem::Damaged;
use super::scan_header::{ScanComponent, ScanParams};

impl Component {
    /// Decodes the first bits, or one more, of a block's DC coefficient (T.81, G.1.2.1).
    #[inline(always)]
    pub fn decode_dc(
        &mut self,
        block: (usize, usize),
        scan: &mut ScanComponent,
        params: &ScanParams,
        bits: &mut BitReader,
    ) -> Result<(), Damaged> {
        let dc_offset = self.layout.dc_offset(block);
        if params.high == 0 {
            scan.prediction = scan.prediction.wrapping_add(bits.dc_difference(scan.dc_table()?)?);
            self.coefficients[dc_offset] = (scan.prediction << params.low) as i16;
        } else if bits.bit() {
            self.coefficients[dc_offset] |= 1 << params.low;
        }
        Ok(())
    }

    /// Decodes the first bits of a block's AC coefficients (T.81, G.1.2.2). `eob_run` counts the blocks that follow
    /// without any.
    #[inline(always)]
    pub fn decode_ac(
        &mut self,
        block: (usize, usize),
        table: &HuffmanTable,
        params: &ScanParams,
        eob_run: &mut u32,
        bits: &mut BitReader,
    ) -> Result<(), Damaged> {
        if *eob_run > 0 {
            *eob_run -= 1;
            return Ok(());
        }
        let (block, dc_offset) = (self.block_index(block), self.layout.dc_offset(block));
        let mut next = params.start;
        while next <= params.end {
            let (code, value) = bits.code_and_value(table)?;
            if code.size() > 0 {
                next += usize::from(code.symbol >> 4);
                self.store_nonzero(block, dc_offset, next, value << params.low)?;
                next += 1;
            } else if code.symbol == 0xF0 {
                next += 16;
            } else {
                let length = code.symbol >> 4;
                *eob_run = (1 << length) - 1 + bits.unsigned(length);
                break;
            }
        }
        Ok(())
    }

    /// Decodes one more bit of a block's AC coefficients (T.81, G.1.2.3).
    #[inline(always)]
    pub fn refine_ac(
        &mut self,
        block: (usize, usize),
        table: &HuffmanTable,
        params: &ScanParams,
        eob_run: &mut u32,
        bits: &mut BitReader,
    ) -> Result<(), Damaged> {
        let (block, dc_offset) = (self.block_index(block), self.layout.dc_offset(block));
        let mut next = params.start;
        while *eob_run == 0 && next <= params.end {
            let code = bits.code(table)?;
            let run = code.symbol >> 4;
            let new = match code.size() {
                0 if run == 15 => None,
                0 => {
                    *eob_run = (1 << run) + bits.unsigned(run);
                    break;
                }
                _ => Some(if bits.bit() { 1 } else { -1 }),
            };
            // `run` coefficients that stay zero come before the new one.
            let mut zeros = !self.nonzero[block] & bit_range(next, params.end);
            for _ in 0..run {
                zeros &= zeros.wrapping_sub(1);
            }
            let index = if zeros == 0 { params.end + 1 } else { zeros.trailing_zeros() as usize };
            self.refine_nonzero(block, dc_offset, (next, index), params.low, bits);
            if let Some(sign) = new {
                self.store_nonzero(block, dc_offset, index, sign << params.low)?;
            }
            next = index + 1;
        }
        if *eob_run > 0 {
            *eob_run -= 1;
            self.refine_nonzero(block, dc_offset, (next, params.end + 1), params.low, bits);
        }
        Ok(())
    }

    /// Index of a block, at a column and a row, in `nonzero`.
    #[inline(always)]
    fn block_index(&self, (column, row): (usize, usize)) -> usize {
        row * self.layout.blocks.0 + column
    }

    /// Stores a coefficient that was zero so far, by its index in zigzag order.
    #[inline(always)]
    fn store_nonzero(&mut self, block: usize, dc_offset: usize, index: usize, value: i32) -> Result<(), Damaged> {
        if index > 63 {
            return Err(Damaged);
        }
        self.nonzero[block] |= 1 << index;
        self.store(dc_offset, index, value as i16);
        Ok(())
    }

    /// Decodes the next bit of each coefficient that is not zero, from index `start` to before `end` in zigzag order.
    #[inline(always)]
    fn refine_nonzero(
        &mut self,
        block: usize,
        dc_offset: usize,
        (start, end): (usize, usize),
        low: u8,
        bits: &mut BitReader,
    ) {
        if start >= end {
            return;
        }
        let mut rest = self.nonzero[block] & bit_range(start, end - 1);
        while rest.trailing_zeros() < self.kept_end as u32 {
            let bit = bits.bit();
            if let Some(value) = self.kept(dc_offset, rest.trailing_zeros() as usize)
                && bit
            {
                *value = value.wrapping_add(value.signum() << low);
            }
            rest &= rest - 1;
        }
        bits.skip_many(rest.count_ones());
    }
}
