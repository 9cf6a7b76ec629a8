//! The three steps from an empty shop to one that works, as the Overview shows them until they are done, or
//! the last one was left undone for two weeks. Pure.

use super::App;

/// Where a new shop stands.
pub struct First {
    pub title: &'static str,
    pub text: &'static str,
    pub steps: [Step; 3],
}

pub struct Step {
    pub title: &'static str,
    pub text: String,
    /// Its class: done, next, later.
    pub state: &'static str,
    pub action: Action,
}

/// What to press.
pub enum Action {
    None,
    /// An address and what it is called.
    Go(&'static str, &'static str),
    Score,
}

/// How far a shop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    NoOrders,
    Ordered,
    /// There was a run, which found nobody to score.
    NobodyScored,
    Scored,
}

/// The steps of a shop. `taken`: a tool took a test or a delivery, so it is known to work.
pub fn first(app: &App, stage: Stage, taken: bool) -> First {
    let named = !app.config.destination.is_empty();
    let connected = named && taken;
    let (title, text) = match stage {
        Stage::NoOrders => ("No orders yet", "Three steps, and your segments keep themselves up to date."),
        Stage::Ordered => ("Your orders are in", "They have not been scored yet."),
        Stage::NobodyScored => (
            "No customer to score yet",
            "The last run found no order that counts: paid, no test, not cancelled and not refunded in full. The next one scores the orders that came since; count_pending = true under [orders] in config.toml lets unpaid ones count too.",
        ),
        Stage::Scored => (
            "Your customers are scored",
            "One step is left. You can also do without: segments keep themselves up to date either way.",
        ),
    };
    // Scoring without orders finds nobody, so it is never done before them.
    let [first, second, third] = match stage {
        Stage::NoOrders => ["next", "later", "later"],
        Stage::Ordered | Stage::NobodyScored => ["done", "next", "later"],
        Stage::Scored => ["done", "done", "next"],
    };
    let third = if connected { "done" } else { third };
    let bring = Step {
        title: "Bring in your orders",
        text: format!(
            "Upload an export of your shop, and let the shop send new orders by itself: point its webhooks at the outside of {}, like https://YOUR-ADDRESS/webhooks/shopify.",
            app.config.webhooks.listen
        ),
        state: first,
        action: if stage == Stage::NoOrders {
            Action::Go("/import", "Import orders")
        } else {
            Action::Go("/customers", "See the customers")
        },
    };
    let score = Step {
        title: "Score your customers",
        text: "Each gets recency, frequency and monetary scores and a segment. From then on it happens every night."
            .to_owned(),
        state: second,
        action: match stage {
            Stage::NoOrders => Action::None,
            Stage::Ordered | Stage::NobodyScored => Action::Score,
            Stage::Scored => Action::Go("/segments", "See the segments"),
        },
    };
    let tool = Step {
        title: "Connect your email tool",
        text: match (named, connected) {
            (true, true) => "It took what was sent to it, and is told of every customer who moves.".to_owned(),
            (true, false) => {
                "It is in the configuration. Send a test, to see that it takes what is sent to it.".to_owned()
            }
            (false, _) => format!(
                "It is told of every customer who moves. Add a [[destination]] to {}, start quintile again and send a test.",
                app.config_path.display()
            ),
        },
        state: third,
        action: Action::Go("/destinations", if named && !connected { "Send a test" } else { "Destinations" }),
    };
    First { title, text, steps: [bring, score, tool] }
}
