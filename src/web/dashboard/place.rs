//! Where an entry of a timeline stands, as it is in the address of the next page. Pure.

use std::{cmp::Ordering, fmt};

use crate::model::Timestamp;

/// Where an entry stands. No two have the same place, because many may have one instant: orders of
/// a file may only have a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub instant: Timestamp,
    pub kind: Kind,
    /// Of the order, of the run that made the change, or the event's place in the outbox.
    pub id: i64,
}

/// Of equal instants an order lies before the change and the event that it may have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Order,
    Change,
    Event,
}

impl Place {
    /// After everything.
    pub const END: Self = Self { instant: Timestamp::from_millis(i64::MAX), kind: Kind::Event, id: i64::MAX };

    /// `None` for anything that [`fmt::Display`] below did not write, except that an instant alone
    /// means all that is older.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let instant = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let kind = match parts.next() {
            None => return Some(Self { instant, kind: Kind::Order, id: i64::MIN }),
            Some("order") => Kind::Order,
            Some("change") => Kind::Change,
            Some("event") => Kind::Event,
            Some(_) => return None,
        };
        Some(Self { instant, kind, id: parts.next()?.parse().ok()? })
    }

    /// The instant and id that entries of a kind must be smaller than to lie before this place.
    pub fn bound(self, kind: Kind) -> (Timestamp, i64) {
        let id = match kind.cmp(&self.kind) {
            Ordering::Less => i64::MAX,
            Ordering::Equal => self.id,
            Ordering::Greater => i64::MIN,
        };
        (self.instant, id)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Order => "order",
            Kind::Change => "change",
            Kind::Event => "event",
        };
        write!(f, "{}.{kind}.{}", self.instant.millis(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was_and_nonsense_is_none() {
        for text in ["1795431600000.order.7", "-5.change.-1", "0.order.0", "3.event.9"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "x", "1.", "1.order", "1.order.", "1.order.x", "1.refund.2", "99999999999999999999"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        assert!(Place::parse("7").unwrap() < Place::parse("7.order.0").unwrap());
    }

    #[test]
    fn bounds_leave_no_gap_between_kinds() {
        let place = |text| Place::parse(text).unwrap();
        let id = |text, kind| place(text).bound(kind).1;
        assert_eq!((id("9.order.3", Kind::Order), id("9.order.3", Kind::Change)), (3, i64::MIN));
        assert_eq!((id("9.change.3", Kind::Order), id("9.change.3", Kind::Change)), (i64::MAX, 3));
        assert!(place("9.order.3") < place("9.change.1") && place("9.change.1") < place("9.event.0"));
        assert!(place("9.event.1") < place("10.order.1"));
    }
}
