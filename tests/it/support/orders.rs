//! Orders as a shop knows them, and what it writes of them in three formats: for tests that keep books of
//! their own.

use quintile::model::{Currency, Money, Source, Timestamp};
use serde_json::{Value, json};

use super::shop::{customer, order};

/// The latest state of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub buyer: Buyer,
    pub placed_at: i64,
    /// When this state came to be: newer states have later ones.
    pub updated_at: i64,
    pub total: i64,
    pub refunded: i64,
    pub paid: bool,
    pub cancelled: bool,
    pub deleted: bool,
}

/// Who ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Buyer {
    /// By the number of the source.
    Known(Source, u64),
    /// By e-mail alone: that of Shopify's customer of this number, if there ever is one.
    Guest(u64),
}

impl Buyer {
    /// As [`LABEL`](super::shop::LABEL) names them.
    pub fn label(self) -> String {
        match self {
            Self::Known(source, id) => format!("{source}:{id}"),
            Self::Guest(_) => format!("guest:{}", self.email()),
        }
    }

    pub fn email(self) -> String {
        let (Self::Known(_, id) | Self::Guest(id)) = self;
        let source = if let Self::Known(source, _) = self { source } else { Source::Shopify };
        format!("c{id}@{source}.example")
    }

    pub fn id(self) -> Option<u64> {
        if let Self::Known(_, id) = self { Some(id) } else { None }
    }
}

impl Order {
    /// What it is worth, in cents; 0: it does not count.
    pub fn net(&self) -> i64 {
        if self.paid && !self.cancelled && !self.deleted { self.total - self.refunded } else { 0 }
    }

    /// Its state as `source` tells of it.
    pub fn body(&self, source: Source, id: u64) -> Value {
        match source {
            _ if self.deleted => json!({ "id": id }),
            Source::Shopify => self.of_shopify(id),
            Source::WooCommerce => self.of_woocommerce(id),
            _ => self.of_api(id),
        }
    }

    fn of_shopify(&self, id: u64) -> Value {
        let status = match (self.paid, self.refunded) {
            (false, _) => "pending",
            (true, 0) => "paid",
            (true, refunded) if refunded == self.total => "refunded",
            (true, _) => "partially_refunded",
        };
        let mut body = order(id)
            .total(&decimal(self.total))
            .current(&decimal(self.total - self.refunded))
            .status(status)
            .placed(&time(self.placed_at))
            .updated(&time(self.updated_at));
        body = match self.buyer.id() {
            Some(buyer) => {
                let mut known = customer(buyer, &self.buyer.email());
                known["updated_at"] = json!(time(self.placed_at));
                body.by(&known)
            }
            None => body.guest(&self.buyer.email()),
        };
        if self.refunded > 0 {
            body = body.refund(&decimal(self.refunded));
        }
        if self.cancelled {
            body = body.set("cancelled_at", time(self.updated_at));
        }
        body.json()
    }

    fn of_woocommerce(&self, id: u64) -> Value {
        let gmt = |at| time(at).trim_end_matches('Z').to_owned();
        let status = match (self.cancelled, self.paid) {
            (true, _) => "cancelled",
            (false, true) => "processing",
            (false, false) => "pending",
        };
        let refunds = if self.refunded > 0 {
            json!([{ "id": 1, "total": format!("-{}", decimal(self.refunded)) }])
        } else {
            json!([])
        };
        json!({
            "id": id, "number": id.to_string(), "status": status, "currency": "EUR", "total": decimal(self.total),
            "date_created_gmt": gmt(self.placed_at), "date_modified_gmt": gmt(self.updated_at),
            "customer_id": self.buyer.id().unwrap_or(0),
            "billing": { "first_name": "Zoë", "last_name": "李", "email": self.buyer.email() },
            "line_items": [], "refunds": refunds,
        })
    }

    fn of_api(&self, id: u64) -> Value {
        let status = match (self.cancelled, self.paid, self.refunded) {
            (true, ..) => "cancelled",
            (false, false, _) => "pending",
            (false, true, refunded) if refunded == self.total => "refunded",
            (false, true, _) => "paid",
        };
        let mut buyer = json!({ "email": self.buyer.email() });
        if let Some(known) = self.buyer.id() {
            buyer["id"] = json!(known.to_string());
        }
        json!({
            "id": id.to_string(), "customer": buyer, "orderedAt": time(self.placed_at), "updatedAt": time(self.updated_at),
            "currency": "EUR", "total": decimal(self.total), "refunded": decimal(self.refunded), "status": status,
        })
    }
}

fn decimal(minor: i64) -> String {
    Money(minor).to_decimal(Currency::EUR)
}

/// As shops write it.
pub fn time(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}
