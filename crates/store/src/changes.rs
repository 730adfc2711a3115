//! A watcher's place in the history: a stream that reads by revision and sleeps until there is more.

use crate::history::Compacted;
use crate::sequencer::{Progress, Published};
use futures::Stream;
use futures::stream::{BoxStream, StreamExt, unfold};
use meta::snapshot::Change;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// Each item holds all changes of one batch (one or more revisions, never a part of one). After an error, the end.
pub struct Changes(BoxStream<'static, Result<Arc<[Change]>, Compacted>>);

struct Place {
    published: Arc<Published>,
    progress: watch::Receiver<Progress>,
    after: u64,
    ended: bool,
}

impl Changes {
    pub(crate) fn new(published: Arc<Published>, after: u64) -> Self {
        let place = Place {
            progress: published.progress(),
            published,
            after,
            ended: false,
        };
        Self(unfold(place, Place::next).boxed())
    }
}

impl Place {
    async fn next(mut self) -> Option<(Result<Arc<[Change]>, Compacted>, Self)> {
        while !self.ended {
            // Marked as seen before looking: what is published after the look wakes `changed`.
            let closed = self.progress.borrow_and_update().closed;
            match self.published.read(|history| history.after(self.after)) {
                Err(gone) => {
                    self.ended = true;
                    return Some((Err(gone), self));
                }
                Ok(Some(changes)) => {
                    self.after = changes.last().map_or(self.after, |c| c.revision);
                    return Some((Ok(changes), self));
                }
                Ok(None) if closed => return None,
                Ok(None) => self.progress.changed().await.ok()?,
            }
        }
        None
    }
}

impl Stream for Changes {
    type Item = Result<Arc<[Change]>, Compacted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}
