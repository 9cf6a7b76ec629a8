//! The queries, out of `queries.graphql`.

use std::sync::LazyLock;

use crate::model::Timestamp;

/// The whole document: every operation and fragment.
pub const DOCUMENT: &str = include_str!("queries.graphql");

/// One operation.
#[derive(Debug)]
pub struct Query {
    pub name: &'static str,
    /// With its fragments written out.
    pub text: String,
}

/// An operation of the document, read once.
macro_rules! operation {
    ($constant:ident, $name:literal) => {
        pub static $constant: LazyLock<Query> =
            LazyLock::new(|| Query { name: $name, text: written_out(definition($name)) });
    };
}

operation!(SHOP, "Shop");
operation!(ORDERS, "Orders");
operation!(CUSTOMERS, "Customers");
operation!(EXISTING, "Existing");
operation!(RUN_BULK, "RunBulk");
operation!(OPERATION, "Operation");
operation!(OPERATIONS, "Operations");
operation!(SUBSCRIPTIONS, "Subscriptions");
operation!(SUBSCRIBE, "Subscribe");

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Orders,
    Customers,
}

impl Kind {
    /// The field of the shop's that lists them, and what people call them.
    #[must_use]
    pub const fn root(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Customers => "customers",
        }
    }

    /// In a global id.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Orders => "Order",
            Self::Customers => "Customer",
        }
    }

    pub(super) fn page(self) -> &'static Query {
        match self {
            Self::Orders => &ORDERS,
            Self::Customers => &CUSTOMERS,
        }
    }

    /// The query of a bulk operation: all of them, or what changed since.
    pub(super) fn in_bulk(self, since: Option<Timestamp>) -> String {
        let fields = match self {
            Self::Orders => "OrderFields",
            Self::Customers => "CustomerFields",
        };
        let filter = since.map(|since| format!("(query: \"{}\")", changed_since(since))).unwrap_or_default();
        bulk(self, &filter, fragment(fields))
    }

    /// The query of a bulk operation that lists what there is.
    pub(super) fn ids_in_bulk(self) -> String {
        bulk(self, "", "id createdAt")
    }
}

fn bulk(kind: Kind, arguments: &str, fields: &str) -> String {
    format!("{{ {}{arguments} {{ edges {{ node {{ {fields} }} }} }} }}", kind.root())
}

/// The shop's search, in whole seconds.
pub fn changed_since(since: Timestamp) -> String {
    format!("updated_at:>='{}'", Timestamp::from_millis(since.seconds() * 1000))
}

/// The definition with this name, up to the brace that closes it. The document is part of the
/// program, and a test reads every one: an unknown name is empty.
fn definition(name: &str) -> &'static str {
    let starts = ["query ", "mutation ", "fragment "];
    let start = DOCUMENT.match_indices(name).map(|(at, _)| at).find_map(|at| {
        let after = DOCUMENT[at + name.len()..].chars().next()?;
        let keyword = starts.iter().find(|keyword| DOCUMENT[..at].ends_with(**keyword))?;
        (!after.is_alphanumeric()).then_some(at - keyword.len())
    });
    let Some(start) = start else { return "" };
    let mut depth = 0;
    for (at, c) in DOCUMENT[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &DOCUMENT[start..=start + at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// What stands inside a fragment.
fn fragment(name: &str) -> &'static str {
    let text = definition(name);
    text.find('{').map_or("", |start| text[start + 1..text.len() - 1].trim())
}

fn written_out(text: &str) -> String {
    ["OrderFields", "CustomerFields"]
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("...{name}"), fragment(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_whole() {
        let all =
            [&SHOP, &ORDERS, &CUSTOMERS, &EXISTING, &RUN_BULK, &OPERATION, &OPERATIONS, &SUBSCRIPTIONS, &SUBSCRIBE];
        for query in all {
            let braces = |brace| query.text.matches(brace).count();
            assert!(query.text.len() > 20 && braces('{') == braces('}'), "{}", query.name);
            assert!(!query.text.contains("...OrderFields") && !query.text.contains("...CustomerFields"));
        }
        assert!(ORDERS.text.contains("netPaymentSet { shopMoney { amount currencyCode } }"));
        assert!(CUSTOMERS.text.starts_with("query Customers("));
        assert_eq!(DOCUMENT.matches("\nquery ").count() + DOCUMENT.matches("\nmutation ").count(), all.len());
    }

    #[test]
    fn a_bulk_query_has_no_variables() {
        let since = Timestamp::parse_rfc3339("2026-11-01T00:00:00.999Z").unwrap();
        let query = Kind::Orders.in_bulk(Some(since));
        assert!(query.starts_with("{ orders(query: \"updated_at:>='2026-11-01T00:00:00Z'\") { edges { node { id name"));
        assert!(!query.contains('$') && !query.contains("..."));
        assert_eq!(Kind::Customers.ids_in_bulk(), "{ customers { edges { node { id createdAt } } } }");
    }
}
