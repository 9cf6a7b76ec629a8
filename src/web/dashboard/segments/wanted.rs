//! What the address of the page of all segments says.

use crate::web::dashboard::{
    definitions::terms,
    order::{self, Column, Order},
    segment_table, view,
};

/// Which runs are compared, and in which order the table stands.
pub struct Wanted {
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Also who stayed.
    pub unchanged: bool,
    pub order: Order,
}

impl Wanted {
    pub fn from_pairs(pairs: &[(String, String)]) -> Self {
        let run = |name| view::parameter(pairs, name).and_then(|id| id.parse().ok());
        Self {
            from: run("from"),
            to: run("to"),
            unchanged: view::parameter(pairs, "unchanged") == Some("1"),
            order: Order::from_pairs(segment_table::KEYS, pairs),
        }
    }

    /// The address of the page with its table in another order.
    fn href(&self, order: Order) -> String {
        let [from, to] = [self.from, self.to].map(|run| run.map(|id| id.to_string()));
        let pairs = [("from", from.as_deref()), ("to", to.as_deref()), ("unchanged", self.unchanged.then_some("1"))];
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        order::address("/segments", pairs.chain(order.pairs()))
    }

    pub fn columns(&self) -> Vec<Column> {
        let sorted = |name, column| self.order.column(name, column, |order| self.href(order));
        vec![
            sorted("rank", Column::new("Segment", None, "")),
            sorted("customers", Column::new("Customers", Some(terms::SCORED), "n")),
            Column::new("Share", Some(terms::SHARE), "n p"),
            sorted("revenue", Column::new("Revenue", Some(terms::REVENUE), "n p w")),
            Column::new("Of revenue", Some(terms::SHARE), "n p r"),
            Column::blank("pb"),
            sorted("spent", Column::new("Spent each", Some(terms::SPENT_EACH), "n p w")),
            sorted("change", Column::new("Change", Some(terms::CHANGE), "n d")),
            Column::new("12 weeks", Some(terms::WEEKS), "sp"),
        ]
    }
}
