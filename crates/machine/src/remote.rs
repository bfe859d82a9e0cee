//! Reaching a running machine from other threads: work that its own thread does between two stretches of execution.

use crate::Machine;
use bus::Attention;
use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

type Job = Box<dyn FnOnce(&mut Machine) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    ended: bool,
}

/// A handle to a machine that runs. Clones are handles to the same one.
#[derive(Clone)]
pub struct Remote {
    queue: Arc<Mutex<Queue>>,
    attention: Arc<Attention>,
}

impl Remote {
    pub(crate) fn new(attention: Arc<Attention>) -> Self {
        Self {
            queue: Arc::default(),
            attention,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `work` says, done on the machine's thread while the guest stands still; `None` if the run has ended. Waits for the run to
    /// begin, too.
    pub fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Machine) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        {
            let mut q = self.lock();
            if q.ended {
                return None;
            }
            q.jobs.push_back(Box::new(move |m| {
                // Whoever asked may have gone.
                let _ = answer.send(work(m));
            }));
        }
        self.attention.raise(Attention::STOP);
        answered.recv().ok()
    }

    pub(crate) fn next(&self) -> Option<Job> {
        self.lock().jobs.pop_front()
    }

    /// From now on nobody asks.
    pub(crate) fn end(&self) {
        let mut q = self.lock();
        q.ended = true;
        q.jobs.clear();
    }
}
