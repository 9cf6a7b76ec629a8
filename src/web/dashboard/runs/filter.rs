//! Which runs a list shows, in which order, as it stands in the address.

use crate::{
    scoring::told::MOVES,
    web::{
        dashboard::{
            definitions::terms,
            order::{self, Column, Key, Order, Place, Small, down},
            view,
        },
        error::PageError,
    },
};

/// What runs are started by: as the database names it, and as people say it.
pub const TRIGGERS: [(&str, &str); 4] =
    [("scheduled", "Nightly"), ("catch_up", "Caught up"), ("manual", "By hand"), ("backfill", "Backfill")];

/// A run that has not scored yet, or never will, has no number.
const KEYS: &[Key] =
    &[down("run"), down("as_of"), down("scored"), down("moved"), down("new"), down("left"), down("took")];

/// What the address of a list says. An order that makes no sense is as if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    pub trigger: Option<&'static str>,
    pub failed: bool,
    /// At least one customer moved, is new or left.
    pub changed: bool,
    pub order: Order,
}

impl Filter {
    /// # Errors
    /// [`PageError::BadRequest`] for a trigger that there is not: the list would show what nobody asked for.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let names = TRIGGERS.map(|(name, _)| name);
        let known = |text: &str| {
            names.into_iter().find(|name| *name == text).ok_or_else(|| {
                PageError::BadRequest(format!(
                    "“{text}” starts no run, so there is nothing to show. The address may name one of {}.",
                    names.join(", ")
                ))
            })
        };
        let trigger = view::parameter(pairs, "trigger").filter(|text| !text.is_empty());
        Ok(Self {
            trigger: trigger.map(known).transpose()?,
            failed: view::parameter(pairs, "failed") == Some("1"),
            changed: view::parameter(pairs, "changed") == Some("1"),
            order: Order::from_pairs(KEYS, pairs),
        })
    }

    /// This trigger is asked for.
    pub fn wants(&self, trigger: &str) -> bool {
        self.trigger == Some(trigger)
    }

    /// Not every run is shown.
    pub const fn is_narrow(&self) -> bool {
        self.trigger.is_some() || self.failed || self.changed
    }

    /// The address of the same runs, the newest first.
    pub fn in_usual_order(&self) -> String {
        Self { order: Order::from_pairs(KEYS, &[]), ..*self }.href("/runs", None)
    }

    /// The address of this list; the page behind the run `after`.
    pub fn href(&self, path: &str, after: Option<&Place>) -> String {
        let after = after.map(Place::text);
        let pairs = [
            ("trigger", self.trigger),
            ("failed", self.failed.then_some("1")),
            ("changed", self.changed.then_some("1")),
        ];
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let after = after.as_deref().map(|place| ("after", place));
        order::address(path, pairs.chain(self.order.pairs()).chain(after))
    }

    /// The runs that it shows. There are as many as nights: all of them may be looked at.
    pub fn runs(&self) -> Small {
        let [moved, new, left] = MOVES;
        let value = match self.order.by() {
            "as_of" => "as_of",
            "scored" => "iif(scored_at IS NULL, -1, scored)",
            "moved" => moved,
            "new" => new,
            "left" => left,
            "took" => "coalesce(score_ms + coalesce(emit_ms, 0), -1)",
            _ => "id",
        };
        let mut conditions = vec!["TRUE".to_owned()];
        conditions.extend(self.trigger.map(|trigger| format!("trigger = '{trigger}'")));
        conditions.extend(self.failed.then(|| "state = 'failed'".to_owned()));
        conditions.extend(self.changed.then(|| "changed > 0".to_owned()));
        Small { table: "runs", conditions: conditions.join(" AND "), value: value.to_owned() }
    }

    pub fn columns(&self) -> Vec<Column> {
        let sorted =
            |name, column| self.order.column(name, column, |order| Self { order, ..*self }.href("/runs", None));
        vec![
            sorted("run", Column::new("Run", None, "")),
            sorted("as_of", Column::new("As of", Some(terms::AS_OF), "")),
            Column::new("State", None, ""),
            Column::new("Started", None, ""),
            sorted("scored", Column::new("Scored", Some(terms::SCORED), "n")),
            sorted("moved", Column::new("Moved", Some(terms::MOVED), "n")),
            sorted("new", Column::new("New", Some(terms::NEW), "n")),
            sorted("left", Column::new("Left", Some(terms::LEFT), "n")),
            sorted("took", Column::new("Took", Some(terms::TOOK), "n")),
            Column::new("Note", None, "pad"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Filter, PageError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Filter::from_pairs(&pairs)
    }

    fn parse(query: &str) -> Filter {
        read(query).unwrap()
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for query in ["", "trigger=catch_up&failed=1&changed=1&sort=moved&dir=asc", "trigger=manual", "dir=asc"] {
            let there = parse(query).href("/runs", None);
            assert_eq!(there.strip_prefix("/runs").unwrap().trim_start_matches('?'), query);
        }
        let after = Place::from_pairs(&[("after".to_owned(), "7".to_owned())]);
        assert_eq!(parse("failed=1").href("/runs", after.as_ref()), "/runs?failed=1&after=7");
    }

    #[test]
    fn what_narrows_nothing_may_be_nonsense_and_a_trigger_may_not() {
        let plain = parse("");
        assert!(!plain.is_narrow());
        for query in ["trigger=", "failed=yes&changed=", "sort=size"] {
            assert_eq!(parse(query), plain, "{query}");
        }
        for query in ["trigger=yearly' OR 1 --", "trigger=manual&trigger=Manual"] {
            assert!(matches!(read(query), Err(PageError::BadRequest(_))), "{query}");
        }
    }
}
