//! What is exported, table by table and column by column. The queries are plain SQL, so that the same
//! ones make the files here and the views of the export for PostgreSQL.
//!
//! `docs/outgrowing.md` says what each column means; a test holds its lists to these.

use crate::model::Currency;

/// What a column holds, which says how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of ours: text, as in JSON everywhere.
    Id,
    /// A blob is text too: what came and went by HTTP.
    Text,
    Number,
    /// 1 or 0: true or false.
    Flag,
    /// Minor units: a decimal in the currency's own digits.
    Money,
    /// Unix milliseconds: RFC 3339 in UTC.
    Time,
    /// 16 bytes: evt_….
    Event,
    /// 16 bytes: msg_….
    Message,
}

use Kind::{Event, Flag, Id, Message, Money, Number, Text, Time};

/// A file, or in PostgreSQL a view.
pub(super) struct Table {
    pub name: &'static str,
    /// Name, kind, and where it comes from.
    pub columns: &'static [(&'static str, Kind, &'static str)],
    pub from: &'static str,
    pub order: &'static str,
}

/// What the queries say of the configuration.
pub(super) struct Words {
    pub currency: Currency,
    /// Whose scores are told: an SQL condition on the customer `c`.
    pub ranked: &'static str,
}

impl Table {
    pub fn select(&self, words: &Words) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _, sql)| format!("{sql} AS \"{name}\"")).collect();
        let text = format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), self.from, self.order);
        text.replace("{ranked}", words.ranked).replace("{currency}", words.currency.code())
    }
}

/// Whether an order counts, in the words of `/webhooks/orders`: imported again it counts alike.
const STATUS: &str = "CASE
    WHEN o.deleted_at IS NOT NULL OR o.is_test = 1 OR o.status IN ('cancelled', 'voided', 'expired', 'unknown') THEN 'cancelled'
    WHEN o.status IN ('pending', 'authorized') THEN 'pending'
    WHEN o.net = 0 AND o.gross > 0 THEN 'refunded'
    ELSE 'paid' END";
/// As placed, or as enlarged since.
const TOTAL: &str = "CASE WHEN o.net > o.gross THEN o.net ELSE o.gross END";
/// What of an order that counts does not: given back, taken off or not paid.
const REFUNDED: &str = "CASE
    WHEN o.counted = 0 AND (o.deleted_at IS NOT NULL OR o.is_test = 1 OR o.status NOT IN ('paid', 'partially_paid', 'partially_refunded', 'refunded'))
      THEN o.refunded
    WHEN o.net > o.gross THEN 0
    ELSE o.gross - o.net END";
/// Orders of people who are gone count for nobody.
const OWNER: &str = "CASE WHEN c.deleted_at IS NULL AND c.redacted_at IS NULL THEN o.customer_id END";
const OWNERS_EMAIL: &str = "CASE WHEN c.deleted_at IS NULL AND c.redacted_at IS NULL THEN o.email END";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "customers",
        from: "customers c LEFT JOIN scores s ON s.customer_id = c.id",
        order: "c.id",
        columns: &[
            ("id", Id, "c.id"),
            ("source", Text, "c.source"),
            ("external_id", Text, "c.external_id"),
            ("email", Text, "c.email"),
            ("first_name", Text, "c.first_name"),
            ("last_name", Text, "c.last_name"),
            ("phone", Text, "c.phone"),
            ("consent", Text, "c.consent"),
            ("tags", Text, "c.tags"),
            ("order_count", Number, "c.order_count"),
            ("total_spent", Money, "c.total_spent"),
            ("avg_order_value", Money, "c.avg_order_value"),
            ("currency", Text, "'{currency}'"),
            ("first_order_at", Time, "c.first_order_at"),
            ("last_order_at", Time, "c.last_order_at"),
            ("r", Number, "CASE WHEN {ranked} THEN s.r END"),
            ("f", Number, "CASE WHEN {ranked} THEN s.f END"),
            ("m", Number, "CASE WHEN {ranked} THEN s.m END"),
            ("segment", Text, "CASE WHEN {ranked} THEN s.segment END"),
            ("previous_segment", Text, "s.previous_segment"),
            ("segment_since", Time, "s.segment_since"),
            ("merged_into", Id, "c.merged_into"),
            ("deleted_at", Time, "c.deleted_at"),
            ("erased_at", Time, "c.redacted_at"),
            ("created_at", Time, "c.created_at"),
        ],
    },
    Table {
        name: "aliases",
        from: "aliases a",
        order: "a.kind, a.source, a.key",
        columns: &[
            ("kind", Text, "a.kind"),
            ("source", Text, "a.source"),
            ("key", Text, "a.key"),
            ("customer_id", Id, "a.customer_id"),
            ("created_at", Time, "a.created_at"),
        ],
    },
    Table {
        name: "orders",
        from: "orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE o.ordered_at IS NOT NULL",
        order: "o.id",
        columns: &[
            ("order_id", Id, "o.id"),
            ("source", Text, "o.source"),
            ("external_id", Text, "o.source_id"),
            ("name", Text, "o.name"),
            ("customer_id", Id, OWNER),
            ("external_customer_id", Text, "o.customer_ref"),
            ("email", Text, OWNERS_EMAIL),
            ("ordered_at", Time, "o.ordered_at"),
            ("status", Text, STATUS),
            ("total", Money, TOTAL),
            ("refunded", Money, REFUNDED),
            ("currency", Text, "o.currency"),
            ("net", Money, "o.net"),
            ("counted", Flag, "o.counted"),
            ("shop_status", Text, "o.status"),
            ("shop_total", Money, "o.gross"),
            ("shop_current", Money, "o.current"),
            ("shop_outstanding", Money, "o.outstanding"),
            ("shop_refunded", Money, "o.refunded"),
            ("test", Flag, "o.is_test"),
            ("historical", Flag, "o.historical"),
            ("origin", Text, "o.origin"),
            ("created_at", Time, "o.created_at"),
            ("updated_at", Time, "o.source_updated_at"),
            ("cancelled_at", Time, "o.cancelled_at"),
            ("deleted_at", Time, "o.deleted_at"),
            ("received_at", Time, "o.received_at"),
        ],
    },
    Table {
        name: "runs",
        from: "runs r",
        order: "r.id",
        columns: &[
            ("id", Id, "r.id"),
            ("trigger", Text, "r.trigger"),
            ("slot", Text, "r.slot"),
            ("as_of", Time, "r.as_of"),
            ("started_at", Time, "r.started_at"),
            ("scored_at", Time, "r.scored_at"),
            ("emitted_at", Time, "r.emitted_at"),
            ("finished_at", Time, "r.finished_at"),
            ("state", Text, "r.state"),
            ("scored", Number, "r.scored"),
            ("changed", Number, "r.changed"),
            ("error", Text, "r.error"),
            ("baseline", Flag, "r.baseline"),
            ("remap", Flag, "r.remap"),
            ("held", Flag, "r.held"),
            ("missed", Number, "r.missed"),
            ("ties", Text, "r.ties"),
            ("window_days", Number, "r.window_days"),
            ("rules", Text, "r.rules"),
            ("first_seq", Number, "r.first_seq"),
            ("last_seq", Number, "r.last_seq"),
        ],
    },
    Table {
        name: "run_segments",
        from: "run_segments s",
        order: "s.run_id, s.segment",
        columns: &[
            ("run_id", Id, "s.run_id"),
            ("segment", Text, "s.segment"),
            ("rank", Number, "s.rank"),
            ("customers", Number, "s.customers"),
            ("revenue", Money, "s.revenue"),
        ],
    },
    Table {
        name: "run_cells",
        from: "run_cells c",
        order: "c.run_id, c.r, c.f, c.m",
        columns: &[
            ("run_id", Id, "c.run_id"),
            ("r", Number, "c.r"),
            ("f", Number, "c.f"),
            ("m", Number, "c.m"),
            ("customers", Number, "c.customers"),
            ("revenue", Money, "c.revenue"),
        ],
    },
    Table {
        name: "run_quintiles",
        from: "run_quintiles q",
        order: "q.run_id, q.dimension, q.quintile",
        columns: &[
            ("run_id", Id, "q.run_id"),
            ("dimension", Text, "q.dimension"),
            ("quintile", Number, "q.quintile"),
            ("customers", Number, "q.customers"),
            ("last_order_from", Time, "CASE WHEN q.dimension = 'r' THEN q.lowest END"),
            ("last_order_to", Time, "CASE WHEN q.dimension = 'r' THEN q.highest END"),
            ("order_count_from", Number, "CASE WHEN q.dimension = 'f' THEN q.lowest END"),
            ("order_count_to", Number, "CASE WHEN q.dimension = 'f' THEN q.highest END"),
            ("total_spent_from", Money, "CASE WHEN q.dimension = 'm' THEN q.lowest END"),
            ("total_spent_to", Money, "CASE WHEN q.dimension = 'm' THEN q.highest END"),
        ],
    },
    Table {
        name: "run_moves",
        from: "run_moves v",
        order: "v.run_id, v.old, v.new",
        columns: &[
            ("run_id", Id, "v.run_id"),
            ("old_segment", Text, "NULLIF(v.old, '')"),
            ("new_segment", Text, "NULLIF(v.new, '')"),
            ("customers", Number, "v.customers"),
        ],
    },
    Table {
        name: "history",
        from: "history h LEFT JOIN runs r ON r.id = h.run_id",
        order: "h.run_id, h.customer_id",
        columns: &[
            ("run_id", Id, "h.run_id"),
            ("customer_id", Id, "h.customer_id"),
            ("as_of", Time, "r.as_of"),
            ("r", Number, "h.r"),
            ("f", Number, "h.f"),
            ("m", Number, "h.m"),
            ("segment", Text, "h.segment"),
            ("moved", Flag, "h.moved"),
        ],
    },
    Table {
        name: "events",
        from: "outbox e",
        order: "e.seq",
        columns: &[
            ("seq", Number, "e.seq"),
            ("id", Event, "e.event_id"),
            ("type", Text, "e.type"),
            ("timestamp", Time, "e.at"),
            ("customer_id", Id, "e.customer_id"),
            ("old_segment", Text, "e.old_segment"),
            ("new_segment", Text, "e.new_segment"),
            ("cause", Text, "e.cause"),
            ("run_id", Id, "e.run_id"),
            ("r", Number, "e.r"),
            ("f", Number, "e.f"),
            ("m", Number, "e.m"),
            ("lapsed_days", Number, "e.lapsed_days"),
        ],
    },
    Table {
        name: "deliveries",
        from: "deliveries d",
        order: "d.id",
        columns: &[
            ("id", Id, "d.id"),
            ("message_id", Message, "d.message_id"),
            ("destination", Text, "d.destination"),
            ("seq", Number, "d.seq"),
            ("customer_id", Id, "d.customer_id"),
            ("run_id", Id, "d.run_id"),
            ("state", Text, "d.state"),
            ("hold", Text, "d.hold"),
            ("events", Number, "d.events"),
            ("attempts", Number, "d.attempts"),
            ("next_attempt_at", Time, "CASE WHEN d.due_at = 0 THEN d.created_at ELSE d.due_at END"),
            ("last_status", Number, "d.last_status"),
            ("last_error", Text, "d.last_error"),
            ("created_at", Time, "d.created_at"),
            ("finished_at", Time, "d.finished_at"),
            ("replay_of", Message, "d.replay_of"),
            ("body", Text, "d.body"),
        ],
    },
    Table {
        name: "delivery_events",
        from: "batched b",
        order: "b.delivery_id, b.seq",
        columns: &[
            ("delivery_id", Id, "b.delivery_id"),
            ("seq", Number, "b.seq"),
            ("customer_id", Id, "b.customer_id"),
        ],
    },
    Table {
        name: "attempts",
        from: "attempts t",
        order: "t.delivery_id, t.number",
        columns: &[
            ("delivery_id", Id, "t.delivery_id"),
            ("number", Number, "t.number"),
            ("started_at", Time, "t.started_at"),
            ("duration_ms", Number, "t.duration_ms"),
            ("status", Number, "t.status"),
            ("error", Text, "t.error"),
            ("answer", Text, "t.answer"),
        ],
    },
    Table {
        name: "destinations",
        from: "destinations n",
        order: "n.name",
        columns: &[
            ("name", Text, "n.name"),
            ("state", Text, "n.state"),
            ("reason", Text, "n.reason"),
            ("since", Time, "n.since"),
            ("failures", Number, "n.failures"),
        ],
    },
    Table {
        name: "inbox",
        from: "inbox i",
        order: "i.id",
        columns: &[
            ("id", Id, "i.id"),
            ("source", Text, "i.source"),
            ("topic", Text, "i.topic"),
            ("delivery_key", Text, "i.delivery_key"),
            ("headers", Text, "i.headers"),
            ("body", Text, "CASE WHEN length(i.body) > 0 THEN i.body END"),
            ("state", Text, "i.state"),
            ("reason", Text, "i.reason"),
            ("duplicates", Number, "i.duplicates"),
            ("received_at", Time, "i.received_at"),
        ],
    },
];

/// Tables of the database that an export copies, referenced ones first.
pub(super) const COPIED: &[&str] = &[
    "customers",
    "aliases",
    "orders",
    "runs",
    "segments",
    "customer_scores",
    "run_segments",
    "run_cells",
    "run_quintiles",
    "run_moves",
    "history",
    "outbox",
    "deliveries",
    "batched",
    "attempts",
    "destinations",
    "inbox",
];

/// What stays: the keys of this database and hashes that are worth nothing without them; what is being
/// looked for on behalf of people who asked to be forgotten; how far the program is with its own work.
#[cfg(test)]
const LEFT_OUT: &[&str] = &["meta", "tombstones", "privacy_tasks", "unqueued", "imports", "syncs"];

#[cfg(test)]
mod tests;
