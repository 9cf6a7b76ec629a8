//! The words of the pages, each with its meaning in one sentence. A word stands for one number on every
//! page, in every file and in every command; headings link to it, and each page lists its own at its foot.

use askama::filters::{Html, Safe, escape};

/// A word and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub term: &'static str,
    pub meaning: &'static str,
}

const fn term(term: &'static str, meaning: &'static str) -> Term {
    Term { term, meaning }
}

impl Term {
    /// Of its entry at the foot of the page: "d-up-and-down".
    pub fn id(&self) -> String {
        let letters = self.term.chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter => letter.is_ascii_alphanumeric().then(|| letter.to_ascii_lowercase()),
        });
        format!("d-{}", letters.collect::<String>())
    }

    /// The word as a heading: it says its meaning, and leads to the page's list.
    pub fn link(&self) -> Safe<String> {
        self.called(self.term)
    }

    /// [`Self::link`] under other words.
    pub fn called(&self, words: &str) -> Safe<String> {
        let (Safe(title), Safe(words)) = (plain(&format!("{}: {}", self.term, self.meaning)), plain(words));
        Safe(format!(r##"<a class="term" href="#{}" title="{title}">{words}</a>"##, self.id()))
    }
}

/// A text as it stands in HTML.
pub fn plain(text: &str) -> Safe<String> {
    Safe(escape(text, Html).map_or_else(|_| String::new(), |text| text.to_string()))
}

pub const SCORED: Term = term("Scored customers", "those with at least one counted order at the run.");
pub const NOT_SCORED: Term = term(
    "Not scored",
    "has no counted order, had none yet at the last run, or was erased. Such customers are in no segment, share or revenue.",
);
pub const COUNTED: Term =
    term("Counted order", "paid, no test, not cancelled and not refunded in full. No other order is in any number.");
pub const ORDERS: Term = term("Orders", "the counted ones of a customer.");
pub const SPENT: Term = term("Spent", "all that a customer paid so far in counted orders, refunds taken off.");
pub const AVERAGE: Term = term("Average order", "spent, divided by orders.");
pub const LAST_ORDER: Term = term("Last order", "the last counted one.");
pub const SCORES: Term = term(
    "R F M",
    "recency (the last order), frequency (orders) and monetary value (spent) from 1 to 5, as the last run found them.",
);
pub const REVENUE: Term = term("Revenue", "all that the scored customers spent so far, refunds taken off.");
pub const SPENT_EACH: Term = term("Spent each", "what a customer of the segment spent so far on average.");
pub const SHARE: Term = term("Share", "a part of all scored customers, or of their revenue, to one decimal.");
pub const CHANGE: Term = term(
    "Change",
    "customers now minus customers in the run before. The first run has none before it, which a dash says.",
);
pub const WEEKS: Term =
    term("12 weeks", "the customers that the last run of each week counted, the present week last.");
pub const HALF: Term =
    term("Half of them", "the median: with all customers of the segment in a row, the one in the middle.");
pub const MOVED: Term =
    term("Moved", "in another segment than in the run before. Who is scored for the first time is new, not moved.");
pub const NEW: Term =
    term("New", "scored for the first time. The segment of that name is another thing: its rule says who is in it.");
pub const LEFT: Term = term(
    "Left",
    "was scored in the run before and is not any more: the last counted order is gone, or the customer was deleted or erased.",
);
pub const UP_DOWN: Term = term(
    "Up and down",
    "follow the order of the segment table, best first. From New to Potential is neither: a second order leads there, and so does waiting.",
);
pub const QUINTILE: Term = term(
    "Quintile",
    "a fifth of the scored customers, ranked by one value: 5 is the best fifth. A range is the real smallest and largest value inside it.",
);
pub const AS_OF: Term = term("As of", "the instant that a run looks at: later orders do not exist for it.");
pub const TOOK: Term = term("Took", "scoring and handing the events over, together.");
pub const EVENTS: Term = term(
    "Events",
    "what a run has for a destination: one for each customer who moved, is new or left, as far as the destination wants it.",
);
pub const MISSED: Term = term("Missed", "fetched orders that no webhook had brought.");

pub const DELIVERY: Term = term(
    "Delivery",
    "one message to one destination, about one event or several. It keeps its id and its bytes over all tries.",
);
pub const WAITING: Term =
    term("Waiting", "not tried yet: on its way, at its turn, or behind an older one of the same customer.");
pub const RETRYING: Term =
    term("Retrying", "tried, not taken, and tried again by itself: twelve times over four days.");
pub const HELD: Term =
    term("Held", "not sent until you decide, or until the customer agrees to e-mail; the reason stands beside it.");
pub const GAVE_UP: Term =
    term("Gave up", "refused for good, or tried for four days. It stays here until you send it again.");
pub const DELIVERED: Term = term("Delivered", "the tool answered that it took it (2xx).");
pub const NOT_SENT: Term = term(
    "Not sent",
    "discarded by you or because a customer refuses e-mail or was erased, or replaced by newer news of the same customer.",
);
pub const COUNTS: Term =
    term("Counts", "of deliveries stop at 10,000, so that the page is fast however long the list is.");

pub const HEALTHY: Term = term("Healthy", "its last try was taken, or it was not tried yet.");
pub const UNSTEADY: Term = term(
    "Unsteady",
    "up to four tries in a row failed. Each is tried again by itself; the fifth in a row makes it failing.",
);
pub const FAILING: Term = term(
    "Failing",
    "five tries in a row failed, or it refuses our key (401, 403). Then one delivery is tried now and then, until one is taken.",
);
pub const LOOK: Term = term(
    "Look at this",
    "its address was refused, the last test of it failed, or it failed before it was resumed; it is sent to, and healthy once it takes something.",
);
pub const PAUSED: Term = term("Paused", "nothing is sent until you resume it; its queue waits.");
pub const DISABLED: Term =
    term("Disabled", "it asked for nothing more (410), or failed for five days. Its queue waits until you resume it.");
pub const QUEUE: Term = term("Queue", "its deliveries that have not ended, counted up to 10,000.");
pub const ANSWERS_IN: Term = term(
    "Answers in",
    "the time from our request to the end of its answer: the median of its deliveries among the newest 1,000 of all.",
);
pub const LATENCY: Term = term(
    "Latency",
    "the time from the event being queued to the tool having taken it, waiting and retries included: the median of the same deliveries.",
);

pub const BROUGHT: Term = term(
    "New, updated, unchanged",
    "orders or customers that were not known, that a file changed, and that were known like that.",
);
pub const REJECTED: Term = term("Rejected", "rows that cannot be used. Nothing of them is stored, and each says why.");

pub const FREE: Term = term("Free", "room inside the file that deleted rows left. It is used again.");
pub const LOG: Term = term(
    "Write-ahead log",
    "holds what was written last, until it is moved into the file. It belongs to the database.",
);

/// The words of a page, as the navigation names it; of one segment's or run's page, "segment" and "run".
#[must_use]
pub fn of_page(page: &str) -> &'static [Term] {
    match page {
        "overview" => &[
            SCORED, NOT_SCORED, COUNTED, REVENUE, SHARE, CHANGE, WEEKS, MOVED, NEW, LEFT, UP_DOWN, QUINTILE, EVENTS,
            DELIVERED, RETRYING, GAVE_UP,
        ],
        "segments" => &[SCORED, COUNTED, SHARE, REVENUE, SPENT_EACH, CHANGE, WEEKS, MOVED, NEW, LEFT, UP_DOWN],
        "segment" => &[
            SCORED, COUNTED, SHARE, REVENUE, HALF, CHANGE, WEEKS, MOVED, NEW, LEFT, QUINTILE, SCORES, ORDERS, SPENT,
            LAST_ORDER,
        ],
        "customers" => &[SCORED, NOT_SCORED, COUNTED, SCORES, QUINTILE, ORDERS, SPENT, AVERAGE, LAST_ORDER],
        "runs" => &[
            AS_OF, SCORED, COUNTED, MOVED, NEW, LEFT, UP_DOWN, TOOK, QUINTILE, REVENUE, EVENTS, DELIVERED, WAITING,
            RETRYING, HELD, GAVE_UP, NOT_SENT, MISSED,
        ],
        "run" => &[
            AS_OF, SCORED, COUNTED, MOVED, NEW, LEFT, UP_DOWN, TOOK, QUINTILE, REVENUE, EVENTS, DELIVERED, WAITING,
            RETRYING, HELD, GAVE_UP, NOT_SENT,
        ],
        "deliveries" => &[DELIVERY, WAITING, RETRYING, HELD, GAVE_UP, DELIVERED, NOT_SENT, COUNTS],
        "destinations" => &[HEALTHY, UNSTEADY, LOOK, FAILING, PAUSED, DISABLED, QUEUE, ANSWERS_IN, LATENCY],
        "import" => &[COUNTED, BROUGHT, REJECTED, MISSED],
        "settings" => &[FREE, LOG],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&str; 10] = [
        "overview",
        "segments",
        "segment",
        "customers",
        "runs",
        "run",
        "deliveries",
        "destinations",
        "import",
        "settings",
    ];

    #[test]
    fn every_page_has_words_and_each_word_one_meaning() {
        let mut meanings = std::collections::BTreeMap::new();
        for page in PAGES {
            let terms = of_page(page);
            assert!(!terms.is_empty(), "{page}");
            for term in terms {
                assert!(term.meaning.ends_with('.'), "{}", term.term);
                assert_eq!(meanings.insert(term.id(), term.meaning).unwrap_or(term.meaning), term.meaning);
            }
        }
        assert!(of_page("").is_empty());
    }

    #[test]
    fn a_link_says_the_meaning_and_leads_to_the_entry() {
        assert_eq!(
            MISSED.called("a < b").0,
            r##"<a class="term" href="#d-missed" title="Missed: fetched orders that no webhook had brought.">a &#60; b</a>"##
        );
        assert_eq!(UP_DOWN.id(), "d-up-and-down");
    }
}
