//! Lists by the page: `limit`, an opaque `cursor`, `{"data":[…],"nextCursor":…}`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    /// For `cursor` of the next request; null at the end. A search may find nothing for a page and
    /// still go on.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Of `found`, one more than `limit` at most: that one tells that there is another page. `after`
    /// makes the cursor of what comes after an element.
    pub fn new(mut found: Vec<T>, limit: Limit, after: impl FnOnce(&T) -> Cursor) -> Self {
        let more = found.len() > limit.rows();
        found.truncate(limit.rows());
        let next_cursor = found.last().filter(|_| more).map(|last| after(last).to_string());
        Self { data: found, next_cursor }
    }

    /// Of a list that is short as a whole.
    pub fn of_whole(all: Vec<T>, part: &Part) -> Result<Self, Problem> {
        let from: usize = Cursor::read("place", part.cursor.as_deref())?.unwrap_or_default();
        let found = all.into_iter().skip(from).take(part.limit.rows() + 1).collect();
        Ok(Self::new(found, part.limit, |_| Cursor::new("place", from.saturating_add(part.limit.rows()))))
    }
}

/// Which part of a list that has no filters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// Entries at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// `nextCursor` of the page before, as it is.
    pub cursor: Option<String>,
}

/// Entries on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Limit(u32);

impl Limit {
    const LARGEST: u32 = 1000;

    pub const fn rows(self) -> usize {
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        match limit {
            1..=Self::LARGEST => Ok(Self(limit)),
            _ => Err(format!("limit is {limit}; write a number from 1 to {}", Self::LARGEST)),
        }
    }
}

/// Where a page begins. What is in it is nobody's business but the list's that made it.
pub struct Cursor(String);

impl Cursor {
    /// `list` keeps one list from reading the cursor of another.
    pub fn new(list: &str, place: impl std::fmt::Display) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("{list}:{place}")))
    }

    /// The place that [`Self::new`] was given.
    pub fn read<T: std::str::FromStr>(list: &str, cursor: Option<&str>) -> Result<Option<T>, Problem> {
        let Some(cursor) = cursor else { return Ok(None) };
        let place = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            text.strip_prefix(list)?.strip_prefix(':')?.parse().ok()
        };
        let place = place().ok_or_else(|| {
            Problem::bad_request("this is no cursor of this list; write nextCursor of the page before, as it is")
        })?;
        Ok(Some(place))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_to_their_own_list() {
        let cursor = Cursor::new("run", 48_211).to_string();
        assert_eq!(Cursor::read("run", Some(&cursor)).unwrap(), Some(48_211));
        assert_eq!(Cursor::read::<i64>("run", None).unwrap(), None);
        for (list, wrong) in [("seq", cursor.as_str()), ("run", ""), ("run", "48211"), ("run", "cnVuOng"), ("run", "☃")]
        {
            assert!(Cursor::read::<i64>(list, Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pages_of_a_whole_list() {
        let part = |cursor: Option<String>| Part { limit: Limit(2), cursor };
        let first = Page::of_whole(vec![1, 2, 3], &part(None)).unwrap();
        assert_eq!(first.data, [1, 2]);
        let last = Page::of_whole(vec![1, 2, 3], &part(first.next_cursor)).unwrap();
        assert_eq!((last.data, last.next_cursor), (vec![3], None));
        let beyond = Page::of_whole(vec![1], &part(Some(Cursor::new("place", usize::MAX).to_string()))).unwrap();
        assert_eq!((beyond.data, beyond.next_cursor), (vec![], None));
        assert!([0, 1001].map(Limit::try_from).iter().all(Result::is_err));
    }
}
