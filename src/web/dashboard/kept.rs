//! Answers that take longer than a page may: counted once beside the pages, then kept while the
//! program runs. The page says that it counts and loads itself again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::db::Readers;

/// Answers kept; the one that was counted first gives way.
const LIMIT: usize = 64;

/// Answers by what was asked. One is counted at a time: the pages need the processors too.
pub struct Kept<K, V>(Arc<Mutex<State<K, V>>>);

struct State<K, V> {
    known: Vec<(K, Arc<V>)>,
    counting: bool,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { known: Vec::new(), counting: false })))
    }
}

impl<K: PartialEq + Send + 'static, V: Send + Sync + 'static> Kept<K, V> {
    /// The answer, if it was counted before.
    pub fn known(&self, key: &K) -> Option<Arc<V>> {
        lock(&self.0).known.iter().find(|(known, _)| known == key).map(|(_, answer)| Arc::clone(answer))
    }

    /// Keeps an answer that was cheap enough to be counted in place.
    pub fn keep(&self, key: K, answer: V) -> Arc<V> {
        keep(&self.0, key, answer)
    }

    /// Counts beside the pages, unless something is being counted already: then whoever asks again
    /// starts it. A failure is logged, and asking again tries again. Needs a tokio runtime around it.
    pub fn count(&self, readers: &Readers, key: K, job: impl FnOnce(&Readers) -> anyhow::Result<V> + Send + 'static) {
        if std::mem::replace(&mut lock(&self.0).counting, true) {
            return;
        }
        let (done, readers) = (Done(Arc::clone(&self.0)), readers.clone());
        tokio::task::spawn_blocking(move || {
            match job(&readers) {
                Ok(answer) => drop(keep(&done.0, key, answer)),
                Err(error) => tracing::error!(error = format!("{error:#}"), "a count for a page failed"),
            }
            drop(done);
        });
    }
}

/// Says that nothing is being counted any more, also when the count panicked.
struct Done<K, V>(Arc<Mutex<State<K, V>>>);

impl<K, V> Drop for Done<K, V> {
    fn drop(&mut self) {
        lock(&self.0).counting = false;
    }
}

fn keep<K: PartialEq, V>(state: &Mutex<State<K, V>>, key: K, answer: V) -> Arc<V> {
    let (answer, mut state) = (Arc::new(answer), lock(state));
    state.known.retain(|(known, _)| *known != key);
    if state.known.len() >= LIMIT {
        state.known.remove(0);
    }
    state.known.push((key, Arc::clone(&answer)));
    answer
}

/// A panic of a count leaves nothing half done here.
fn lock<K, V>(state: &Mutex<State<K, V>>) -> MutexGuard<'_, State<K, V>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;

    #[test]
    fn a_count_is_made_once_and_a_failed_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("quintile.db"), "test").unwrap();
        let kept = Kept::<u8, i64>::default();
        let count = |job: fn(&Readers) -> anyhow::Result<i64>| {
            // Leaving the runtime waits for what it does.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { kept.count(database.readers(), 7, job) });
        };
        assert!(kept.known(&7).is_none());
        count(|_| anyhow::bail!("the disk is gone"));
        assert!(kept.known(&7).is_none());
        count(|_| panic!("a bug"));
        assert!(kept.known(&7).is_none());
        count(|readers| Ok(readers.get()?.query_row("SELECT 42", [], |row| row.get(0))?));
        assert_eq!(kept.known(&7).as_deref(), Some(&42));
        assert!(kept.known(&8).is_none());
    }

    #[test]
    fn old_answers_give_way() {
        let kept = Kept::<usize, usize>::default();
        for key in 0..=LIMIT {
            assert_eq!(*kept.keep(key, key * 2), key * 2);
        }
        assert!(kept.known(&0).is_none());
        assert_eq!(kept.known(&LIMIT).as_deref(), Some(&(LIMIT * 2)));
    }
}
