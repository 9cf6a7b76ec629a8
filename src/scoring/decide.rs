//! The merchant's word on deliveries, carried out on all that are meant.

use super::note_decided;
use crate::{
    db::Writer,
    model::Timestamp,
    outbox::{Action, Cursor, Filter, Ids, act},
};

/// Deliveries acted on in one transaction, so that the journal stays small.
const SLICE: usize = 1000;

/// Acts on all deliveries that `filter` means, slice by slice; a run that has nothing held any more
/// waits no longer. Returns how many there were. Dropped, it stops between two slices.
///
/// # Errors
/// The database could not be written; what was done before stays done.
pub async fn decide(writer: &Writer, action: Action, filter: &Filter, now: Timestamp) -> anyhow::Result<usize> {
    let (mut cursor, mut total) = (Cursor::default(), 0);
    loop {
        let filter = filter.clone();
        let slice = writer.write(move |tx| {
            let done = act(tx, action, &filter, cursor, SLICE, &mut Ids::random(now), now)?;
            if done.1.is_none() {
                note_decided(tx)?;
            }
            Ok(done)
        });
        let (count, next) = slice.await?;
        total += count;
        match next {
            Some(next) => cursor = next,
            None => return Ok(total),
        }
    }
}
