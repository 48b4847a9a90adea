//! Computations that may be long: they must not delay other deployments.
//!
//! The tasks of all deployments share the few threads of the runtime. A computation that holds one
//! of them for long delays the tasks that wait there. A long computation therefore gives its
//! place on the runtime to another thread. Short ones, which are nearly all, run where they are.

use std::sync::Arc;
use std::time::Duration;

use client::Replies;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use crate::clock::Clock;

/// Size of an input from which on its computation may be long: bytes of replies to parse.
const LARGE_REPLY: usize = 64 << 10;

/// Number of nodes from which on the computation of a round may be long.
const LARGE_ROUND: usize = 64;

/// Duration from which on a computation is long. The next one of the same kind is expected to be
/// long, too.
const LONG: Duration = Duration::from_millis(5);

/// Time for which a computation is expected to be long after a long one.
const EXPECTED_FOR: Duration = Duration::from_secs(60);

/// Threads for long computations. While all are busy, others wait, so that any number of large
/// deployments takes a bounded number of threads.
#[derive(Debug, Clone)]
pub(crate) struct ComputeThreads(Arc<Semaphore>);

/// Expectation of the duration of computations of one kind.
#[derive(Debug, Default)]
pub(crate) struct ComputeTimes {
    /// Time since the start of the exporter until which computations are expected to be long.
    long_until: Duration,
}

impl Default for ComputeThreads {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        ComputeThreads(Arc::new(Semaphore::new(processors)))
    }
}

impl ComputeThreads {
    /// Runs a computation. If it may be long, it waits for a free thread and lets the runtime
    /// continue meanwhile. Returns the result with the time that the computation itself took.
    pub(crate) async fn run<T>(
        &self,
        clock: Clock,
        may_be_long: bool,
        compute: impl FnOnce() -> T,
    ) -> (T, Duration) {
        if !may_be_long {
            return timed(clock, compute);
        }
        // The permit is missing only if the semaphore is closed, which it never is.
        let _permit = self.0.acquire().await.ok();
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => block_in_place(|| timed(clock, compute)),
            _ => timed(clock, compute),
        }
    }
}

impl ComputeTimes {
    /// Returns true if a round with this number of nodes may take long.
    pub(crate) fn expect_long_round(&self, nodes: usize, now: Duration) -> bool {
        nodes >= LARGE_ROUND || now < self.long_until
    }

    /// Records the duration of a computation.
    pub(crate) fn record(&mut self, took: Duration, now: Duration) {
        if took >= LONG {
            self.long_until = now + EXPECTED_FOR;
        }
    }
}

/// Returns true if the parsing of these replies may take long.
pub(crate) fn is_large(replies: &Replies) -> bool {
    replies.size() >= LARGE_REPLY
}

/// Runs a computation and returns the result with the time that it took.
fn timed<T>(clock: Clock, compute: impl FnOnce() -> T) -> (T, Duration) {
    let started = clock.now();
    let result = compute();
    (result, clock.now() - started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_long_computation_does_not_hold_the_runtime() {
        let (threads, clock) = (ComputeThreads::default(), Clock::start());
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut others = tokio::task::JoinSet::new();
        // The computation ends only after another task ran on the only worker of the runtime.
        others.spawn(async move {
            let compute = move || receiver.recv_timeout(Duration::from_secs(20)).is_ok();
            threads.run(clock, true, compute).await.0
        });
        others.spawn(async move { sender.send(()).is_ok() });
        while let Some(ended) = others.join_next().await {
            assert!(ended.expect("no panic"), "the other task did not run");
        }
    }

    #[tokio::test]
    async fn a_runtime_with_one_thread_computes_in_place() {
        let (sum, took) = ComputeThreads::default().run(Clock::start(), true, || 1 + 1).await;
        assert!(sum == 2 && took < Duration::from_secs(5));
    }

    #[test]
    fn a_long_round_is_followed_by_expected_ones() {
        let mut times = ComputeTimes::default();
        let second = Duration::from_secs(1);
        assert!(!times.expect_long_round(6, second) && times.expect_long_round(64, second));
        times.record(Duration::from_millis(4), second);
        assert!(!times.expect_long_round(6, second * 2));
        times.record(Duration::from_millis(5), second);
        assert!(
            times.expect_long_round(6, second * 60) && !times.expect_long_round(6, second * 61)
        );
    }
}
