//! `GET /api/v1/events`: for whoever prefers to poll, the events as destinations get them.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{ApiState, problem::Problem};
use crate::outbox::{Envelope, Fields, events};

const DEFAULT_LIMIT: usize = 100;
const LARGEST_LIMIT: usize = 1000;

/// Where a page begins and how long it is.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    after_seq: i64,
    limit: usize,
}

/// `after_seq` (the last seq you have seen) or `cursor` (`nextCursor` of the page before), and
/// `limit`. `nextCursor` is null at the end; ask again later with `after_seq`.
pub async fn list(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let page = read(query.as_deref().unwrap_or_default()).map_err(Problem::bad_request)?;
    let shop = state.shop;
    let answer = state.readers.read(move |connection| {
        // One more than asked for tells whether there is another page.
        let mut found = events(connection, page.after_seq, page.limit + 1)?;
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|last| cursor(last.seq));
        let data = found
            .iter()
            .map(|event| serde_json::to_value(Envelope { shop: &shop, fields: Fields::ALL, event }))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "data": data, "nextCursor": next }))
    });
    answer.await.map(Json).map_err(|error| Problem::internal(&error))
}

fn read(query: &str) -> Result<Page, String> {
    let (mut after, mut limit) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let twice = match &*name {
            "after_seq" => {
                let seq = value.parse().ok().filter(|seq| *seq >= 0);
                after
                    .replace(seq.ok_or_else(|| format!("after_seq is {value:?}; write a seq, or 0 for all"))?)
                    .is_some()
            }
            "cursor" => {
                let seq = seq_of(&value).ok_or("this is no cursor; write nextCursor of the page before, as it is")?;
                after.replace(seq).is_some()
            }
            "limit" => {
                let size = value.parse().ok().filter(|size| (1..=LARGEST_LIMIT).contains(size));
                limit
                    .replace(
                        size.ok_or_else(|| format!("limit is {value:?}; write a number from 1 to {LARGEST_LIMIT}"))?,
                    )
                    .is_some()
            }
            _ => return Err(format!("there is no parameter {name:?}; write after_seq, cursor or limit")),
        };
        if twice {
            return Err("write limit once, and either after_seq or cursor once".to_owned());
        }
    }
    Ok(Page { after_seq: after.unwrap_or(0), limit: limit.unwrap_or(DEFAULT_LIMIT) })
}

fn cursor(seq: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("seq:{seq}"))
}

fn seq_of(cursor: &str) -> Option<i64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix("seq:")?.parse().ok().filter(|seq| *seq >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let page = |after_seq, limit| Ok(Page { after_seq, limit });
        assert_eq!(read(""), page(0, 100));
        assert_eq!(read("after_seq=7&limit=1000"), page(7, 1000));
        assert_eq!(read(&format!("cursor={}&limit=1", cursor(48_211))), page(48_211, 1));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=1&limit=2",
            "after_seq=-1",
            "after_seq=",
            "cursor=7",
            "cursor=",
            "after=1",
            "after_seq=1&cursor=c2VxOjE",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
