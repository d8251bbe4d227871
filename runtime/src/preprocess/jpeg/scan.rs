//! Decoding of a scan: traversal of its minimum coded units (MCU; ITU-T T.81, A.2) and restart intervals (E.2.4).
//!
//! `tests/jpeg.rs` decodes interleaved and other scans, sequential and progressive, with and without restarts.

use pulp::{Arch, Simd, WithSimd};

use super::coefficients::Frame;
use super::entropy::BitReader;
use super::problem::Damaged;
use super::scan_header::{ScanComponent, ScanParams};

/// A scan whose entropy-coded data comes next.
pub struct Scan<'a, 'b> {
    pub frame: &'a mut Frame,
    pub components: Vec<ScanComponent<'a>>,
    pub params: ScanParams,
    /// MCUs between two restart markers; 0 if there are none.
    pub restart_interval: usize,
    pub bits: &'a mut BitReader<'b>,
}

impl Scan<'_, '_> {
    /// Decodes the scan, with the instructions of the processor at hand: newer ones have faster shifts (BMI2).
    pub fn decode(self) -> Result<(), Damaged> {
        Arch::new().dispatch(self)
    }
}

impl WithSimd for Scan<'_, '_> {
    type Output = Result<(), Damaged>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Result<(), Damaged> {
        let Self { frame, mut components, params, restart_interval, bits } = self;
        // The MCU of a scan of one component is one block (T.81, A.2.2).
        let visible_blocks =
            (components.len() == 1).then(|| frame.components[components[0].index].layout.visible_blocks());
        let (across, down) = visible_blocks.unwrap_or(frame.mcus);
        let (mut eob_run, mut until_restart, mut restarts) = (0, restart_interval, 0);
        for row in 0..down {
            if bits.is_past_end() {
                return Err(Damaged);
            }
            for column in 0..across {
                if restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart(restarts)?;
                        (eob_run, until_restart, restarts) = (0, restart_interval, (restarts + 1) % 8);
                        components.iter_mut().for_each(|scan| scan.prediction = 0);
                    }
                    until_restart -= 1;
                }
                for scan in &mut components {
                    let component = &mut frame.components[scan.index];
                    let (across, down) = component.layout.sampling;
                    let (h, v) = if visible_blocks.is_some() { (1, 1) } else { (across.factor, down.factor) };
                    for y in row * v..(row + 1) * v {
                        for x in column * h..(column + 1) * h {
                            let block = (x, y);
                            if !frame.is_progressive {
                                component.decode_sequential(block, scan, bits)?;
                            } else if params.start == 0 {
                                component.decode_dc(block, scan, &params, bits)?;
                            } else if params.high == 0 {
                                component.decode_ac(block, scan.ac_table()?, &params, &mut eob_run, bits)?;
                            } else {
                                component.refine_ac(block, scan.ac_table()?, &params, &mut eob_run, bits)?;
                            }
                        }
                    }
                }
            }
        }
        if bits.is_past_end() { Err(Damaged) } else { Ok(()) }
    }
}
