//! Heap that decoding takes, counted by the allocator, against what [`EncodedImage::memory`] says before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::preprocess::{EncodedImage, MAX_PIXELS};

/// Counts the bytes in use, and the most that were.
struct Counting {
    used: AtomicU64,
    most: AtomicU64,
}

#[global_allocator]
static HEAP: Counting = Counting { used: AtomicU64::new(0), most: AtomicU64::new(0) };

// SAFETY: every call is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = self.used.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        self.most.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most bytes that `work` takes in addition to those in use.
fn peak(work: impl FnOnce()) -> u64 {
    let before = HEAP.used.load(Ordering::Relaxed);
    HEAP.most.store(before, Ordering::Relaxed);
    work();
    HEAP.most.load(Ordering::Relaxed) - before
}

/// A PNG of `width` x `height` pixels, all of one colour, with transparency.
fn png(width: u32, height: u32, depth: png::BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    let row = vec![0x80; width as usize * if depth == png::BitDepth::Sixteen { 8 } else { 4 }];
    (0..height).for_each(|_| std::io::Write::write_all(&mut stream, &row).unwrap());
    stream.finish().unwrap();
    drop(writer);
    file
}

/// One test, as the allocator counts for all threads.
#[test]
fn decoding_takes_no_more_memory_than_it_says() {
    let posters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/posters");
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(posters)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    files.push(("8 bits".into(), png(1000, 1500, png::BitDepth::Eight)));
    files.push(("16 bits".into(), png(6000, 4000, png::BitDepth::Sixteen)));
    assert!(files.len() > 10);
    let mut wrong = Vec::new();
    for (name, bytes) in &files {
        for size in [(24, 36), (96, 128), (256, 384), (800, 480)] {
            let Ok(image) = EncodedImage::read(bytes, name, MAX_PIXELS) else { continue };
            let said = image.memory(size);
            let taken = peak(|| {
                let image = image.decode_for(size).unwrap();
                image.resize(size.0, size.1);
            });
            if taken > said {
                wrong.push(format!("{name} for {size:?}: {taken} bytes, but said {said}"));
            }
            // 24 million pixels would take 192 MB.
            assert!(name != "16 bits" || size.0 > 256 || said < 24 << 20, "{size:?}: {said}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
