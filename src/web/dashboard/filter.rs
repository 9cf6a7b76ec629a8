//! Which customers a list shows, in which order, as it stands in the address. Pure.

use std::fmt;

use crate::{model::Quintile, scoring::segment::NONE, web::error::PageError};

/// Longest search text; the rest is cut off.
const SEARCH_CHARS: usize = 200;

/// What the address of a customer list says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub search: Option<String>,
    /// [`NONE`]: those without one.
    pub segment: Option<String>,
    pub r: Option<Quintile>,
    pub f: Option<Quintile>,
    pub m: Option<Quintile>,
    /// Only those of whom another has the same e-mail.
    pub same_email: bool,
    pub sort: Sort,
    pub ascending: bool,
}

/// The column a list is ordered by; our id breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By our id: who became known last comes first.
    #[default]
    Known,
    Email,
    Orders,
    Spent,
    LastOrder,
}

impl Sort {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Known, "known"),
        (Self::Email, "email"),
        (Self::Orders, "orders"),
        (Self::Spent, "spent"),
        (Self::LastOrder, "last"),
    ];

    /// As it stands in the address.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(sort, _)| *sort == self).map_or("known", |(_, text)| text)
    }
}

impl Filter {
    /// Reads name-value pairs; the last of a repeated name counts, empty values are absent, and an order
    /// that there is not is the usual one.
    ///
    /// # Errors
    /// [`PageError::BadRequest`] for a score that is none: the list would show more than was asked for.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let value = |name: &str| {
            pairs
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.trim())
                .filter(|text| !text.is_empty())
        };
        let quintile = |name| {
            let read = |text: &str| {
                text.parse().ok().and_then(Quintile::new).ok_or_else(|| {
                    PageError::BadRequest(format!(
                        "“{text}” is no score, so there is nothing to show. In the address {name} may be 1 to 5."
                    ))
                })
            };
            value(name).map(read).transpose()
        };
        let sort = Sort::ALL.into_iter().find(|(_, text)| value("sort") == Some(text));
        let same_email = value("same_email") == Some("1");
        // So that those who share one stand together.
        let usual = if same_email { Sort::Email } else { Sort::default() };
        let sort = sort.map_or(usual, |(sort, _)| sort);
        let ascending = match value("dir") {
            Some("asc") => true,
            Some("desc") => false,
            _ => sort == Sort::Email,
        };
        Ok(Self {
            search: value("q").map(|text| text.chars().take(SEARCH_CHARS).collect()),
            segment: value("segment").map(str::to_owned),
            r: quintile("r")?,
            f: quintile("f")?,
            m: quintile("m")?,
            same_email,
            sort,
            ascending,
        })
    }

    /// Nothing is filtered; everybody is shown.
    pub fn is_everybody(&self) -> bool {
        self.search.is_none() && self.segment.is_none() && !self.has_scores() && !self.same_email
    }

    /// Those without a segment are asked for.
    pub fn is_unscored(&self) -> bool {
        self.segment.as_deref() == Some(NONE)
    }

    /// A score is asked for.
    pub fn has_scores(&self) -> bool {
        self.r.is_some() || self.f.is_some() || self.m.is_some()
    }

    /// Do three scores pass?
    pub fn admits(&self, scores: [u8; 3]) -> bool {
        [self.r, self.f, self.m].into_iter().zip(scores).all(|(wanted, score)| wanted.is_none_or(|q| q.get() == score))
    }

    /// The same list in another order.
    pub fn sorted(&self, sort: Sort, ascending: bool) -> Self {
        Self { sort, ascending, ..self.clone() }
    }

    /// The same list in the order that it has without a word about it.
    pub fn usual(&self) -> Self {
        let sort = if self.same_email { Sort::Email } else { Sort::default() };
        self.sorted(sort, sort == Sort::Email)
    }

    /// The part of an address after "?", shortest form; empty for the plain list.
    pub fn to_query(&self, after: Option<&Cursor>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.search), ("segment", &self.segment)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        for (name, value) in [("r", self.r), ("f", self.f), ("m", self.m)] {
            if let Some(value) = value {
                query.append_pair(name, &value.to_string());
            }
        }
        if self.same_email {
            query.append_pair("same_email", "1");
        }
        if self.sort != if self.same_email { Sort::Email } else { Sort::default() } {
            query.append_pair("sort", self.sort.as_str());
        }
        if self.ascending != (self.sort == Sort::Email) {
            query.append_pair("dir", if self.ascending { "asc" } else { "desc" });
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        query.finish()
    }

    /// [`Self::to_query`] behind a path.
    pub fn href(&self, path: &str, after: Option<&Cursor>) -> String {
        let query = self.to_query(after);
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

/// Where the page before ended. Opaque to people; each order of a list has its own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// `7`: after this customer.
    Id(i64),
    /// `v7.4999`: after this value, and this customer among equals.
    Value { value: i64, id: i64 },
    /// `t7.anna@example.com`: the same for a text.
    Text { text: String, id: i64 },
    /// `n7`: a search is at the names, newest customer first.
    Name(i64),
}

impl Cursor {
    /// `None` for anything that [`fmt::Display`] below did not write.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = (text.chars().next()?, text.get(1..));
        match kind {
            'v' => {
                let (id, value) = rest?.split_once('.')?;
                Some(Self::Value { value: value.parse().ok()?, id: id.parse().ok()? })
            }
            't' => {
                let (id, text) = rest?.split_once('.')?;
                Some(Self::Text { text: text.to_owned(), id: id.parse().ok()? })
            }
            'n' => rest?.parse().ok().map(Self::Name),
            _ => text.parse().ok().map(Self::Id),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Value { value, id } => write!(f, "v{id}.{value}"),
            Self::Text { text, id } => write!(f, "t{id}.{text}"),
            Self::Name(id) => write!(f, "n{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(query: &str) -> Result<Filter, PageError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Filter::from_pairs(&pairs)
    }

    fn parse(query: &str) -> Filter {
        read(query).unwrap()
    }

    #[test]
    fn what_narrows_nothing_may_be_nonsense_and_a_score_may_not() {
        for query in ["", "q=&segment=&r=&f=&m=", "sort=size&dir=up", "q=%20", "unknown=1"] {
            assert_eq!(parse(query), Filter::default(), "{query}");
        }
        for query in ["r=9", "f=0", "m=x", "r=5.0", "r=1&r=6", "q=a&m=-1"] {
            assert!(matches!(read(query), Err(PageError::BadRequest(_))), "{query}");
        }
        assert_eq!(parse("r=1&r=5").r, Quintile::new(5));
        assert_eq!(parse(&format!("q={}", "x".repeat(5000))).search.unwrap().len(), SEARCH_CHARS);
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for query in [
            "",
            "q=anna%2Bx%40example.com&segment=at_risk&r=5&f=4&m=1&sort=spent&dir=asc",
            "sort=email",
            "sort=email&dir=desc",
            "dir=asc",
            "same_email=1",
            "same_email=1&sort=known&dir=asc",
        ] {
            assert_eq!(parse(query).to_query(None), query);
        }
        assert_eq!(Filter::default().href("/customers", None), "/customers");
        assert_eq!(Filter::default().href("/customers", Some(&Cursor::Id(7))), "/customers?after=7");
    }

    proptest! {
        #[test]
        fn filters_round_trip(q in "\\PC{0,40}", segment in "\\PC{0,20}", r in 1u8..6, sort in 0usize..5, ascending: bool, same in 0u8..3) {
            let filter = Filter::from_pairs(&[
                ("q".into(), q), ("segment".into(), segment), ("r".into(), r.to_string()),
                ("same_email".into(), same.to_string()), ("sort".into(), Sort::ALL[sort].1.into()), ("dir".into(), if ascending { "asc" } else { "desc" }.into()),
            ]).unwrap();
            prop_assert_eq!(parse(&filter.to_query(None)), filter);
        }

        #[test]
        fn cursors_round_trip(id: i64, value: i64, text in "\\PC{0,40}") {
            for cursor in [Cursor::Id(id), Cursor::Name(id), Cursor::Value { value, id }, Cursor::Text { text, id }] {
                prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            }
        }

        #[test]
        fn no_cursor_panics(text in "[vtn]?\\PC{0,20}") {
            let _ = Cursor::parse(&text);
        }
    }
}
