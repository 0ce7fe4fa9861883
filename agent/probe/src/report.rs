//! Tells the agent what happens, also when it is a panic.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dr_probe_wire::event::Event;
use dr_probe_wire::fault::Step;
use dr_probe_wire::frame::shorten;
use tokio::time::Instant;

/// How often progress is told at most.
const INTERVAL: Duration = Duration::from_millis(250);

/// Where the probe stands, and the line to the agent.
pub struct Reporter {
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    table: Option<String>,
    step: Option<Step>,
    told: Option<Instant>,
    panics: Vec<String>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// Writes events to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Arc<Self> {
        let state = State {
            out,
            table: None,
            step: None,
            told: None,
            panics: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Makes every panic of this process an event, instead of text on standard error.
    pub fn hook_panics(self: &Arc<Self>) {
        let reporter = Arc::clone(self);
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or("a panic without a message");
            let at = info
                .location()
                .map(|location| format!("{}:{}", within(location.file()), location.line()));
            reporter.panicked(shorten(message, 2000), at);
        }));
    }

    fn panicked(&self, message: &str, at: Option<String>) {
        let mut state = self.lock();
        let place = at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        state.panics.push(format!("{message}{place}"));
        let event = Event::Panic {
            table: state.table.clone(),
            step: state.step,
            message: message.to_owned(),
            at,
        };
        state.write(&event);
    }

    /// Panics since the last call.
    pub fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().panics)
    }

    /// Says what is being done from here on; the agent is told of each change.
    pub fn enter(&self, table: &str, step: Step) {
        let mut state = self.lock();
        if state.step == Some(step) && state.table.as_deref() == Some(table) {
            return;
        }
        state.table = Some(table.to_owned());
        state.step = Some(step);
        state.write(&Event::Progress {
            table: table.to_owned(),
            step,
            done: 0,
            total: 0,
        });
    }

    /// What is being done.
    pub fn step(&self) -> Option<Step> {
        self.lock().step
    }

    /// Tells one event.
    pub fn tell(&self, event: &Event) {
        self.lock().write(event);
    }

    /// Tells how far the present step is, a few times a second.
    pub fn progress(&self, done: u64, total: u64) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return;
        }
        state.told = Some(now);
        if let (Some(table), Some(step)) = (state.table.clone(), state.step) {
            state.write(&Event::Progress {
                table,
                step,
                done,
                total,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source file by its crate: where it was built is nobody's business.
fn within(file: &str) -> &str {
    let registry = file
        .split_once("/registry/src/")
        .and_then(|(_, rest)| rest.split_once('/'));
    registry.map_or(file, |(_, file)| file)
}

impl State {
    /// An agent that does not listen any more has closed the socket as well, and that ends the job.
    fn write(&mut self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
        }
    }
}
