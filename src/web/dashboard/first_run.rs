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
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Orders have come in.
    pub ordered: bool,
    /// There was a run.
    pub made: bool,
    /// It scored somebody.
    pub scored: bool,
    /// A tool took a test or a delivery, so it is known to work.
    pub taken: bool,
}

/// The steps of a shop that is so far.
pub fn first(app: &App, progress: Progress) -> First {
    let Progress { ordered, made, scored, taken } = progress;
    let named = !app.config.destination.is_empty();
    let connected = named && taken;
    let (title, text) = match (ordered, made) {
        _ if scored => (
            "Your customers are scored",
            "One step is left. You can also do without: segments keep themselves up to date either way.",
        ),
        (false, _) => ("No orders yet", "Three steps, and your segments keep themselves up to date."),
        (true, false) => ("Your orders are in", "They have not been scored yet."),
        (true, true) => (
            "No customer to score yet",
            "The last run found no order that counts. The next one scores the orders that came since.",
        ),
    };
    // Scoring without orders finds nobody, so it is never done before them.
    let states = match (ordered, connected) {
        _ if scored => ["done", "done", if connected { "done" } else { "next" }],
        (false, connected) => ["next", "later", if connected { "done" } else { "later" }],
        (true, connected) => ["done", "next", if connected { "done" } else { "later" }],
    };
    let bring = Step {
        title: "Bring in your orders",
        text: format!(
            "Upload an export of your shop, and let the shop send new orders by itself: point its webhooks at the outside of {}, like https://YOUR-ADDRESS/webhooks/shopify.",
            app.config.webhooks.listen
        ),
        state: states[0],
        action: if ordered {
            Action::Go("/customers", "See the customers")
        } else {
            Action::Go("/import", "Import orders")
        },
    };
    let score = Step {
        title: "Score your customers",
        text: "Each gets recency, frequency and monetary scores and a segment. From then on it happens every night."
            .to_owned(),
        state: states[1],
        action: match (ordered, scored) {
            (_, true) => Action::Go("/segments", "See the segments"),
            (true, false) => Action::Score,
            (false, false) => Action::None,
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
        state: states[2],
        action: Action::Go("/destinations", if named && !connected { "Send a test" } else { "Destinations" }),
    };
    First { title, text, steps: [bring, score, tool] }
}
