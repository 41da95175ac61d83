//! A future that tells how long it took, however it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

/// Who is told how long something took.
pub trait Recorder<Answer> {
    /// It has ended after `took`: with an answer, or dropped before it had one.
    fn ended(self, answer: Option<&Answer>, took: Duration);
}

pin_project! {
    /// `future`, of whose end `recorder` is told.
    pub struct Timed<F, R>
    where
        F: Future,
        R: Recorder<F::Output>,
    {
        #[pin]
        future: F,
        recorder: Option<R>,
        began_at: Instant,
    }

    impl<F, R> PinnedDrop for Timed<F, R>
    where
        F: Future,
        R: Recorder<F::Output>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(recorder) = this.recorder.take() {
                recorder.ended(None, this.began_at.elapsed());
            }
        }
    }
}

impl<F, R> Timed<F, R>
where
    F: Future,
    R: Recorder<F::Output>,
{
    /// The clock runs from `began_at` on.
    pub fn new(future: F, recorder: R, began_at: Instant) -> Self {
        Self {
            future,
            recorder: Some(recorder),
            began_at,
        }
    }
}

impl<F, R> Future for Timed<F, R>
where
    F: Future,
    R: Recorder<F::Output>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.future.poll(context));
        if let Some(recorder) = this.recorder.take() {
            recorder.ended(Some(&answer), this.began_at.elapsed());
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};

    use super::*;

    #[derive(Default)]
    struct Told(RefCell<Vec<Option<u8>>>);

    impl Recorder<u8> for &Told {
        fn ended(self, answer: Option<&u8>, _took: Duration) {
            self.0.borrow_mut().push(answer.copied());
        }
    }

    #[tokio::test]
    async fn an_end_is_told_once() {
        let told = Told::default();
        assert_eq!(Timed::new(ready(7), &told, Instant::now()).await, 7);
        assert_eq!(*told.0.borrow(), [Some(7)]);
        drop(Timed::new(pending::<u8>(), &told, Instant::now()));
        assert_eq!(*told.0.borrow(), [Some(7), None]);
    }

    #[tokio::test]
    async fn the_time_is_counted_from_the_beginning() {
        struct Longer(Duration);
        impl Recorder<()> for Longer {
            fn ended(self, _: Option<&()>, took: Duration) {
                assert!(took >= self.0, "{took:?}");
            }
        }
        let earlier = Duration::from_secs(5);
        let Some(began_at) = Instant::now().checked_sub(earlier) else {
            return;
        };
        Timed::new(ready(()), Longer(earlier), began_at).await;
    }
}
