//! What segments are called and which of four tones they have, by the rules in force.

use rusqlite::Connection;

use super::{App, statistics, words};
use crate::{
    config::Config,
    scoring::segment::{Scheme, Segment, Tone},
    web::error::PageError,
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

    /// For who goes up and down: 0 is the best.
    pub fn level(&self, name: &str) -> Option<usize> {
        self.get(name).map(|segment| segment.level)
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

/// Refuses a segment that an address names and that neither the rules in force nor the last run have.
pub async fn must_know(app: &App, segment: Option<&str>) -> Result<(), PageError> {
    let Some(name) = segment.map(str::trim).filter(|name| !name.is_empty() && !app.names.knows(name)) else {
        return Ok(());
    };
    let scored = |connection: &Connection| -> anyhow::Result<Vec<String>> {
        let Some(run) = statistics::in_force(connection)? else { return Ok(Vec::new()) };
        Ok(statistics::segments(connection, run.id)?.into_iter().map(|segment| segment.segment).collect())
    };
    let mut known = app.readers.read(scored).await?;
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    known.extend(app.names.all().map(|segment| segment.name.clone()));
    known.sort();
    known.dedup();
    Err(PageError::BadRequest(format!(
        "There is no segment “{name}”, so there is nothing to show. The address may name one of {}.",
        known.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_labels_and_old_ones_get_words() {
        let names = Names::from_config(&Config::default());
        assert_eq!((names.label("champion").as_str(), names.tone("champion")), ("Champions", "a"));
        assert_eq!((names.label("old_rule").as_str(), names.tone("old_rule")), ("Old rule", "d"));
        assert_eq!((names.level("champion"), names.level("lost"), names.level("old_rule")), (Some(0), Some(6), None));
        assert_eq!(names.level("new"), names.level("potential"), "a second order is no fall");
        assert_eq!((names.of([5, 5, 5]), names.of([0, 1, 9])), (Some("champion"), None));
        assert_eq!(names.all().count(), 7);
    }
}
