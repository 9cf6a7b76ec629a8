//! In which order a list stands: as it is in the address, in the headings that turn it, and in a query
//! of a small table. Customers and deliveries are many, and have orders of their own.

use askama::filters::Safe;
use rusqlite::Connection;

use super::{
    definitions::terms::{self, Term},
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
    /// SQL; what it is sorted by, never NULL.
    pub value: &'static str,
}

/// The ids of a page of a small table, those that come behind the row `after`; the id parts equals.
pub fn ids(
    connection: &Connection,
    small: &Small,
    ascending: bool,
    after: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let Small { table, conditions, value } = small;
    let (beyond, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let sql = format!(
        "SELECT id FROM {table} WHERE {conditions}
           AND (?1 IS NULL OR ({value}, id) {beyond} ((SELECT {value} FROM {table} WHERE id = ?1), ?1))
         ORDER BY {value} {order}, id {order} LIMIT ?2"
    );
    connection.prepare_cached(&sql)?.query_map((after, sql_limit(limit)), |row| row.get(0))?.collect()
}

/// Cuts what was read with one more than fits to a page; returns the row that the next one starts behind.
pub fn cut(ids: &mut Vec<i64>, page: usize) -> Option<i64> {
    let more = ids.len() > page;
    ids.truncate(page);
    ids.last().copied().filter(|_| more)
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

    #[test]
    fn a_small_table_is_walked_in_any_order_row_by_row() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, hidden INTEGER NOT NULL DEFAULT 0);
                 INSERT INTO t (v) VALUES (3), (1), (NULL), (3), (2), (1); INSERT INTO t (v, hidden) VALUES (2, 1);",
            )
            .unwrap();
        let small = Small { table: "t", conditions: "hidden = 0".to_owned(), value: "coalesce(v, -1)" };
        for (ascending, expected) in [(false, [4, 1, 5, 6, 2, 3]), (true, [3, 2, 6, 5, 1, 4])] {
            for page in [1, 2, 4, 6, 7] {
                let (mut walked, mut after) = (Vec::new(), None);
                loop {
                    let mut found = ids(&connection, &small, ascending, after, page + 1).unwrap();
                    after = cut(&mut found, page);
                    walked.extend(found);
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(walked, expected, "{page} a page");
            }
        }
    }
}
