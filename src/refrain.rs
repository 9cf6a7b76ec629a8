//! What would be said again and again: said when it begins, then once a minute with how often it came. Pure.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Refrain {
    said_at: Option<Instant>,
    /// How often it came since.
    unsaid: u64,
}

impl Refrain {
    /// It came. Whether to say so now.
    pub fn comes(&mut self, now: Instant) -> bool {
        let begins = self.said_at.is_none();
        if begins {
            self.said_at = Some(now);
        } else {
            self.unsaid += 1;
        }
        begins
    }

    /// How often it came since it was last said, if it is time to say that. Asked every few seconds.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.said_at?) < EVERY {
            return None;
        }
        let unsaid = self.take();
        // Where it has not come for so long, the next time is a beginning again.
        self.said_at = unsaid.map(|_| now);
        unsaid
    }

    /// What [`Self::due`] would say, said earlier.
    pub fn take(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.unsaid)).filter(|unsaid| *unsaid > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_then_counted() {
        let (mut refrain, start) = (Refrain::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(refrain.due(at(0)), None, "nothing came");
        assert!(refrain.comes(at(0)));
        assert!((0..500).all(|_| !refrain.comes(at(30))), "one line, however often");
        assert_eq!((refrain.due(at(59)), refrain.due(at(60)), refrain.due(at(61))), (None, Some(500), None));
        assert!(!refrain.comes(at(119)), "its minute is not over");
        assert_eq!((refrain.due(at(120)), refrain.due(at(180))), (Some(1), None));
        assert!(refrain.comes(at(181)), "it had ended");
    }

    #[test]
    fn what_was_told_at_the_end_is_not_told_again() {
        let (mut refrain, start) = (Refrain::default(), Instant::now());
        assert!(refrain.comes(start) && !refrain.comes(start));
        assert_eq!((refrain.take(), refrain.take()), (Some(1), None));
        assert_eq!(refrain.due(start + EVERY), None);
    }
}
