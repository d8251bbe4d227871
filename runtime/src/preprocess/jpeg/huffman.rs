//! The entropy-coded bytes of a scan: Huffman codes, and the values behind them.

use std::cell::OnceCell;

/// Bits of the codes that are found at once; longer ones are rare.
const SHORT: u32 = 10;

/// Bits in which a code and its value are looked for at once.
const WHOLE: u32 = 11;

/// Bits in which several codes are looked for at once.
const SEVERAL: u32 = 12;

/// What a Huffman code says.
#[derive(Clone, Copy, Default)]
pub struct Code {
    /// Bits of the code and of the value behind it; 0 where no code is.
    total: u8,
    /// Bits of the code.
    length: u8,
    /// How many coefficients further it leads in a block that is not progressive; 64 at the end of the block.
    pub advance: u8,
    /// The run of zeros in the upper, the bits of the value in the lower half.
    pub symbol: u8,
}

impl Code {
    fn new(length: u32, symbol: u8) -> Self {
        let (run, size) = (symbol >> 4, symbol & 15);
        let advance = if size > 0 || run == 15 { run + 1 } else { 64 };
        Self { total: length as u8 + size, length: length as u8, advance, symbol }
    }

    /// Bits of the value.
    pub fn size(self) -> u8 {
        self.symbol & 15
    }
}

/// What a code says together with the value behind it.
#[derive(Clone, Copy, Default)]
pub struct AtomicFile {
    pub value: i16,
    /// Bits of both; 0 where they do not end within [`WHOLE`].
    total: u8,
    /// As in [`Code::advance`].
    pub advance: u8,
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
pub struct Huffman {
    /// What each beginning of [`SHORT`] bits says.
    short: Box<[Code; 1 << SHORT]>,
    /// What each beginning of [`WHOLE`] bits says.
    whole: Box<[AtomicFile; 1 << WHOLE]>,
    /// The codes that begin in [`SEVERAL`] bits, of coefficients that are passed over; made when there are any.
    several: OnceCell<Box<[Several; 1 << SEVERAL]>>,
    /// One more than the last code of each length, brought to 16 bits; not less than those of shorter ones.
    ends: [u32; 17],
    /// What to add to a code of each length for its symbol's place.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The table with so many codes of 1 to 16 bits.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([Code::default(); 1 << SHORT]),
            whole: Box::new([AtomicFile::default(); 1 << WHOLE]),
            several: OnceCell::new(),
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
                    found.fill(Code::new(length, *symbols.get(place)?));
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
        for (bits, whole) in table.whole.iter_mut().enumerate() {
            let code = table.short[bits >> (WHOLE - SHORT)];
            if u32::from(code.total) <= WHOLE {
                let value = value((bits as u64) << (64 - WHOLE) << code.length, code.size());
                *whole = AtomicFile { value: value as i16, total: code.total, advance: code.advance };
            }
        }
        Some(table)
    }

    #[inline(always)]
    fn several(&self) -> &[Several; 1 << SEVERAL] {
        self.several.get_or_init(|| Box::new(std::array::from_fn(|bits| self.several_of(bits as u32))))
    }

    /// The whole codes in [`SEVERAL`] bits up to the end of a block. The last one's value may lie behind these bits.
    fn several_of(&self, bits: u32) -> Several {
        let mut several = Several::default();
        while u32::from(several.total) < SEVERAL && several.advance < 64 {
            let left = SEVERAL - u32::from(several.total);
            let next = bits << u32::from(several.total) & ((1 << SEVERAL) - 1);
            let code = self.short[(next >> (SEVERAL - SHORT)) as usize];
            if code.total == 0 || u32::from(code.length) > left {
                break;
            }
            several.before_last = several.advance;
            several.total += code.total;
            several.advance += code.advance;
        }
        several
    }

    /// What 16 bits begin with, if the code is longer than [`SHORT`].
    #[cold]
    fn long(&self, bits: u32) -> Option<Code> {
        let length = (SHORT + 1..=16).find(|length| bits < self.ends[*length as usize])?;
        let place = (bits >> (16 - length)) as i32 + self.offsets[length as usize];
        Some(Code::new(length, *self.symbols.get(usize::try_from(place).ok()?)?))
    }
}

/// Bits of a scan. Past its end there are zeros.
pub struct Bits<'a> {
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
    /// The bits at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0, buffer: 0, count: 0, padding: 0 }
    }

    /// Makes sure of 32 bits: more than any code and its value have.
    #[inline(always)]
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

    #[inline(always)]
    fn skip(&mut self, count: u8) {
        self.buffer <<= count;
        self.count -= u32::from(count);
    }

    /// Passes over as many bits.
    #[inline(always)]
    pub fn skip_many(&mut self, mut count: u32) {
        while count > 0 {
            self.refill();
            self.skip(count.min(32) as u8);
            count -= count.min(32);
        }
    }

    /// The next code and the value behind it. Nine in ten are short enough to be found at once.
    #[inline(always)]
    pub fn next(&mut self, table: &Huffman) -> Option<AtomicFile> {
        self.refill();
        let whole = table.whole[(self.buffer >> (64 - WHOLE)) as usize];
        if whole.total > 0 {
            self.skip(whole.total);
            return Some(whole);
        }
        let (code, value) = self.code_and_value(table)?;
        Some(AtomicFile { value: value as i16, total: code.total, advance: code.advance })
    }

    /// The next code and the value behind it (T.81, F.1.2.1).
    #[inline(always)]
    pub fn code_and_value(&mut self, table: &Huffman) -> Option<(Code, i32)> {
        let code = self.peek(table)?;
        // Off the path that leads to the next code: that one waits for `total` only.
        let value = value(self.buffer << code.length, code.size());
        self.skip(code.total);
        Some((code, value))
    }

    /// The next code, without a value.
    #[inline(always)]
    pub fn code(&mut self, table: &Huffman) -> Option<Code> {
        let code = self.peek(table)?;
        self.skip(code.length);
        Some(code)
    }

    #[inline(always)]
    fn peek(&mut self, table: &Huffman) -> Option<Code> {
        self.refill();
        let code = table.short[(self.buffer >> (64 - SHORT)) as usize];
        if code.total > 0 { Some(code) } else { table.long((self.buffer >> 48) as u32) }
    }

    /// Passes over the coefficients of a block from the one at `next` on.
    #[inline(always)]
    pub fn skip_block(&mut self, table: &Huffman, mut next: usize) -> Option<()> {
        let table_of_several = table.several();
        while next < 64 {
            self.refill();
            let several = table_of_several[(self.buffer >> (64 - SEVERAL)) as usize];
            if several.total > 0 && next + usize::from(several.before_last) < 64 {
                self.skip(several.total);
                next += usize::from(several.advance);
            } else {
                let code = self.peek(table)?;
                self.skip(code.total);
                next += usize::from(code.advance);
            }
        }
        Some(())
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

    /// How much a DC value differs from the one before it.
    #[inline(always)]
    pub fn difference(&mut self, table: &Huffman) -> Option<i32> {
        let (code, value) = self.code_and_value(table)?;
        (code.symbol < 16).then_some(value)
    }

    /// Whether more was read than there is.
    #[inline(always)]
    pub fn is_overdrawn(&self) -> bool {
        self.padding > self.count
    }

    /// Goes on behind a restart marker, which must be next.
    #[inline(always)]
    pub fn restart(&mut self) -> Option<()> {
        let rest = self.rest()?;
        let is_restart = matches!(rest, [0xFF, 0xD0..=0xD7, ..]);
        let is_sound = is_restart && !self.is_overdrawn();
        *self = Self::new(rest.get(2..)?);
        is_sound.then_some(())
    }

    /// What follows the bits that were read.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.place..)
    }
}

/// The value in the first `size` bits, at most 15: those that begin with a 0 are the complement of a negative one's.
#[inline(always)]
fn value(bits: u64, size: u8) -> i32 {
    let negative = !((bits as i64) >> 63);
    let magnitude = (bits ^ negative as u64) >> 1 >> (63 - size);
    ((magnitude as i64 ^ negative) - negative) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_standard() {
        for size in 0..=15_u8 {
            for bits in 0..1_u64 << size {
                // T.81, F.2.2.1, EXTEND.
                let is_negative = size > 0 && bits < 1 << (size - 1);
                let expected = bits as i32 - if is_negative { (1 << size) - 1 } else { 0 };
                // What stands behind it must not matter.
                for rest in [0, u64::MAX] {
                    let buffer = if size == 0 { rest } else { bits << (64 - size) | rest >> size };
                    assert_eq!(value(buffer, size), expected, "{bits:b} of {size} bits");
                }
            }
        }
    }
}
