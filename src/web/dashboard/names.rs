//! What segments are called and which of four tones they have. Pure.

use std::collections::HashMap;

use super::words;
use crate::config::Config;

/// What a merchant does with a segment; the colour of its dot, always beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    Keep,
    Grow,
    WinBack,
    #[default]
    LetRest,
}

impl Tone {
    /// Class of the dot in the style sheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Keep => "a",
            Self::Grow => "b",
            Self::WinBack => "c",
            Self::LetRest => "d",
        }
    }
}

struct Name {
    name: String,
    label: String,
    tone: Tone,
    action: String,
}

/// The segments of the rules in force, best first.
pub struct Names {
    segments: Vec<Name>,
    index: HashMap<String, usize>,
}

impl Names {
    #[must_use]
    pub fn from_config(_config: &Config) -> Self {
        let segments: Vec<Name> = [
            ("champion", "Champions", Tone::Keep),
            ("loyal", "Loyal", Tone::Keep),
            ("new", "New", Tone::Grow),
            ("potential", "Potential", Tone::Grow),
            ("at_risk", "At risk", Tone::WinBack),
            ("hibernating", "Hibernating", Tone::LetRest),
            ("lost", "Lost", Tone::LetRest),
        ]
        .into_iter()
        .map(|(name, label, tone)| Name { name: name.to_owned(), label: label.to_owned(), tone, action: String::new() })
        .collect();
        let index = segments.iter().enumerate().map(|(rank, segment)| (segment.name.clone(), rank)).collect();
        Self { segments, index }
    }

    fn get(&self, name: &str) -> Option<&Name> {
        self.index.get(name).map(|rank| &self.segments[*rank])
    }

    /// Names, best first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(|segment| segment.name.as_str())
    }

    /// What people call it. Segments of rules that are no longer in force get their name in words.
    #[must_use]
    pub fn label(&self, name: &str) -> String {
        self.get(name).map_or_else(|| words::from_name(name), |segment| segment.label.clone())
    }

    #[must_use]
    pub fn tone(&self, name: &str) -> Tone {
        self.get(name).map_or_else(Tone::default, |segment| segment.tone)
    }

    /// What the merchant might do with these customers; empty when nobody said.
    #[must_use]
    pub fn action(&self, name: &str) -> &str {
        self.get(name).map_or("", |segment| &segment.action)
    }

    /// 0 is the best.
    #[must_use]
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The segment of three scores by the rules in force.
    #[must_use]
    pub fn of(&self, [r, f, m]: [u8; 3]) -> Option<&str> {
        Some(match (r, f, m) {
            (4.., 4.., 4..) => "champion",
            (3.., 3.., 3..) => "loyal",
            (4.., 1, _) => "new",
            (3.., _, _) => "potential",
            (_, 2.., _) => "at_risk",
            (_, _, 2..) => "hibernating",
            _ => "lost",
        })
    }
}
