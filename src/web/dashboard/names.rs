//! What segments are called and which of four tones they have, by the rules in force. Pure.

use super::words;
use crate::{
    config::Config,
    scoring::segment::{Scheme, Segment, Tone},
};

/// The segments of the configuration. Customers may still have names of earlier rules until the
/// next run: those are shown in plain words.
pub struct Names(Option<Scheme>);

impl Names {
    /// Rules that cannot be used (`serve` refuses them, with the reason) are as if there were none.
    pub fn from_config(config: &Config) -> Self {
        Self(Scheme::from_config(config).ok())
    }

    fn get(&self, name: &str) -> Option<&Segment> {
        self.0.as_ref()?.get(name)
    }

    /// All segments, the best first.
    pub fn all(&self) -> impl Iterator<Item = &Segment> {
        self.0.iter().flat_map(Scheme::segments)
    }

    pub fn label(&self, name: &str) -> String {
        self.get(name).map_or_else(|| words::from_name(name), |segment| segment.label.clone())
    }

    /// Who is in it, in plain words; empty when nobody said.
    pub fn definition(&self, name: &str) -> &str {
        self.get(name).map_or("", |segment| &segment.definition)
    }

    /// What the merchant might do with these customers; empty when nobody said.
    pub fn action(&self, name: &str) -> &str {
        self.get(name).map_or("", |segment| &segment.action)
    }

    /// Is it one of the rules in force?
    pub fn knows(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Lowest and highest score of recency, frequency and monetary value, per rule that names it.
    pub fn rules_of(&self, name: &str) -> Vec<[(u8, u8); 3]> {
        self.0.iter().flat_map(|scheme| scheme.rules_of(name)).collect()
    }

    /// 0 is the best.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.get(name).map(|segment| segment.rank)
    }

    /// Class of the dot that stands beside a name: a keep, b grow, c win back, d let rest.
    pub fn tone(&self, name: &str) -> &'static str {
        self.get(name).map_or("d", |segment| match segment.tone {
            Tone::Keep => "a",
            Tone::Grow => "b",
            Tone::WinBack => "c",
            Tone::LetRest => "d",
        })
    }

    /// The segment of three scores of 1 to 5; `None` for anything else.
    pub fn of(&self, scores: [u8; 3]) -> Option<&str> {
        let valid = scores.iter().all(|score| (1..=5).contains(score));
        self.0.as_ref().filter(|_| valid).map(|scheme| scheme.segment_of(scores).name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_labels_and_old_ones_get_words() {
        let names = Names::from_config(&Config::default());
        assert_eq!((names.label("champion").as_str(), names.tone("champion")), ("Champions", "a"));
        assert_eq!((names.label("old_rule").as_str(), names.tone("old_rule")), ("Old rule", "d"));
        assert_eq!((names.rank("champion"), names.rank("lost"), names.rank("old_rule")), (Some(0), Some(6), None));
        assert_eq!((names.of([5, 5, 5]), names.of([0, 1, 9])), (Some("champion"), None));
        assert_eq!(names.all().count(), 7);
    }
}
