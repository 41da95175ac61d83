//! Answers that several requests share: whoever asks while one is being made gets the next one.
//!
//! Nothing is kept: making an answer begins after everybody who gets it has asked, so it is as fresh as an answer of
//! one's own, and reads the kernel and the ledger as that would. What is saved is work under load, where the same list is
//! otherwise made again for each of many who wait for it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::failure::Failure;

/// What a body comes to.
type Made = Result<Bytes, Failure>;

/// The requests of one kind of answer.
#[derive(Default)]
pub(crate) struct SharedAnswer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_being_made: bool,
    /// Those who get the next answer.
    waiting: Vec<oneshot::Sender<Made>>,
}

impl SharedAnswer {
    /// A body that `make` begins to make after this call, once for all who wait for it.
    pub(crate) async fn get<F: Future<Output = Made> + Send + 'static>(
        &self,
        make: impl Fn() -> F + Send + 'static,
    ) -> Made {
        let (sender, receiver) = oneshot::channel();
        let is_first = {
            let mut state = lock(&self.0);
            state.waiting.push(sender);
            !mem::replace(&mut state.is_being_made, true)
        };
        if is_first {
            // A task of its own: whoever asked first may go away, the others wait on.
            tokio::spawn(make_all(Maker(Arc::clone(&self.0)), make));
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(Failure::incomplete("an answer's making")))
    }
}

/// Makes answers as long as somebody waits for one.
async fn make_all<F: Future<Output = Made> + Send + 'static>(maker: Maker, make: impl Fn() -> F + Send + 'static) {
    while let Some(waiting) = maker.next() {
        let made = make().await;
        for one in waiting {
            // Who has gone away needs none.
            let _ = one.send(made.clone());
        }
        // They send it before the next one is made: whoever waits behind this task in the runtime's queue would wait for
        // two.
        tokio::task::yield_now().await;
    }
}

/// The one who makes answers. One who panics lets go of those who wait, and the next request begins anew.
struct Maker(Arc<Mutex<State>>);

impl Maker {
    /// Those who get the next answer; `None` when nobody waits and the maker is to end.
    fn next(&self) -> Option<Vec<oneshot::Sender<Made>>> {
        let mut state = lock(&self.0);
        let waiting = mem::take(&mut state.waiting);
        state.is_being_made = !waiting.is_empty();
        state.is_being_made.then_some(waiting)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.0) = State::default();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers with its number, each when it is allowed to.
    struct Counted {
        shared: SharedAnswer,
        begun: Arc<AtomicUsize>,
        allowed: Arc<Semaphore>,
    }

    impl Counted {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                shared: SharedAnswer::default(),
                begun: Arc::default(),
                allowed: Arc::new(Semaphore::new(0)),
            })
        }

        fn ask(self: &Arc<Self>) -> tokio::task::JoinHandle<Made> {
            let counted = Arc::clone(self);
            tokio::spawn(async move {
                let (begun, allowed) = (Arc::clone(&counted.begun), Arc::clone(&counted.allowed));
                let make = move || {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    let allowed = Arc::clone(&allowed);
                    async move {
                        allowed.acquire().await.unwrap().forget();
                        assert!(number != 7, "the seventh is not to be made");
                        Ok(Bytes::from(number.to_string()))
                    }
                };
                counted.shared.get(make).await
            })
        }

        fn n_waiting(&self) -> usize {
            lock(&self.shared.0).waiting.len()
        }
    }

    async fn until(is_true: impl Fn() -> bool) {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_while_an_answer_is_made_gets_the_next_one() {
        let counted = Counted::new();
        let first = counted.ask();
        until(|| counted.begun.load(Ordering::SeqCst) == 1).await;
        let later: Vec<_> = (0..5).map(|_| counted.ask()).collect();
        until(|| counted.n_waiting() == 5).await;
        counted.allowed.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap(), "0");
        counted.allowed.add_permits(1);
        for one in later {
            assert_eq!(one.await.unwrap().unwrap(), "1");
        }
        // Nothing is kept.
        counted.allowed.add_permits(1);
        assert_eq!(counted.ask().await.unwrap().unwrap(), "2");
    }

    #[tokio::test]
    async fn others_wait_on_when_the_first_goes_away() {
        let counted = Counted::new();
        let first = counted.ask();
        until(|| counted.begun.load(Ordering::SeqCst) == 1).await;
        let second = counted.ask();
        until(|| counted.n_waiting() == 1).await;
        first.abort();
        counted.allowed.add_permits(2);
        assert_eq!(second.await.unwrap().unwrap(), "1");
    }

    #[tokio::test]
    async fn a_maker_that_fails_leaves_nobody_waiting() {
        let counted = Counted::new();
        counted.begun.store(7, Ordering::SeqCst);
        counted.allowed.add_permits(2);
        assert!(counted.ask().await.unwrap().is_err());
        assert_eq!(counted.ask().await.unwrap().unwrap(), "8");
    }
}
