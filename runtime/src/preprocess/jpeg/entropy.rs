//! Entropy decoding (T.81, annexes C and F.2.2): Huffman codes, and the additional bits that follow them.
//!
//! `tests/jpeg.rs` decodes files of every kind with it, `tests/jpeg_scaling.rs` damaged ones.

use std::cell::OnceCell;

use super::problem::Damaged;
use super::segments::Segments;

/// Bits that index the code lookup; longer codes are rare.
const CODE_BITS: u32 = 10;

/// Bits that index the code+value lookup.
const CODE_VALUE_BITS: u32 = 11;

/// Bits that index the multi-symbol lookup.
const MULTI_SYMBOL_BITS: u32 = 12;

/// A decoded Huffman code.
#[derive(Clone, Copy, Default)]
pub struct Code {
    /// Bits of the code and of the value that follows it; 0 where there is no such code.
    total_bits: u8,
    /// Bits of the code.
    code_bits: u8,
    /// Coefficients from the one before to this code's, in a sequential block; 64 for the end of the block (EOB).
    pub advance: u8,
    /// Run of zeros in the upper four bits (RRRR), bits of the value in the lower four (SSSS).
    pub symbol: u8,
}

impl Code {
    fn new(code_bits: u32, symbol: u8) -> Self {
        let (run, size) = (symbol >> 4, symbol & 15);
        let advance = if size > 0 || run == 15 { run + 1 } else { 64 };
        Self { total_bits: code_bits as u8 + size, code_bits: code_bits as u8, advance, symbol }
    }

    /// Bits of the value (SSSS).
    pub fn size(self) -> u8 {
        self.symbol & 15
    }
}

/// A coefficient of a sequential block: a code decoded together with its value.
#[derive(Clone, Copy, Default)]
pub struct CodeAndValue {
    pub value: i16,
    /// Bits of code and value; 0 where they do not end within [`CODE_VALUE_BITS`].
    total_bits: u8,
    /// As [`Code::advance`].
    pub advance: u8,
}

/// Several consecutive codes of coefficients that are skipped.
#[derive(Clone, Copy, Default)]
struct MultiSymbol {
    /// Bits of the codes and their values; 0 where not even one code ends.
    total_bits: u8,
    /// Sum of their [`Code::advance`].
    advance: u8,
    /// That sum without the last code.
    advance_before_last: u8,
}

/// A Huffman table (T.81, annex C and F.2.2.3), with lookup tables indexed by the next bits of the scan.
pub struct HuffmanTable {
    /// Code lookup, by [`CODE_BITS`].
    codes: Box<[Code; 1 << CODE_BITS]>,
    /// Code+value lookup, by [`CODE_VALUE_BITS`].
    codes_and_values: Box<[CodeAndValue; 1 << CODE_VALUE_BITS]>,
    /// Multi-symbol lookup, by [`MULTI_SYMBOL_BITS`]; made with the first coefficients that are skipped.
    multi_symbols: OnceCell<Box<[MultiSymbol; 1 << MULTI_SYMBOL_BITS]>>,
    /// For each code length, one more than its last code, shifted to 16 bits; never less than for shorter lengths.
    code_ends: [u32; 17],
    /// For each code length, the index of a code's symbol minus the code.
    symbol_offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// The table with `counts[n - 1]` codes of `n` bits, whose symbols are listed in order of the codes (T.81, C.2).
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Damaged> {
        let mut table = Self {
            codes: Box::new([Code::default(); 1 << CODE_BITS]),
            codes_and_values: Box::new([CodeAndValue::default(); 1 << CODE_VALUE_BITS]),
            multi_symbols: OnceCell::new(),
            code_ends: [0; 17],
            symbol_offsets: [0; 17],
            symbols: symbols.into(),
        };
        let (mut code, mut index) = (0_u32, 0);
        for (length, &count) in (1_u32..).zip(counts) {
            table.symbol_offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                if length <= CODE_BITS {
                    let start = (code << (CODE_BITS - length)) as usize;
                    let entries = table.codes.get_mut(start..start + (1 << (CODE_BITS - length))).ok_or(Damaged)?;
                    entries.fill(Code::new(length, *symbols.get(index).ok_or(Damaged)?));
                }
                code += 1;
                index += 1;
            }
            table.code_ends[length as usize] = code << (16 - length);
            if code > 1 << length {
                return Err(Damaged);
            }
            code <<= 1;
        }
        for (bits, entry) in table.codes_and_values.iter_mut().enumerate() {
            let code = table.codes[bits >> (CODE_VALUE_BITS - CODE_BITS)];
            if u32::from(code.total_bits) <= CODE_VALUE_BITS {
                let value = extend((bits as u64) << (64 - CODE_VALUE_BITS) << code.code_bits, code.size());
                *entry = CodeAndValue { value: value as i16, total_bits: code.total_bits, advance: code.advance };
            }
        }
        Ok(table)
    }

    #[inline(always)]
    fn multi_symbols(&self) -> &[MultiSymbol; 1 << MULTI_SYMBOL_BITS] {
        self.multi_symbols.get_or_init(|| Box::new(std::array::from_fn(|bits| self.multi_symbol(bits as u32))))
    }

    /// The complete codes in [`MULTI_SYMBOL_BITS`] bits, at most to the end of a block. The last one's value may lie
    /// behind these bits.
    fn multi_symbol(&self, bits: u32) -> MultiSymbol {
        let mut entry = MultiSymbol::default();
        while u32::from(entry.total_bits) < MULTI_SYMBOL_BITS && entry.advance < 64 {
            let left = MULTI_SYMBOL_BITS - u32::from(entry.total_bits);
            let next = bits << u32::from(entry.total_bits) & ((1 << MULTI_SYMBOL_BITS) - 1);
            let code = self.codes[(next >> (MULTI_SYMBOL_BITS - CODE_BITS)) as usize];
            if code.total_bits == 0 || u32::from(code.code_bits) > left {
                break;
            }
            entry.advance_before_last = entry.advance;
            entry.total_bits += code.total_bits;
            entry.advance += code.advance;
        }
        entry
    }

    /// The code that 16 bits begin with, if it is longer than [`CODE_BITS`].
    #[cold]
    fn long_code(&self, bits: u32) -> Result<Code, Damaged> {
        let length = (CODE_BITS + 1..=16).find(|length| bits < self.code_ends[*length as usize]).ok_or(Damaged)?;
        let index = (bits >> (16 - length)) as i32 + self.symbol_offsets[length as usize];
        let symbol = usize::try_from(index).ok().and_then(|index| self.symbols.get(index)).ok_or(Damaged)?;
        Ok(Code::new(length, *symbol))
    }
}

/// Reader of the bits of an entropy-coded segment (T.81, B.1.1.5). Zeros follow its end.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Index of the first byte that is not in the buffer.
    index: usize,
    /// The next bits, from the most significant down.
    buffer: u64,
    /// Bits in the buffer.
    count: u32,
    /// Zero bits that were appended after the end of the segment.
    padding: u32,
}

impl<'a> BitReader<'a> {
    /// A reader of the segment at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, index: 0, buffer: 0, count: 0, padding: 0 }
    }

    /// Fills the buffer to at least 32 bits: more than any code and its value have.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count > 32 {
            return;
        }
        if let Some(bytes) = self.bytes.get(self.index..).and_then(<[u8]>::first_chunk) {
            let word = u32::from_be_bytes(*bytes);
            let has_marker = (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 != 0;
            if !has_marker {
                self.buffer |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.index += 4;
                return;
            }
        }
        self.refill_bytes();
    }

    /// Fills the buffer byte by byte: 0xFF is followed by a stuffed 0x00, or begins a marker.
    #[cold]
    fn refill_bytes(&mut self) {
        while self.count <= 48 {
            let byte = match (self.bytes.get(self.index), self.bytes.get(self.index + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.index += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(byte), _) => {
                    self.index += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn skip(&mut self, count: u8) {
        self.buffer <<= count;
        self.count -= u32::from(count);
    }

    /// Skips any number of bits.
    #[inline(always)]
    pub fn skip_many(&mut self, mut count: u32) {
        while count > 0 {
            self.refill();
            self.skip(count.min(32) as u8);
            count -= count.min(32);
        }
    }

    /// The next coefficient of a sequential block. Nine in ten are short enough for the code+value lookup.
    #[inline(always)]
    pub fn coefficient(&mut self, table: &HuffmanTable) -> Result<CodeAndValue, Damaged> {
        self.refill();
        let entry = table.codes_and_values[(self.buffer >> (64 - CODE_VALUE_BITS)) as usize];
        if entry.total_bits > 0 {
            self.skip(entry.total_bits);
            return Ok(entry);
        }
        let (code, value) = self.code_and_value(table)?;
        Ok(CodeAndValue { value: value as i16, total_bits: code.total_bits, advance: code.advance })
    }

    /// The next code and the value that follows it (T.81, F.2.2.1).
    #[inline(always)]
    pub fn code_and_value(&mut self, table: &HuffmanTable) -> Result<(Code, i32), Damaged> {
        let code = self.peek_code(table)?;
        // Off the critical path to the next code, which depends on `total_bits` only.
        let value = extend(self.buffer << code.code_bits, code.size());
        self.skip(code.total_bits);
        Ok((code, value))
    }

    /// The next code, without its value.
    #[inline(always)]
    pub fn code(&mut self, table: &HuffmanTable) -> Result<Code, Damaged> {
        let code = self.peek_code(table)?;
        self.skip(code.code_bits);
        Ok(code)
    }

    #[inline(always)]
    fn peek_code(&mut self, table: &HuffmanTable) -> Result<Code, Damaged> {
        self.refill();
        let code = table.codes[(self.buffer >> (64 - CODE_BITS)) as usize];
        if code.total_bits > 0 { Ok(code) } else { table.long_code((self.buffer >> 48) as u32) }
    }

    /// Skips the rest of a sequential block, from the coefficient `next` (zigzag order) on.
    #[inline(always)]
    pub fn skip_block(&mut self, table: &HuffmanTable, mut next: usize) -> Result<(), Damaged> {
        if next >= 64 {
            return Ok(());
        }
        let multi_symbols = table.multi_symbols();
        while next < 64 {
            self.refill();
            let entry = multi_symbols[(self.buffer >> (64 - MULTI_SYMBOL_BITS)) as usize];
            if entry.total_bits > 0 && next + usize::from(entry.advance_before_last) < 64 {
                self.skip(entry.total_bits);
                next += usize::from(entry.advance);
            } else {
                let code = self.peek_code(table)?;
                self.skip(code.total_bits);
                next += usize::from(code.advance);
            }
        }
        Ok(())
    }

    /// A number of `length` bits, at most 16.
    #[inline(always)]
    pub fn unsigned(&mut self, length: u8) -> u32 {
        self.refill();
        let value = (self.buffer >> 1 >> (63 - length)) as u32;
        self.skip(length);
        value
    }

    /// A single bit.
    #[inline(always)]
    pub fn bit(&mut self) -> bool {
        self.unsigned(1) == 1
    }

    /// The difference of a DC coefficient from its prediction (T.81, F.2.2.1).
    #[inline(always)]
    pub fn dc_difference(&mut self, table: &HuffmanTable) -> Result<i32, Damaged> {
        let (code, value) = self.code_and_value(table)?;
        if code.symbol < 16 { Ok(value) } else { Err(Damaged) }
    }

    /// Whether more bits were read than the segment has.
    #[inline(always)]
    pub fn is_past_end(&self) -> bool {
        self.padding > self.count
    }

    /// Goes on after the restart marker (RSTm) number `m`, 0 to 7.
    ///
    /// If bytes that do not belong to the segment come before the marker, they are skipped. If the marker itself is
    /// missing, which the next one tells, the bytes after the segment belong to the next.
    pub fn restart(&mut self, number: u8) -> Result<(), Damaged> {
        if self.is_past_end() {
            return Err(Damaged);
        }
        let rest = self.unread();
        let next = match rest {
            [0xFF, 0xD0..=0xD7, next @ ..] => next,
            _ => {
                let mut segments = Segments { rest };
                match segments.next_marker() {
                    Some(code) if code == 0xD0 + number => segments.rest,
                    _ => rest,
                }
            }
        };
        *self = Self::new(next);
        Ok(())
    }

    /// The bytes from the one on that the next whole byte of the segment begins with.
    fn unread(&self) -> &'a [u8] {
        let mut index = self.index;
        // Zeros after the end were no bytes.
        for _ in 0..self.count.saturating_sub(self.padding) / 8 {
            let is_stuffed = index >= 2 && self.bytes[index - 2..index] == [0xFF, 0];
            index -= if is_stuffed { 2 } else { 1 };
        }
        &self.bytes[index..]
    }

    /// The bytes that are not in the buffer, which never extends past a marker.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.index..]
    }
}

/// The procedure EXTEND (T.81, F.2.2.1) of the first `size` bits, at most 15: those that begin with a 0 are the
/// complement of a negative value's magnitude.
#[inline(always)]
fn extend(bits: u64, size: u8) -> i32 {
    let negative = !((bits as i64) >> 63);
    let magnitude = (bits ^ negative as u64) >> 1 >> (63 - size);
    ((magnitude as i64 ^ negative) - negative) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extend_gives_the_values_of_the_standard() {
        for size in 0..=15_u8 {
            for bits in 0..1_u64 << size {
                // T.81, F.2.2.1, EXTEND.
                let is_negative = size > 0 && bits < 1 << (size - 1);
                let expected = bits as i32 - if is_negative { (1 << size) - 1 } else { 0 };
                // The bits that follow must not matter.
                for rest in [0, u64::MAX] {
                    let buffer = if size == 0 { rest } else { bits << (64 - size) | rest >> size };
                    assert_eq!(extend(buffer, size), expected, "{bits:b} of {size} bits");
                }
            }
        }
    }

    #[test]
    fn codes_of_every_length_are_decoded() {
        // One code of each length, 0, 10, 110, ..., and a value of one bit behind each.
        let symbols: Vec<u8> = (0..16).map(|run| run << 4 | 1).collect();
        let table = HuffmanTable::new(&[1; 16], &symbols).unwrap();
        for length in 1..=16_u32 {
            for (bit, value) in [(0, -1), (1, 1)] {
                let bits = ((1_u32 << length) - 2) << 1 | bit;
                let mut bytes = (u64::from(bits) << (63 - length)).to_be_bytes().to_vec();
                // Byte stuffing (T.81, B.1.1.5).
                if let Some(index) = bytes.iter().position(|byte| *byte == 0xFF) {
                    bytes.insert(index + 1, 0);
                }
                let coefficient = BitReader::new(&bytes).coefficient(&table).unwrap();
                assert_eq!((coefficient.value, coefficient.advance), (value, length as u8), "{length} bits");
                let (code, decoded) = BitReader::new(&bytes).code_and_value(&table).unwrap();
                assert_eq!((code.symbol, decoded), (symbols[length as usize - 1], value.into()), "{length} bits");
            }
        }
    }

    #[test]
    fn impossible_tables_are_damaged() {
        let cases: [(&str, usize, u8, usize); 3] =
            [("three codes of one bit", 0, 3, 3), ("too few symbols", 3, 5, 4), ("more codes than 16 bits", 8, 255, 9)];
        for (what, index, count, symbols) in cases {
            let mut counts = [0; 16];
            counts[index] = count;
            assert!(HuffmanTable::new(&counts, &vec![1; symbols]).is_err(), "{what}");
        }
    }
}
