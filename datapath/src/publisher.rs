//! Handing a [`Generation`] to the workers, and knowing when they run it.
//!
//! Control publishes; each worker takes the newest at the start of a batch, without a lock, and says
//! so. Control can wait until every worker has, which is what `up` and `--wait=hv` rest on
//! (TRAP-8). A worker that is busy elsewhere is woken by the function that it gave when it joined. One
//! that sleeps is left alone: it takes the newest before anything else when it wakes, so whatever is
//! published meanwhile is what it runs.

use crate::publish::Generation;
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The control side's handle.
#[derive(Clone, Debug, Default)]
pub struct Publisher(Arc<Shared>);

/// A worker's handle; the worker has left when it is dropped.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    state: Arc<State>,
}

/// Where a worker stands.
#[derive(Default, Debug)]
struct State {
    /// The number of the generation that it took last.
    seen: AtomicU64,
    /// It takes the newest before it does anything.
    sleeps: AtomicBool,
}

impl State {
    /// Whether it sleeps, for somebody who looked at the generation before. A worker that is told
    /// from here to sleep finds that generation, or a newer one, when it wakes: of the two fences, here
    /// and in [`Reader::refresh`], one comes first.
    fn sleeps(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeps.load(Ordering::Relaxed)
    }
}

type Call = Box<dyn Fn() + Send + Sync>;

struct Shared {
    current: ArcSwap<Generation>,
    workers: Mutex<Vec<Worker>>,
    changed: Condvar,
    listeners: Mutex<Vec<Call>>,
}

struct Worker {
    state: Arc<State>,
    wake: Call,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            current: ArcSwap::from_pointee(Generation::default()),
            workers: Mutex::default(),
            changed: Condvar::new(),
            listeners: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("number", &self.current.load().number)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// A publisher of the empty generation, number 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest generation.
    pub fn current(&self) -> Arc<Generation> {
        self.0.current.load_full()
    }

    /// Replaces the generation and wakes the workers that are not asleep. `generation.number` is set
    /// to the next one, and returned.
    pub fn publish(&self, mut generation: Generation) -> u64 {
        let workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.0.current.load().number + 1;
        generation.number = number;
        self.0.current.store(Arc::new(generation));
        let mut asleep = 0;
        for worker in &*workers {
            match worker.state.sleeps() {
                true => asleep += 1,
                false => (worker.wake)(),
            }
        }
        drop(workers);
        if asleep > 0 {
            // Nobody else tells that these run it.
            self.0.progress();
        }
        number
    }

    /// Wakes the workers, for them to look whether anything is asked of them.
    pub fn wake(&self) {
        let workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().for_each(|worker| (worker.wake)());
    }

    /// Joins as a worker. `wake` must make the worker call [`Reader::refresh`] soon, from any
    /// thread, without blocking.
    pub fn join(&self, wake: impl Fn() + Send + Sync + 'static) -> Reader {
        let state = Arc::<State>::default();
        let worker = Worker { state: Arc::clone(&state), wake: Box::new(wake) };
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        Reader { shared: Arc::clone(&self.0), state }
    }

    /// Calls `listener` whenever a worker took a generation up: at most once per worker and
    /// generation, on the worker's thread or, for those that sleep, on that of who publishes, so it
    /// must not block (an `eventfd`, a `Notify`).
    pub fn on_progress(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// The number of the generation that all workers run, or of a newer one; the current one if
    /// there is no worker.
    pub fn seen_by_all(&self) -> u64 {
        let workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        self.oldest(&workers)
    }

    /// Waits until all workers run generation `number` or a newer one; false when `timeout` passed
    /// before.
    #[must_use]
    pub fn wait(&self, number: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        while self.oldest(&workers) < number {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            let waited = self.0.changed.wait_timeout(workers, left);
            workers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn oldest(&self, workers: &[Worker]) -> u64 {
        let current = self.0.current.load().number;
        let seen = workers.iter().map(|worker| match worker.state.sleeps() {
            true => current,
            false => worker.state.seen.load(Ordering::Acquire),
        });
        seen.min().unwrap_or(current)
    }
}

impl Reader {
    /// The newest generation if it is not `known`, and then control is told that this worker runs
    /// it. Call at the start of a batch; costs one atomic load when nothing changed.
    pub fn refresh(&self, known: &mut Arc<Generation>) -> bool {
        let State { seen, sleeps } = &*self.state;
        if sleeps.load(Ordering::Relaxed) {
            sleeps.store(false, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
        let current = self.shared.current.load();
        if Arc::ptr_eq(&current, known) && seen.load(Ordering::Relaxed) == current.number {
            return false;
        }
        *known = Arc::clone(&current);
        {
            let _workers = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
            seen.store(known.number, Ordering::Release);
        }
        self.shared.progress();
        true
    }

    /// The worker sleeps from now on until it calls [`Reader::refresh`], and does nothing else before.
    /// False if there is a newer generation than `known`: then it must take that first.
    #[must_use]
    pub fn sleep(&self, known: &Arc<Generation>) -> bool {
        let State { seen, sleeps } = &*self.state;
        sleeps.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let current = self.shared.current.load();
        let runs = Arc::ptr_eq(&current, known) && seen.load(Ordering::Relaxed) == current.number;
        if !runs {
            sleeps.store(false, Ordering::Relaxed);
        }
        runs
    }

    /// The newest generation.
    pub fn current(&self) -> Arc<Generation> {
        self.shared.current.load_full()
    }

    /// Calls the listeners of [`Publisher::on_progress`]: control waits for an answer.
    pub fn tell(&self) {
        self.shared.progress();
    }
}

impl Shared {
    fn progress(&self) {
        self.changed.notify_all();
        for listener in &*self.listeners.lock().unwrap_or_else(PoisonError::into_inner) {
            listener();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        {
            let mut workers = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.retain(|worker| !Arc::ptr_eq(&worker.state, &self.state));
        }
        self.shared.progress();
    }
}
