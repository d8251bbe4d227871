//! Newly tagged posters on a display, in a thread of its own: a slow or broken display neither delays nor stops tagging.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cli_support::complain;
use runtime::collection::results::{TaggedPoster, Tagger};
use runtime::display::{Card, Display, DisplayError, GenreBar, Panel, Target};
use runtime::preprocess;

/// The most posters that wait to be shown. While so many wait, as in the first pass over a large collection, further
/// ones are not shown.
const MAX_WAITING: usize = 20;

/// Time for which a poster is shown at least.
const PAUSE: Duration = Duration::from_secs(3);

/// A thread that shows posters one after the other.
pub struct Slideshow {
    /// `None` once the slideshow is being dropped.
    slides: Option<SyncSender<Slide>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Slide {
    poster: PathBuf,
    card: Card,
}

impl Slideshow {
    /// Opens the display. If that fails, the error is printed and the display is tried again with each poster.
    pub fn start(target: Target) -> Self {
        let (slides, waiting) = sync_channel(MAX_WAITING);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = is_stopped.clone();
        let thread = thread::spawn(move || run(target, &waiting, &stop));
        Self { slides: Some(slides), is_stopped, thread: Some(thread) }
    }

    /// Shows a poster when its turn comes.
    pub fn add(&self, tagger: Tagger, tagged: &TaggedPoster) {
        let probabilities = tagged.prediction.probabilities.iter().enumerate();
        let mut genres: Vec<GenreBar> = (tagger.model.card().genres.iter().zip(probabilities))
            .map(|(name, (index, &probability))| GenreBar {
                name: name.clone(),
                probability,
                is_predicted: tagged.genres.contains(&index),
            })
            .collect();
        genres.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let title = &tagged.poster.title;
        let card = Card { title: title.title.clone(), year: title.year, genres };
        if let Some(slides) = &self.slides {
            let _ = slides.try_send(Slide { poster: tagged.poster.path.clone(), card });
        }
    }
}

impl Drop for Slideshow {
    /// Waits for the picture that is being shown, and forgets those that wait.
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.slides = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn run(target: Target, slides: &Receiver<Slide>, is_stopped: &AtomicBool) {
    let mut display = None;
    let mut complaint = None;
    let mut note = |result: Result<(), DisplayError>| {
        let message = result.err().map(|error| error.to_string());
        if let Some(message) = message.as_ref().filter(|message| complaint.as_ref() != Some(*message)) {
            complain(message);
        }
        complaint = message;
    };
    note(open(&target, &mut display).map(|_| ()));
    for slide in slides {
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        note(show(&target, &mut display, &slide));
        thread::park_timeout(PAUSE);
    }
}

/// The display, which is opened if it is not open.
fn open<'a>(
    target: &Target,
    display: &'a mut Option<Box<dyn Display>>,
) -> Result<&'a mut Box<dyn Display>, DisplayError> {
    if display.is_none() {
        *display = Some(target.open()?);
    }
    Ok(display.as_mut().expect("the display was opened"))
}

/// Shows a poster. A display that fails is closed, as it may have been unplugged.
fn show(target: &Target, display: &mut Option<Box<dyn Display>>, slide: &Slide) -> Result<(), DisplayError> {
    let panel = open(target, display)?.panel();
    let Panel { width, height, .. } = panel;
    // A poster that was tagged and has gone since is no failure of the display.
    let Ok(poster) = preprocess::open_for(&slide.poster, (width, height)) else { return Ok(()) };
    let picture = slide.card.draw(panel, &poster);
    let result = open(target, display)?.show(&picture);
    if result.is_err() {
        *display = None;
    }
    result
}
