//! What the queue has to know of a destination: its name, what it wants, what it may be told, and
//! how many events fit into one of its requests.

use super::{Cause, ERASED, Event, EventType, Fields};
use crate::{
    config::{self, Config, UnknownConsent},
    model::{Currency, Money},
};

/// What is known of the consent of the customer `c`: where their own row was never told of it, what they
/// said as a guest with the same e-mail.
macro_rules! told_consent {
    () => {
        "CASE WHEN c.consent IS NULL AND c.consent_version IS NULL AND c.external_id IS NOT NULL THEN \
         (SELECT guest.consent FROM customers guest \
          WHERE guest.external_id IS NULL AND guest.email_key = c.email_key) ELSE c.consent END"
    };
}
pub(super) use told_consent;

/// Bytes of a signed batch: what it says is what is sent.
const SIGNED_LIMIT: usize = 256 * 1024;
/// Bytes of the events that a preset makes one request of: 1,000 with names and addresses are about
/// 700 KB, and come to less than the 5 MB that Klaviyo takes.
const PRESET_LIMIT: usize = 1024 * 1024;

/// One destination's name, filters and allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub name: String,
    pub fields: Fields,
    /// Events per request at most; 1: each event is a request of its own. With more the body is
    /// always a batch, also around a single event.
    pub batch: u32,
    /// Bytes of several events together at most, as they are queued; one event alone may be larger.
    pub(super) body_limit: usize,
    /// It can take the baseline without starting anything.
    pub can_be_quiet: bool,
    /// Who may be told of; `None`: everyone, the destination is the merchant's own.
    consent: Option<config::Consent>,
    /// Whether it is told who was erased when `events` names no type: a preset has no words for that,
    /// and of a template only the merchant knows.
    hears_of_erasures: bool,
    /// It can never be told who was erased.
    cannot_erase: bool,
    events: Vec<EventType>,
    to: Vec<String>,
    from: Vec<String>,
    cause: Vec<Cause>,
    min_spent: Option<Money>,
}

/// A destination whose settings cannot be used. Names the key and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[[destination]] {destination:?}: `{key}` {problem}")]
pub struct Misconfigured {
    pub destination: String,
    pub key: &'static str,
    pub problem: String,
}

/// Whether a destination may be told of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    /// Not known, and the merchant does not want it then.
    Unknown,
    /// For good, with the reason.
    Refused(&'static str),
}

/// What decides whether a customer may be told of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    pub email: Option<&'a str>,
    /// State of e-mail marketing consent.
    pub consent: Option<&'a str>,
    pub erased: bool,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub kind: EventType,
    pub old: Option<&'a str>,
    pub new: Option<&'a str>,
    pub cause: Option<Cause>,
    pub spent: Money,
}

impl Route {
    /// The routes of all destinations, in the order of the file.
    ///
    /// # Errors
    /// A name is missing or used twice, or a filter or field is not one there is.
    pub fn from_config(config: &Config) -> Result<Vec<Self>, Misconfigured> {
        let mut routes: Vec<Self> = Vec::with_capacity(config.destination.len());
        for destination in &config.destination {
            let problem = |problem: &str| Misconfigured {
                destination: destination.name.clone(),
                key: "name",
                problem: problem.to_owned(),
            };
            if destination.name.trim().is_empty() {
                return Err(problem("is empty; give each destination a name of its own"));
            }
            if routes.iter().any(|route| route.name == destination.name) {
                return Err(problem("is used twice; give each destination a name of its own"));
            }
            routes.push(Self::new(destination, config)?);
        }
        Ok(routes)
    }

    fn new(destination: &config::Destination, config: &Config) -> Result<Self, Misconfigured> {
        let currency: Currency = config.shop.currency;
        let problem = |key, problem: String| Misconfigured { destination: destination.name.clone(), key, problem };
        let min_spent = match destination.min_spent.trim() {
            "" => None,
            text => Some(
                Money::parse(text, currency)
                    .map_err(|error| problem("min_spent", format!("is not usable: {error}")))?
                    .money,
            ),
        };
        let fields = Fields::parse(&destination.fields).map_err(|text| problem("fields", text))?;
        let preset = config::Preset::of(&destination.kind)
            .ok_or_else(|| problem("kind", format!("is {:?}, which there is not", destination.kind)))?;
        Ok(Self {
            name: destination.name.clone(),
            // Email tools know people by their e-mail.
            fields: Fields { email: fields.email || preset.email, ..fields },
            batch: destination.batch.max(1),
            body_limit: if preset.sign { SIGNED_LIMIT } else { PRESET_LIMIT },
            can_be_quiet: preset.quiet,
            consent: preset.email.then(|| config.consent.clone()),
            hears_of_erasures: preset.sign,
            cannot_erase: !preset.sign && !preset.is_template(),
            events: parse_all(&destination.events, EventType::parse, &names(EventType::ALL, EventType::as_str))
                .map_err(|text| problem("events", text))?,
            to: destination.to.clone(),
            from: destination.from.clone(),
            cause: parse_all(&destination.cause, Cause::parse, &names(Cause::ALL, Cause::as_str))
                .map_err(|text| problem("cause", text))?,
            min_spent,
        })
    }

    /// Whether it is told only of customers who agreed.
    pub(super) const fn asks_consent(&self) -> bool {
        self.consent.is_some()
    }

    /// Whether the destination hears of it when somebody is erased; if not, the merchant has to erase
    /// them there by hand.
    #[must_use]
    pub fn is_told_of_erasures(&self) -> bool {
        let named = self.events.contains(&EventType::Redacted);
        !self.cannot_erase && (named || (self.hears_of_erasures && self.events.is_empty()))
    }

    /// The names of those that hear of it when somebody is erased, and of those where the merchant has
    /// to erase them by hand.
    #[must_use]
    pub fn by_erasure(routes: &[Self]) -> (Vec<String>, Vec<String>) {
        let (told, by_hand): (Vec<&Self>, Vec<&Self>) = routes.iter().partition(|route| route.is_told_of_erasures());
        let names = |routes: Vec<&Self>| routes.into_iter().map(|route| route.name.clone()).collect();
        (names(told), names(by_hand))
    }

    /// Whether the destination may be told this of a customer.
    pub(super) fn consent(&self, kind: EventType, subject: &Subject<'_>) -> Consent {
        match (kind, subject.erased) {
            (EventType::Redacted, _) => return Consent::Given,
            (_, true) => return Consent::Refused(ERASED),
            (_, false) => {}
        }
        let Some(consent) = &self.consent else { return Consent::Given };
        let state = subject.consent.unwrap_or_default().trim();
        if subject.email.is_none_or(|email| email.trim().is_empty()) {
            Consent::Refused("the customer has no e-mail address")
        } else if state.is_empty() {
            match consent.unknown {
                UnknownConsent::Send => Consent::Given,
                UnknownConsent::Hold => Consent::Unknown,
            }
        } else if consent.states.iter().any(|wanted| wanted.eq_ignore_ascii_case(state)) {
            Consent::Given
        } else {
            Consent::Refused("the customer has not agreed to e-mail marketing")
        }
    }

    /// Why the destination may not be told of the customer of `event`; `None`: it may.
    #[must_use]
    pub fn may_not_be_told_of(&self, event: &Event) -> Option<&'static str> {
        let customer = event.customer.as_ref()?;
        let subject = Subject {
            email: customer.email.as_deref(),
            consent: customer.consent.as_deref(),
            erased: customer.redacted,
        };
        match self.consent(event.kind, &subject) {
            Consent::Given => None,
            Consent::Unknown => Some("it is not known whether this customer agrees to e-mail marketing"),
            Consent::Refused(why) => Some(why),
        }
    }

    /// Whether the destination asked for this event. An empty filter lets everything through; a
    /// filter on a segment never matches an event without one.
    pub(super) fn wants(&self, event: &Candidate<'_>) -> bool {
        if event.kind == EventType::Redacted {
            return self.is_told_of_erasures(); // whatever else was filtered, they may be known there
        }
        let named = |wanted: &[String], segment: Option<&str>| {
            wanted.is_empty() || segment.is_some_and(|segment| wanted.iter().any(|name| name == segment))
        };
        (self.events.is_empty() || self.events.contains(&event.kind))
            && named(&self.to, event.new)
            && named(&self.from, event.old)
            && (self.cause.is_empty() || event.cause.is_some_and(|cause| self.cause.contains(&cause)))
            && self.min_spent.is_none_or(|least| event.spent >= least)
    }
}

fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> String {
    all.iter().map(|value| name(*value)).collect::<Vec<_>>().join(", ")
}

fn parse_all<T>(texts: &[String], parse: fn(&str) -> Option<T>, known: &str) -> Result<Vec<T>, String> {
    texts
        .iter()
        .map(|text| parse(text).ok_or_else(|| format!("has {text:?}, which there is not; there are: {known}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(change: impl FnOnce(&mut config::Destination)) -> Result<Route, Misconfigured> {
        let mut destination = config::Destination { name: "tool".to_owned(), ..Default::default() };
        change(&mut destination);
        Route::from_config(&Config { destination: vec![destination], ..Default::default() })
            .map(|routes| routes.into_iter().next().unwrap())
    }

    #[test]
    fn email_tools_hear_only_of_those_who_agreed() {
        use Consent::{Given, Refused, Unknown};
        let tool = route(|d| d.kind = "klaviyo".to_owned()).unwrap();
        let mail = Some("anna@example.com");
        let of = |route: &Route, email, consent| {
            route.consent(EventType::SegmentChanged, &Subject { email, consent, erased: false })
        };
        assert_eq!(of(&tool, mail, Some("subscribed")), Given);
        assert_eq!(of(&tool, mail, Some("SUBSCRIBED")), Given);
        assert_eq!(of(&tool, mail, None), Unknown);
        assert_eq!(of(&tool, mail, Some(" ")), Unknown);
        assert!(matches!(of(&tool, mail, Some("unsubscribed")), Refused(_)));
        assert!(matches!(of(&tool, mail, Some("pending")), Refused(_)));
        assert!(matches!(of(&tool, None, Some("subscribed")), Refused(_)));
        assert!(matches!(of(&tool, Some(" "), Some("subscribed")), Refused(_)));
        let own = route(|_| {}).unwrap();
        assert_eq!(of(&own, None, Some("unsubscribed")), Given, "the merchant's own tool");
        assert!(tool.fields.email && !tool.fields.name && !own.fields.email);
        assert!(
            tool.can_be_quiet && !own.can_be_quiet && !route(|d| d.kind = "template".to_owned()).unwrap().can_be_quiet
        );
    }

    #[test]
    fn of_the_erased_nothing_is_told_but_that() {
        let erased = Subject { email: None, consent: None, erased: true };
        let events = |kind: &'static str, events: &'static [&'static str]| {
            route(move |d| {
                d.kind = kind.to_owned();
                d.events = events.iter().map(|name| (*name).to_owned()).collect();
                d.to = vec!["lost".to_owned()];
            })
            .unwrap()
        };
        for (told, route) in [
            (true, events("webhook", &[])),
            (true, events("webhook", &["customer/redacted"])),
            (false, events("webhook", &["rfm/segment.changed"])),
            (false, events("template", &[])),
            (true, events("template", &["customer/redacted"])),
            (false, events("klaviyo", &[])),
            (false, events("klaviyo", &["customer/redacted"])),
        ] {
            assert_eq!(route.consent(EventType::SegmentChanged, &erased), Consent::Refused(ERASED));
            assert_eq!(route.consent(EventType::Redacted, &erased), Consent::Given);
            assert_eq!(route.wants(&Candidate { kind: EventType::Redacted, new: None, ..MOVE }), told, "{route:?}");
            assert_eq!(route.is_told_of_erasures(), told);
        }
    }

    const MOVE: Candidate<'_> = Candidate {
        kind: EventType::SegmentChanged,
        old: Some("loyal"),
        new: Some("champion"),
        cause: Some(Cause::Order),
        spent: Money(10_000),
    };

    #[test]
    fn each_filter_decides_alone() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (wanted, route) in [
            (true, route(|_| {})),
            (true, route(|d| d.to = texts(&["lost", "champion"]))),
            (false, route(|d| d.to = texts(&["lost"]))),
            (true, route(|d| d.from = texts(&["loyal"]))),
            (false, route(|d| d.from = texts(&["champion"]))),
            (true, route(|d| d.cause = texts(&["order"]))),
            (false, route(|d| d.cause = texts(&["ranking", "refund"]))),
            (true, route(|d| d.events = texts(&["rfm/segment.changed"]))),
            (true, route(|d| d.min_spent = "100.00".to_owned())),
            (false, route(|d| d.min_spent = "100.01".to_owned())),
        ] {
            let route = route.unwrap();
            assert_eq!(route.wants(&MOVE), wanted, "{route:?}");
        }
        let to_champion = route(|d| d.to = texts(&["champion"])).unwrap();
        assert!(!to_champion.wants(&Candidate { new: None, ..MOVE }));
    }

    #[test]
    fn a_wrong_setting_names_its_key_and_what_there_is() {
        let texts = |text: &str| vec![text.to_owned()];
        for (message, route) in [
            (
                "[[destination]] \"tool\": `cause` has \"sale\", which there is not; there are: order, refund, ranking, baseline, remap",
                route(|d| d.cause = texts("sale")),
            ),
            (
                "[[destination]] \"tool\": `fields` has \"adress\", which there is not; there are: segment, rfm, counters, email, name, phone",
                route(|d| d.fields = texts("adress")),
            ),
            (
                "[[destination]] \"tool\": `min_spent` is not usable: \"a lot\" is not an amount; write it like 1234.50",
                route(|d| d.min_spent = "a lot".to_owned()),
            ),
            (
                "[[destination]] \"\": `name` is empty; give each destination a name of its own",
                route(|d| d.name = String::new()),
            ),
        ] {
            assert_eq!(route.unwrap_err().to_string(), message);
        }
    }
}
