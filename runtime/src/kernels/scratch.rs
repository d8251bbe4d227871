//! Scratch memory: buffers that are kept between calls and never shrink.

/// A `len`-element scratch slice with unspecified contents; replaces `buffer` by a larger one if needed.
pub fn scratch_slice<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        // Fresh zero pages are touched only when they are written; `resize` would copy the old contents.
        *buffer = vec![T::default(); len];
    }
    &mut buffer[..len]
}

/// A [`scratch_slice`] that begins at a cache line: accesses to vectors that straddle two lines cost twice.
pub fn scratch_slice_aligned<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    const CACHE_LINE: usize = 64;
    let begin = scratch_slice(buffer, len + CACHE_LINE / size_of::<T>()).as_ptr().align_offset(CACHE_LINE);
    &mut buffer[begin..begin + len]
}
