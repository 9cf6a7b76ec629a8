//! The shop's API as the pull sees it: a real server on a real connection, which answers when a step
//! says so, with what the shop knows then, or with trouble.

use std::sync::{Arc, atomic::AtomicI64};

use quintile::model::{Currency, Money, Source};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{
    steps::any,
    store::{Account, Store},
};
use crate::{
    support::orders::{Buyer, Order, time},
    sync::{
        admin::{Admin, Download, Ending, Fault},
        nodes::{self, bag, with},
    },
};

/// How the API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fine,
    /// One of three answers is another.
    Moody,
    /// None is of use.
    Down,
}

impl Mood {
    pub fn any(dice: &mut fastrand::Rng) -> Self {
        any(dice, &[Self::Fine, Self::Fine, Self::Moody, Self::Moody, Self::Down])
    }
}

/// The server, and who waits at it.
pub struct Api {
    pub admin: Admin,
    pub mood: Mood,
    /// Its search finds what was changed so many milliseconds later.
    pub lag: i64,
    waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

impl Api {
    /// `now`: the shop's clock. `dice` chooses how large its pages are, and how slow its search.
    pub async fn start(now: Arc<AtomicI64>, dice: &mut fastrand::Rng) -> Self {
        let admin = Admin::start(now).await;
        let (gate, waiting) = mpsc::unbounded_channel();
        let lag = any(dice, &[0, 60_000, 540_000]);
        {
            let mut shop = admin.shop();
            (shop.gate, shop.lag, shop.page) = (Some(gate), lag, dice.usize(1..6));
        }
        Self { admin, mood: Mood::Fine, lag, waiting }
    }

    /// The next request: it is answered once the other end is told so.
    pub async fn is_asked(&mut self) -> oneshot::Sender<()> {
        self.waiting.recv().await.expect("the server runs as long as this")
    }

    /// It knows what the shop knows.
    pub fn learn(&self, store: &Store) {
        let mut shop = self.admin.shop();
        let living = store.orders.iter().filter(|((source, _), order)| *source == Source::Shopify && !order.deleted);
        shop.orders = living.map(|((_, id), order)| (*id, order_node(*id, order))).collect();
        shop.customers = store.accounts.iter().map(|(id, account)| (*id, customer_node(*id, account))).collect();
    }

    /// What the next answer will be; whether it is trouble.
    pub fn prepare(&self, dice: &mut fastrand::Rng) -> bool {
        let mut shop = self.admin.shop();
        // Operations go on whether they are asked for or not.
        for operation in shop.operations.values_mut() {
            operation.polls = operation.polls.saturating_sub(dice.u32(..2));
        }
        match self.mood {
            Mood::Fine => return false,
            Mood::Moody if dice.u32(..3) > 0 => return false,
            Mood::Moody => {}
            Mood::Down => {
                shop.faults.push_back(Fault::Status(503, None));
                return true;
            }
        }
        match dice.u32(..10) {
            0 => shop.faults.push_back(Fault::Status(502, None)),
            1 => shop.faults.push_back(Fault::Status(429, Some("2.0"))),
            2 => shop.faults.push_back(Fault::Error("THROTTLED")),
            3 => shop.faults.push_back(Fault::Error("INTERNAL_SERVER_ERROR")),
            4 => shop.faults.push_back(Fault::Junk),
            5 | 6 => shop.faults.push_back(Fault::Cut),
            7 => shop.bucket.available = -500.0,
            8 => {
                let some = [Download::Expired, Download::Broken, Download::Cut(dice.usize(..900))];
                shop.downloads.push_back(any(dice, &some));
            }
            _ => {
                let some = [Ending::Partial(0), Ending::Partial(1), Ending::Failed, Ending::Miscounted];
                shop.endings.push_back(any(dice, &some));
            }
        }
        true
    }

    /// All trouble is over.
    pub fn recover(&mut self) {
        self.mood = Mood::Fine;
        let mut shop = self.admin.shop();
        (shop.faults, shop.downloads, shop.endings) = Default::default();
    }
}

fn order_node(id: u64, order: &Order) -> Value {
    let amount = |minor| bag(&Money(minor).to_decimal(Currency::EUR));
    let status = match (order.paid, order.refunded) {
        (false, _) => "PENDING",
        (true, 0) => "PAID",
        (true, refunded) if refunded == order.total => "REFUNDED",
        (true, _) => "PARTIALLY_REFUNDED",
    };
    let at = time(order.updated_at);
    let left = amount(order.total - order.refunded);
    with(
        nodes::order(id, order.buyer.id(), "0.00", &time(order.placed_at)),
        [
            ("email", json!(order.buyer.email())),
            ("updatedAt", json!(at)),
            ("cancelledAt", json!(order.cancelled.then_some(at))),
            ("displayFinancialStatus", json!(status)),
            ("totalPriceSet", amount(order.total)),
            ("currentTotalPriceSet", left.clone()),
            ("totalRefundedSet", amount(order.refunded)),
            ("netPaymentSet", if order.paid { left } else { amount(0) }),
        ],
    )
}

fn customer_node(id: u64, account: &Account) -> Value {
    let (asked_at, state) = account.consent;
    let address = json!({
        "emailAddress": Buyer::Known(Source::Shopify, id).email(),
        "marketingState": state.to_uppercase(),
        "marketingUpdatedAt": time(asked_at),
    });
    with(nodes::customer(id, &time(account.updated_at)), [("defaultEmailAddress", address)])
}
