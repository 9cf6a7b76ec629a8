//! In which order a list stands: as it is in the address, in the headings that turn it, and in a query
//! of a small table. Customers and deliveries are many, and have orders of their own.

use askama::filters::Safe;
use rusqlite::{
    Connection, Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use super::{
    definitions::terms::{self, Term},
    export::CHUNK,
    statistics::sql_limit,
    view,
};

/// What a list can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it stands in the address.
    pub name: &'static str,
    /// The smallest comes first, until it is turned around.
    pub ascending: bool,
}

/// By text or rank: from the start.
pub const fn up(name: &'static str) -> Key {
    Key { name, ascending: true }
}

/// By number or time: the largest, which is looked for most, first.
pub const fn down(name: &'static str) -> Key {
    Key { name, ascending: false }
}

/// The order of a list. Its first key is the usual one, which the address need not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    keys: &'static [Key],
    key: Key,
    pub ascending: bool,
}

impl Order {
    /// Reads name-value pairs. What makes no sense is as if absent.
    pub fn from_pairs(keys: &'static [Key], pairs: &[(String, String)]) -> Self {
        let asked = view::parameter(pairs, "sort").and_then(|name| keys.iter().find(|key| key.name == name));
        let key = *asked.unwrap_or(&keys[0]);
        let ascending = match view::parameter(pairs, "dir") {
            Some("asc") => true,
            Some("desc") => false,
            _ => key.ascending,
        };
        Self { keys, key, ascending }
    }

    /// The name of its key.
    pub const fn by(self) -> &'static str {
        self.key.name
    }

    /// The list stands as it does when nothing is asked for.
    pub fn is_usual(self) -> bool {
        self.key == self.keys[0] && self.ascending == self.key.ascending
    }

    /// What it adds to an address; the shortest form.
    pub fn pairs(self) -> Vec<(&'static str, &'static str)> {
        let key = (self.key != self.keys[0]).then_some(("sort", self.key.name));
        let turned = if self.ascending { "asc" } else { "desc" };
        let turned = (self.ascending != self.key.ascending).then_some(("dir", turned));
        [key, turned].into_iter().flatten().collect()
    }

    /// By `name`: turned around when it is the present key.
    pub fn turned(self, name: &str) -> Self {
        let key = self.keys.iter().copied().find(|key| key.name == name).unwrap_or(self.key);
        let ascending = if key == self.key { !self.ascending } else { key.ascending };
        Self { key, ascending, ..self }
    }

    /// The heading that sorts by `name`; `href` makes the address of the list in another order.
    pub fn column(self, name: &str, column: Column, href: impl Fn(Self) -> String) -> Column {
        let present = (self.key.name == name).then_some(self.ascending);
        let turned = self.turned(name);
        column.sorting(href(turned), turned.ascending, present)
    }
}

/// The heading of a column.
#[derive(Debug, Clone)]
pub struct Column {
    label: &'static str,
    term: Option<Term>,
    pub class: &'static str,
    sort: Option<Sort>,
}

/// Where a heading leads to.
#[derive(Debug, Clone)]
struct Sort {
    href: String,
    /// Which way the list stands there.
    ascending: bool,
    /// Which way it stands now, if by this column.
    present: Option<bool>,
}

impl Column {
    /// A column that cannot be sorted by.
    pub const fn new(label: &'static str, term: Option<Term>, class: &'static str) -> Self {
        Self { label, term, class, sort: None }
    }

    /// Of a drawing, without a word.
    pub const fn blank(class: &'static str) -> Self {
        Self::new("", None, class)
    }

    /// The same with a link to the list sorted by it.
    pub fn sorting(self, href: String, ascending: bool, present: Option<bool>) -> Self {
        Self { sort: Some(Sort { href, ascending, present }), ..self }
    }

    pub const fn is_blank(&self) -> bool {
        self.label.is_empty()
    }

    /// For `aria-sort`; empty: the list is not sorted by it.
    pub fn sorted(&self) -> &'static str {
        match self.sort.as_ref().and_then(|sort| sort.present) {
            None => "",
            Some(true) => "ascending",
            Some(false) => "descending",
        }
    }

    /// The word, which leads to its meaning, and beside it the arrow that sorts.
    pub fn heading(&self) -> Safe<String> {
        let word = match &self.term {
            Some(term) => term.called(self.label),
            None => terms::plain(self.label),
        };
        let Some(sort) = &self.sort else { return word };
        let arrow = match sort.present {
            None => "↕",
            Some(true) => "↑",
            Some(false) => "↓",
        };
        let (Safe(word), Safe(href)) = (word, terms::plain(&sort.href));
        let Safe(label) = terms::plain(&self.label.to_lowercase());
        let way = if sort.ascending { "ascending" } else { "descending" };
        Safe(format!(
            r#"{word}<a class="sort" href="{href}" aria-label="Sort by {label}, {way}"><span aria-hidden="true">{arrow}</span></a>"#
        ))
    }
}

/// A table with a column `id` and few rows, so that looking at all of them costs nothing.
pub struct Small {
    pub table: &'static str,
    /// SQL; what is shown of it.
    pub conditions: String,
    /// SQL; what it is sorted by: a whole number or a text, never NULL.
    pub value: String,
}

/// A row of a small table in an order: what a page behind it needs to know of it, even when it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub id: i64,
    value: Value,
}

impl Place {
    /// The row that the address says the page starts behind: `after=7`, or with what is sorted by,
    /// `after=7:12` and `after=7:=orders.csv`. What makes no sense is as if absent.
    pub fn from_pairs(pairs: &[(String, String)]) -> Option<Self> {
        let text = view::parameter(pairs, "after")?;
        let (id, value) = text.split_once(':').unwrap_or((text, text));
        let value = match value.strip_prefix('=') {
            Some(text) => Value::Text(text.to_owned()),
            None => Value::Number(value.parse().ok()?),
        };
        Some(Self { id: id.parse().ok()?, value })
    }

    /// As [`Place::from_pairs`] reads it.
    pub fn text(&self) -> String {
        let Self { id, value } = self;
        match value {
            Value::Number(value) if value == id => id.to_string(),
            Value::Number(value) => format!("{id}:{value}"),
            Value::Text(text) => format!("{id}:={text}"),
        }
    }
}

/// What a small table is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Number(i64),
    Text(String),
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self::Number(number)),
            ValueRef::Text(_) => value.as_str().map(|text| Self::Text(text.to_owned())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// The ids of these rows.
pub fn ids(places: &[Place]) -> Vec<i64> {
    places.iter().map(|place| place.id).collect()
}

impl Small {
    /// A page of it, the rows behind `after`; the id parts equals.
    pub fn page(
        &self,
        connection: &Connection,
        ascending: bool,
        after: Option<&Place>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Place>> {
        let Self { table, conditions, value } = self;
        let (beyond, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
        let sql = format!(
            "SELECT id, {value} FROM {table} WHERE {conditions} AND (?1 IS NULL OR ({value}, id) {beyond} (?2, ?1))
             ORDER BY {value} {order}, id {order} LIMIT ?3"
        );
        let behind = (after.map(|place| place.id), after.map(|place| &place.value), sql_limit(limit));
        let place = |row: &Row<'_>| Ok(Place { id: row.get(0)?, value: row.get(1)? });
        connection.prepare_cached(&sql)?.query_map(behind, place)?.collect()
    }

    /// All ids of it, some at a time.
    pub fn walk(
        &self,
        connection: &Connection,
        ascending: bool,
        mut take: impl FnMut(&[i64]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let places = self.page(connection, ascending, after.as_ref(), CHUNK)?;
            if places.is_empty() {
                return Ok(());
            }
            take(&ids(&places))?;
            after = places.last().cloned();
        }
    }
}

/// Cuts what was read with one more than fits to a page; returns the row that the next one starts behind.
pub fn cut(places: &mut Vec<Place>, page: usize) -> Option<Place> {
    let more = places.len() > page;
    places.truncate(page);
    places.last().cloned().filter(|_| more)
}

/// An address with these name-value pairs.
pub fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[down("run"), down("scored"), up("name")];

    fn parse(query: &str) -> Order {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Order::from_pairs(KEYS, &pairs)
    }

    #[test]
    fn an_order_comes_back_as_it_was() {
        for query in ["", "dir=asc", "sort=scored", "sort=scored&dir=asc", "sort=name", "sort=name&dir=desc"] {
            let there = address("/x", parse(query).pairs());
            assert_eq!(there.strip_prefix("/x").unwrap().trim_start_matches('?'), query);
        }
        for nonsense in ["sort=size", "dir=up", "sort=&dir=", "sort=run&dir=desc"] {
            assert!(parse(nonsense).is_usual(), "{nonsense}");
        }
    }

    #[test]
    fn a_heading_turns_its_own_list_and_starts_others_where_they_start() {
        let there = |query: &str, name: &str| address("", parse(query).turned(name).pairs());
        assert_eq!(there("", "run"), "?dir=asc");
        assert_eq!(there("", "name"), "?sort=name");
        assert_eq!(there("sort=name", "name"), "?sort=name&dir=desc");
        assert_eq!(there("sort=name&dir=desc", "scored"), "?sort=scored");
        assert_eq!(there("sort=scored", "run"), "");
    }

    #[test]
    fn a_heading_says_how_the_list_stands_and_what_the_arrow_does() {
        let column = |query: &str| {
            let order = parse(query);
            order.column("scored", Column::new("Scored <", None, "n"), |order| address("/x", order.pairs()))
        };
        assert_eq!(column("").sorted(), "");
        assert_eq!(column("sort=scored").sorted(), "descending");
        assert_eq!(column("sort=scored&dir=asc").sorted(), "ascending");
        let Safe(heading) = column("sort=scored").heading();
        let link = r#"<a class="sort" href="/x?sort=scored&#38;dir=asc" aria-label="Sort by scored &#60;, ascending">"#;
        assert_eq!(heading, format!(r#"Scored &#60;{link}<span aria-hidden="true">↓</span></a>"#));
    }

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, name TEXT NOT NULL DEFAULT '7', hidden INTEGER NOT NULL DEFAULT 0);
                 INSERT INTO t (v) VALUES (3), (1), (NULL), (3), (2), (1); INSERT INTO t (v, hidden) VALUES (2, 1);
                 UPDATE t SET name = 'b:=c' WHERE id IN (2, 4); UPDATE t SET name = '' WHERE id = 5;",
            )
            .unwrap();
        connection
    }

    fn small(value: &str) -> Small {
        Small { table: "t", conditions: "hidden = 0".to_owned(), value: value.to_owned() }
    }

    fn through_an_address(place: &Place) -> Place {
        Place::from_pairs(&[("after".to_owned(), place.text())]).unwrap()
    }

    #[test]
    fn a_small_table_is_walked_in_any_order_row_by_row() {
        let connection = table();
        for (value, ascending, expected) in [
            ("coalesce(v, -1)", false, [4, 1, 5, 6, 2, 3]),
            ("coalesce(v, -1)", true, [3, 2, 6, 5, 1, 4]),
            ("name", true, [5, 1, 3, 6, 2, 4]),
            ("id", false, [6, 5, 4, 3, 2, 1]),
        ] {
            for page in [1, 2, 4, 6, 7] {
                let (mut walked, mut after) = (Vec::new(), None);
                loop {
                    let mut found = small(value).page(&connection, ascending, after.as_ref(), page + 1).unwrap();
                    after = cut(&mut found, page).as_ref().map(through_an_address);
                    walked.extend(ids(&found));
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(walked, expected, "{page} a page by {value}");
            }
            let mut walked = Vec::new();
            let take = |ids: &[i64]| {
                walked.extend_from_slice(ids);
                Ok(())
            };
            small(value).walk(&connection, ascending, take).unwrap();
            assert_eq!(walked, expected, "by {value}");
        }
    }

    #[test]
    fn a_page_goes_on_behind_a_row_that_is_gone() {
        let connection = table();
        let mut found = small("name").page(&connection, true, None, 4).unwrap();
        let after = cut(&mut found, 3).unwrap();
        connection.execute("DELETE FROM t WHERE id = ?1", [after.id]).unwrap();
        let rest = small("name").page(&connection, true, Some(&through_an_address(&after)), 4).unwrap();
        assert_eq!((ids(&found), ids(&rest)), (vec![5, 1, 3], vec![6, 2, 4]));
    }

    #[test]
    fn a_place_is_short_where_the_order_is_the_usual_one_and_nonsense_is_none() {
        let connection = table();
        let text = |value| small(value).page(&connection, true, None, 1).unwrap()[0].text();
        assert_eq!(
            (text("id"), text("coalesce(v, -1)"), text("name")),
            ("1".to_owned(), "3:-1".to_owned(), "5:=".to_owned())
        );
        for nonsense in ["", "x", "7:", "7:x", ":7", "7.5", "7:7:7"] {
            assert_eq!(Place::from_pairs(&[("after".to_owned(), nonsense.to_owned())]), None, "{nonsense}");
        }
    }
}
