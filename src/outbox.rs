//! The durable queue between what became true and who is told.
//!
//! - [`enqueue`] writes one event per changed segment, inside the transaction that changed it.
//! - [`fan_out`] turns events into deliveries, for each destination that wants the event; one that
//!   takes several at once shares a delivery between them.
//! - [`claim`] hands out what is due, [`settle`] records what became of it.
//! - [`act`] does what the merchant says: release, discard, retry, replay; [`pause`] and
//!   [`resume`] stop a destination and let it go on; [`draft`] is what one of them says.
//!
//! [`Health`] is how a destination fares; each settlement moves it, and a claim asks it first.
//!
//! A *line* is the deliveries of one customer to one destination, oldest first. Only the head of a
//! line has `due_at` set, so finding what is due never walks over deliveries that have to wait for
//! an older one. When the head ends, [`settle`] makes the next one due.
//!
//! Who was erased is spoken of no more, but for `customer/redacted` itself: [`withdraw`] empties the
//! queue of them, and nothing about them is queued or claimed from then on ([`ERASED`]).
//!
//! All tables written here (`outbox`, `deliveries`, `batched`, `destinations`, `attempts`) are
//! written nowhere else.

mod about;
mod act;
mod batch;
mod claim;
mod consent;
mod destinations;
mod draft;
mod enqueue;
mod enqueue_one;
mod envelope;
mod fan_out;
mod health;
mod ids;
mod line;
mod read;
mod restored;
mod retention;
mod route;
mod set_back;
mod settle;
mod standing;
mod withdraw;

use crate::model::text_enum;

pub use about::{EventRange, event_in, first_in};
pub use act::{Action, Cursor, Filter, act, count_matching, count_up_to, newest_replay};
pub use claim::{Claim, Claimed, Claims, Places, claim, may_send, reclaim};
pub use consent::review_consent;
pub use destinations::{Position, Resume, activate, health, pause, prepare_resume, resume};
pub use draft::{Draft, draft};
pub use enqueue::{Lapse, SegmentChange, enqueue, enqueue_lapsed, instant};
pub use enqueue_one::{enqueue_first_order, enqueue_one, has_unqueued};
pub use envelope::{Envelope, Event, EventCustomer, Fields, Shop};
pub use fan_out::{Disposition, Slice, fan_out, fan_out_unqueued};
pub use health::{DestinationState, Effect, Gate, Health};
pub use ids::{Ids, evt_id, msg_id};
pub use read::{
    Delivery, DeliveryFilter, Lane, Open, Receipt, deliveries, end_of_look, events, lanes_of_run, open, receipt,
    stranded, test_about,
};
pub use restored::hold_restored;
pub use retention::{Expired, forget};
pub use route::{Misconfigured, Route};
pub use set_back::set_back;
pub use settle::{Settled, Settlement, Turned, Verdict, settle};
pub use standing::{Standing, standings};
pub use withdraw::{Withdrawn, withdraw};

/// Why a delivery was dropped whose customer was erased.
pub const ERASED: &str = "the customer was erased on request";

/// The body with which `events`, of one run and type, go to a destination.
#[must_use]
pub fn body_of(shop: &Shop, route: &Route, message_id: &[u8; 16], events: &[Event]) -> Vec<u8> {
    match events {
        [event] if route.batch == 1 => Envelope { shop, fields: route.fields, event }.to_bytes(),
        _ => batch::Batch { shop, fields: route.fields, message_id, events }.to_bytes(),
    }
}

text_enum!(Cause { Order = "order", Refund = "refund", Ranking = "ranking", Baseline = "baseline", Remap = "remap" });

text_enum!(EventType {
    SegmentChanged = "rfm/segment.changed",
    FirstOrder = "customer/first_order",
    Lapsed = "customer/lapsed",
    Redacted = "customer/redacted",
    Test = "test",
});

text_enum!(State {
    Waiting = "waiting",
    Sending = "sending",
    Retrying = "retrying",
    Held = "held",
    Delivered = "delivered",
    Dead = "dead",
    Superseded = "superseded",
    Discarded = "discarded",
});

text_enum!(Hold {
    Baseline = "baseline",
    Run = "run",
    Consent = "consent",
    Destination = "destination",
    Restored = "restored",
});

/// Why a segment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The customer ordered since the run before.
    Order,
    /// An order of theirs lost worth since the run before, or all did: the customer was deleted or
    /// erased.
    Refund,
    /// Others moved, or time passed.
    Ranking,
    /// The very first run: everyone is new.
    Baseline,
    /// The segment rules changed.
    Remap,
}

/// `type` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    SegmentChanged,
    /// A live order is the first of its customer that counts.
    FirstOrder,
    /// A run found that the last order lies so many days back as the merchant asked about.
    Lapsed,
    /// What named the customer was erased on request; whoever holds it should erase it too.
    Redacted,
    /// The merchant tried a destination. Never queued.
    Test,
}

/// Where a delivery stands. The last four are final; only an explicit replay leaves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not tried yet.
    Waiting,
    /// Claimed; a request may be on its way.
    Sending,
    /// Tried, will be tried again.
    Retrying,
    /// Waits for the merchant; [`Hold`] says why.
    Held,
    Delivered,
    /// Given up; stands in sight until it is replayed.
    Dead,
    /// A newer event of the same customer made it pointless.
    Superseded,
    /// The merchant chose not to send it.
    Discarded,
}

/// Why a delivery is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Its run is the first one, or one under new segment rules, and names a segment for everyone.
    Baseline,
    /// Its run changed more customers than `hold_above_percent`.
    Run,
    /// It is not known whether the customer agreed.
    Consent,
    /// The destination asked for nothing more (410).
    Destination,
    /// It comes from a backup: it may have been sent since that was made.
    Restored,
}
