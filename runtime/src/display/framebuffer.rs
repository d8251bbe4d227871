//! The framebuffer of Linux, `/dev/fb0`: a screen, or a small panel with a driver in the kernel.
//!
//! Structures and requests are those of `include/uapi/linux/fb.h`.

use std::ffi::c_ulong;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::ioctl::{Getter, Opcode, ioctl};

use super::{Colors, Display, DisplayError, Panel, Picture};

const FBIOGET_VSCREENINFO: Opcode = 0x4600;
const FBIOGET_FSCREENINFO: Opcode = 0x4602;

/// `struct fb_bitfield`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Bitfield {
    offset: u32,
    length: u32,
    msb_right: u32,
}

/// `struct fb_var_screeninfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct VariableInfo {
    width: u32,
    height: u32,
    _virtual_size: [u32; 2],
    x_offset: u32,
    y_offset: u32,
    bits_per_pixel: u32,
    _grayscale: u32,
    red: Bitfield,
    green: Bitfield,
    blue: Bitfield,
    transparency: Bitfield,
    _others: [u32; 20],
}

/// `struct fb_fix_screeninfo`.
#[repr(C)]
struct FixedInfo {
    _id: [u8; 16],
    _memory_start: c_ulong,
    _memory_length: u32,
    kind: u32,
    _kind_aux: u32,
    visual: u32,
    _steps: [u16; 3],
    line_length: u32,
    _mmio_start: c_ulong,
    _mmio_length: u32,
    _acceleration: u32,
    _capabilities: u16,
    _reserved: [u16; 2],
}

/// `FB_TYPE_PACKED_PIXELS`.
const PACKED_PIXELS: u32 = 0;

/// `FB_VISUAL_TRUECOLOR` and `FB_VISUAL_DIRECTCOLOR`.
const VISUALS_OF_COLORS: [u32; 2] = [2, 4];

/// A framebuffer device of 16, 24 or 32 bits per pixel.
pub struct Framebuffer {
    path: PathBuf,
    panel: Panel,
    file: File,
    format: Format,
}

/// The place of the visible pixels in the device's memory, and their bits.
#[derive(Clone, Copy, Debug)]
struct Format {
    width: u32,
    height: u32,
    /// Byte of the first visible pixel.
    start: u64,
    /// Bytes from one line to the next.
    line_length: u64,
    bytes_per_pixel: usize,
    /// Red, green and blue.
    fields: [Bitfield; 3],
    /// Bits that are always set, so that a screen with transparency is opaque.
    opaque: u32,
}

impl Framebuffer {
    /// Opens a device. Its panel may show fewer colours than the kernel says.
    #[expect(unsafe_code, reason = "the kernel tells the format of a framebuffer only by ioctl")]
    pub fn open(path: &Path, colors: Colors) -> Result<Self, DisplayError> {
        let unusable = |cause: io::Error| DisplayError::unusable(path, cause);
        let unsupported = |problem| DisplayError::Unsupported { path: path.to_path_buf(), problem };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(unusable)?;
        // SAFETY: each request only writes the structure of its type, which is defined by the kernel's interface.
        let (variable, fixed) = unsafe {
            (
                ioctl(&file, Getter::<FBIOGET_VSCREENINFO, VariableInfo>::new()),
                ioctl(&file, Getter::<FBIOGET_FSCREENINFO, FixedInfo>::new()),
            )
        };
        let (Ok(variable), Ok(fixed)) = (variable, fixed) else {
            return Err(unsupported("it is no framebuffer".to_string()));
        };
        let format = Format::new(&variable, &fixed).map_err(unsupported)?;
        let panel =
            Panel { width: format.width, height: format.height, colors }.checked(&path.display().to_string())?;
        Ok(Self { path: path.to_path_buf(), panel, file, format })
    }
}

impl Display for Framebuffer {
    fn panel(&self) -> Panel {
        self.panel
    }

    fn show(&mut self, picture: &Picture) -> Result<(), DisplayError> {
        assert_eq!(picture.panel(), self.panel, "the picture must be drawn for this panel");
        self.format.write(&self.file, picture).map_err(|cause| DisplayError::unusable(&self.path, cause))
    }
}

impl Format {
    fn new(variable: &VariableInfo, fixed: &FixedInfo) -> Result<Self, String> {
        let &VariableInfo { width, height, bits_per_pixel, red, green, blue, transparency, .. } = variable;
        let fields = [red, green, blue];
        let fits = |field: &Bitfield| {
            (1..=8).contains(&field.length)
                && field.msb_right == 0
                && field.offset.checked_add(field.length).is_some_and(|end| end <= bits_per_pixel)
        };
        let is_color = fixed.kind == PACKED_PIXELS && VISUALS_OF_COLORS.contains(&fixed.visual);
        if !is_color || ![16, 24, 32].contains(&bits_per_pixel) || !fields.iter().all(fits) {
            return Err(format!("it has {bits_per_pixel} bits per pixel, but not 16, 24 or 32 of red, green and blue"));
        }
        let bytes_per_pixel = bits_per_pixel / 8;
        let line_length = u64::from(fixed.line_length);
        if line_length < u64::from(width) * u64::from(bytes_per_pixel) {
            return Err(format!("its lines of {line_length} bytes are too short for {width} pixels"));
        }
        let start =
            u64::from(variable.y_offset) * line_length + u64::from(variable.x_offset) * u64::from(bytes_per_pixel);
        let opaque = if fits(&transparency) { ((1 << transparency.length) - 1) << transparency.offset } else { 0 };
        Ok(Self { width, height, start, line_length, bytes_per_pixel: bytes_per_pixel as usize, fields, opaque })
    }

    /// A pixel's value.
    fn pack(&self, color: [u8; 3]) -> u32 {
        let fields = self.fields.iter().zip(color);
        fields.fold(self.opaque, |value, (field, sample)| {
            value | (u32::from(sample) >> (8 - field.length)) << field.offset
        })
    }

    /// Writes the visible pixels line by line; the bytes between two lines are left alone.
    fn write(&self, file: &File, picture: &Picture) -> io::Result<()> {
        let width = self.width as usize;
        let mut bytes = Vec::with_capacity(width * self.bytes_per_pixel);
        for (line, y) in picture.pixels().as_raw().as_chunks::<3>().0.chunks(width).zip(0..) {
            bytes.clear();
            for color in line {
                // The kernel counts the bits of a little-endian machine from the first byte on.
                bytes.extend_from_slice(&self.pack(*color).to_le_bytes()[..self.bytes_per_pixel]);
            }
            file.write_all_at(&bytes, self.start + y * self.line_length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::draw_target::DrawTarget;
    use embedded_graphics::pixelcolor::Rgb888;

    use super::*;

    fn field(offset: u32, length: u32) -> Bitfield {
        Bitfield { offset, length, msb_right: 0 }
    }

    #[expect(unsafe_code, reason = "the kernel's structure has no default")]
    fn fixed(line_length: u32, visual: u32) -> FixedInfo {
        // SAFETY: every field is a number.
        FixedInfo { line_length, visual, kind: PACKED_PIXELS, ..unsafe { std::mem::zeroed() } }
    }

    #[test]
    fn structures_have_the_size_of_the_kernel() {
        assert_eq!(size_of::<VariableInfo>(), 160);
        assert_eq!(size_of::<FixedInfo>(), if size_of::<c_ulong>() == 8 { 80 } else { 68 });
    }

    #[test]
    fn pixels_are_written_where_and_as_the_device_says() {
        struct Case {
            bits_per_pixel: u32,
            fields: [Bitfield; 3],
            transparency: Bitfield,
            /// Bytes of the pixel (0xf8, 0x64, 0x10).
            pixel: &'static [u8],
        }
        let cases = [
            // RGB565: 11111 011001 00010.
            Case {
                bits_per_pixel: 16,
                fields: [field(11, 5), field(5, 6), field(0, 5)],
                transparency: Bitfield::default(),
                pixel: &[0x22, 0xfb],
            },
            Case {
                bits_per_pixel: 24,
                fields: [field(16, 8), field(8, 8), field(0, 8)],
                transparency: Bitfield::default(),
                pixel: &[0x10, 0x64, 0xf8],
            },
            Case {
                bits_per_pixel: 32,
                fields: [field(16, 8), field(8, 8), field(0, 8)],
                transparency: field(24, 8),
                pixel: &[0x10, 0x64, 0xf8, 0xff],
            },
            Case {
                bits_per_pixel: 32,
                fields: [field(0, 8), field(8, 8), field(16, 8)],
                transparency: Bitfield::default(),
                pixel: &[0xf8, 0x64, 0x10, 0x00],
            },
        ];
        for Case { bits_per_pixel, fields: [red, green, blue], transparency, pixel } in cases {
            let variable = VariableInfo {
                width: 2,
                height: 2,
                x_offset: 1,
                y_offset: 1,
                bits_per_pixel,
                red,
                green,
                blue,
                transparency,
                ..VariableInfo::default()
            };
            let format = Format::new(&variable, &fixed(20, 2)).unwrap();
            let mut picture = Picture::new(Panel { width: 2, height: 2, colors: Colors::Rgb });
            let Ok(()) = picture.clear(Rgb888::new(0xf8, 0x64, 0x10));
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&[0x55; 80], 0).unwrap();
            format.write(&file, &picture).unwrap();
            let mut written = [0; 80];
            file.read_exact_at(&mut written, 0).unwrap();
            let mut expected = [0x55; 80];
            for line in [20, 40] {
                let start = line + pixel.len();
                expected[start..start + 2 * pixel.len()].copy_from_slice(&[pixel, pixel].concat());
            }
            assert_eq!(written, expected, "{bits_per_pixel} bits, {red:?}");
        }
    }

    #[test]
    fn other_formats_are_declined() {
        let rgb = |bits_per_pixel| VariableInfo {
            width: 9,
            height: 9,
            bits_per_pixel,
            red: field(11, 5),
            green: field(5, 6),
            blue: field(0, 5),
            ..VariableInfo::default()
        };
        let wide = VariableInfo { red: field(30, 8), ..rgb(32) };
        for (name, variable, fixed) in [
            ("monochrome", rgb(1), fixed(100, 0)),
            ("palette", rgb(8), fixed(100, 3)),
            ("15 bits", rgb(15), fixed(100, 2)),
            ("grey of 16 bits", rgb(16), fixed(100, 3)),
            ("short lines", rgb(16), fixed(17, 2)),
            ("a field outside of the pixel", wide, fixed(100, 2)),
        ] {
            assert!(Format::new(&variable, &fixed).is_err(), "{name}");
        }
    }

    #[test]
    fn wrong_devices_are_named_in_a_sentence() {
        for (path, expected) in [
            ("/dev/null", "/dev/null: is no display that can be drawn on (it is no framebuffer); name another device"),
            (
                "/dev/fb99",
                "/dev/fb99: the display cannot be used (No such file or directory (os error 2)); check its path, \
                 connect the display and enable its driver",
            ),
        ] {
            assert_eq!(Framebuffer::open(Path::new(path), Colors::Rgb).err().unwrap().to_string(), expected);
        }
    }
}
