//! Which deliveries a list shows, as it stands in the address. Pure.

use crate::{
    outbox::{self, Action, Hold, State},
    web::{
        dashboard::definitions::terms::{self, Term},
        error::PageError,
    },
};

/// A tab of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Waiting,
    Retrying,
    Held,
    GaveUp,
    Delivered,
    NotSent,
}

impl Tab {
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Retrying, Self::Held, Self::GaveUp, Self::Delivered, Self::NotSent];

    /// As it stands in the address: the states that it shows, as the commands name them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::GaveUp => "dead",
            Self::Delivered => "delivered",
            Self::NotSent => "discarded",
        }
    }

    /// What it is called and means.
    pub const fn term(self) -> Term {
        match self {
            Self::Waiting => terms::WAITING,
            Self::Retrying => terms::RETRYING,
            Self::Held => terms::HELD,
            Self::GaveUp => terms::GAVE_UP,
            Self::Delivered => terms::DELIVERED,
            Self::NotSent => terms::NOT_SENT,
        }
    }

    pub const fn label(self) -> &'static str {
        self.term().term
    }

    /// Shown one after the other.
    pub const fn states(self) -> &'static [State] {
        match self {
            Self::Waiting => &[State::Sending, State::Waiting],
            Self::Retrying => &[State::Retrying],
            Self::Held => &[State::Held],
            Self::GaveUp => &[State::Dead],
            Self::Delivered => &[State::Delivered],
            Self::NotSent => &[State::Superseded, State::Discarded],
        }
    }

    /// What can be done with all that match.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::Waiting => &[Action::Discard],
            Self::Retrying => &[Action::Retry, Action::Discard],
            Self::Held => &[Action::Release, Action::Discard],
            Self::GaveUp => &[Action::Retry],
            Self::Delivered | Self::NotSent => &[],
        }
    }

    fn parse(text: &str) -> Result<Self, PageError> {
        Self::ALL.into_iter().find(|tab| tab.as_str() == text).ok_or_else(|| {
            PageError::BadRequest(format!(
                "“{text}” is no state of deliveries, so there is nothing to show. The address may name one of {}.",
                Self::ALL.map(Self::as_str).join(", ")
            ))
        })
    }
}

/// What the address of a list says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `None`: the page chooses.
    pub tab: Option<Tab>,
    pub destination: Option<String>,
    pub run: Option<i64>,
    /// The segment that a customer moved to.
    pub segment: Option<String>,
    pub customer: Option<i64>,
    /// The oldest first instead of the newest.
    pub oldest: bool,
    /// Why it is held.
    pub hold: Option<Hold>,
}

/// What is no number is nobody's: the list is empty instead of everything.
const NOBODY: i64 = 0;
/// As it stands in the address.
pub const OLDEST: &str = "oldest";

impl Filter {
    /// Reads name-value pairs; the last of a repeated name counts, empty values are absent.
    ///
    /// # Errors
    /// [`PageError::BadRequest`] for a state or a reason to hold that there is not: the list would show
    /// what nobody asked for.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let value = |name: &str| {
            let last = pairs.iter().rev().find(|(key, _)| key == name);
            last.map(|(_, value)| value.trim()).filter(|text| !text.is_empty())
        };
        let number = |name| value(name).map(|text| text.parse().unwrap_or(NOBODY));
        let hold = |text: &str| {
            Hold::parse(text).ok_or_else(|| {
                PageError::BadRequest(format!(
                    "Nothing is held because of “{text}”, so there is nothing to show. Choose on Deliveries what is held."
                ))
            })
        };
        Ok(Self {
            tab: value("state").map(Tab::parse).transpose()?,
            destination: value("destination").map(str::to_owned),
            run: number("run"),
            segment: value("segment").map(str::to_owned),
            customer: number("customer"),
            oldest: value("order") == Some(OLDEST),
            hold: value("hold").map(hold).transpose()?,
        })
    }

    /// The same in another tab.
    pub fn in_tab(&self, tab: Tab) -> Self {
        Self { tab: Some(tab), ..self.clone() }
    }

    /// The same in the other order.
    pub fn turned(&self) -> Self {
        Self { oldest: !self.oldest, ..self.clone() }
    }

    /// Something beside the tab is asked for.
    pub fn is_narrow(&self) -> bool {
        self.destination.is_some() || self.run.is_some() || self.hold.is_some() || self.is_of_events()
    }

    /// It looks at single events.
    pub fn is_of_events(&self) -> bool {
        self.segment.is_some() || self.customer.is_some()
    }

    /// What `action` is meant for: what the list shows, as far as it can be acted on.
    pub fn meant(&self, action: Action) -> outbox::Filter {
        let states = self.tab.map_or(&[][..], Tab::states);
        outbox::Filter {
            state: states.iter().copied().find(|state| action.states().contains(state)),
            destination: self.destination.clone(),
            run_id: self.run,
            segment: self.segment.clone(),
            customer_id: self.customer,
            hold: self.hold,
            ..outbox::Filter::default()
        }
    }

    /// Names and values, for an address or the hidden fields of a form.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        [
            ("state", self.tab.map(|tab| tab.as_str().to_owned())),
            ("destination", self.destination.clone()),
            ("run", number(self.run)),
            ("segment", self.segment.clone()),
            ("customer", number(self.customer)),
            ("order", self.oldest.then(|| OLDEST.to_owned())),
            ("hold", self.hold.map(|hold| hold.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
    }

    /// The address of this list behind `path`; `more` stands at its end.
    pub fn href(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        query.extend_pairs(more);
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

/// Where the page before ended: in which lane, and after which delivery of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    pub lane: usize,
    pub id: i64,
}

impl Spot {
    /// `None` for anything that [`Self::to_string`] did not write.
    pub fn parse(text: &str) -> Option<Self> {
        let (lane, id) = text.split_once('.')?;
        Some(Self { lane: lane.parse().ok()?, id: id.parse().ok()? })
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.lane, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Filter, PageError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Filter::from_pairs(&pairs)
    }

    fn parse(query: &str) -> Filter {
        read(query).unwrap()
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for query in [
            "",
            "state=dead",
            "state=held&destination=my+tool%26co&run=7&segment=at_risk&customer=12&hold=restored",
            "customer=0",
            "order=oldest",
        ] {
            let address = parse(query).href("/deliveries", &[]);
            let wanted = if query.is_empty() { "/deliveries".to_owned() } else { format!("/deliveries?{query}") };
            assert_eq!(address, wanted);
        }
        assert_eq!(Filter::default().href("/x", &[("after", "0.7")]), "/x?after=0.7");
    }

    #[test]
    fn nonsense_widens_nothing() {
        assert_eq!(parse("state=&destination=&run=&segment=+&order=size"), Filter::default());
        for query in ["state=nonsense", "hold=nonsense", "state=dead&state=Dead"] {
            assert!(matches!(read(query), Err(PageError::BadRequest(_))), "{query}");
        }
        assert_eq!((parse("run=x").run, parse("customer=99999999999999999999").customer), (Some(0), Some(0)));
    }

    #[test]
    fn an_action_is_meant_for_what_the_tab_shows() {
        for tab in Tab::ALL {
            for action in tab.actions() {
                let meant = parse("destination=a&run=3").in_tab(tab).meant(*action);
                assert!(meant.state.is_some_and(|state| tab.states().contains(&state)), "{tab:?} {action:?}");
                assert_eq!((meant.destination.as_deref(), meant.run_id), (Some("a"), Some(3)));
            }
        }
    }

    #[test]
    fn a_spot_comes_back_as_it_was() {
        let spot = Spot { lane: 3, id: -7 };
        assert_eq!(Spot::parse(&spot.to_string()), Some(spot));
        for text in ["", "x", "1", "1.", ".1", "-1.2", "1.2.3"] {
            assert_eq!(Spot::parse(text), None, "{text}");
        }
    }
}
