//! Segments: an ordered list of rules over recency, frequency and monetary scores. The first rule
//! that matches names the segment; every one of the 125 combinations is covered, which
//! [`Scheme::from_config`] checks. Pure, no I/O.

mod presets;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{
    config::{self, Config, SegmentScheme},
    model::text_enum,
};

/// Combinations of three scores of 1 to 5.
pub const COMBINATIONS: usize = 125;

/// Stands in filters for customers without a segment; no segment is called so.
pub const NONE: &str = "none";

/// What one does with a segment, in one word: the colour of a dot on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    Keep,
    Grow,
    WinBack,
    LetRest,
}

text_enum!(Tone { Keep = "keep", Grow = "grow", WinBack = "win_back", LetRest = "let_rest" });

/// One segment, as people meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in events, URLs, JSON and CSV.
    pub name: String,
    pub label: String,
    /// Who is in it, in plain words.
    pub definition: String,
    /// What the merchant might do with these customers.
    pub action: String,
    /// 0 is the best.
    pub rank: usize,
    /// Its rank for who goes up and down. Moves between segments of one level are neither.
    pub level: usize,
    pub tone: Tone,
}

/// Scores a rule accepts in one dimension, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span(u8, u8);

/// One rule: the spans of r, f and m, and the segment it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    segment: usize,
    spans: [Span; 3],
}

/// A checked set of segments and the rules that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    segments: Vec<Segment>,
    rules: Vec<Rule>,
    /// Index into `segments` for each combination, see [`combination`].
    table: [u8; COMBINATIONS],
    hash: String,
}

/// Why `[[segment]]` rules cannot be used. Every problem is named, each with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segments = \"custom\": {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Unusable(pub Vec<Problem>);

/// One problem of a custom scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("there is no [[segment]]; write at least one")]
    Empty,
    #[error("there are more than 100 [[segment]] rules; a score of 1 to 5 cannot tell so many apart")]
    TooMany,
    #[error(
        "{0:?} cannot be the name of a segment; use lower-case letters, digits, _ and -, at most 40, like \"at_risk\""
    )]
    Name(String),
    #[error("\"none\" cannot be the name of a segment; lists use it for customers without one")]
    Reserved,
    #[error(
        "[[segment]] {segment:?}: {key} = {text:?} is not a span of scores; write one of 1 to 5, like \"4\", or two, like \"4-5\""
    )]
    Span { segment: String, key: &'static str, text: String },
    #[error(
        "[[segment]] {0:?} stands there twice with another label or action; give it one of each, in its first rule"
    )]
    Ambiguous(String),
    #[error("no rule covers {}; add a rule for them, or a last one without r, f and m", Listed(.0))]
    Uncovered(Vec<[u8; 3]>),
    #[error(
        "rule {number} ({segment:?}) can never win, the rules before it take all it matches; move it up or remove it"
    )]
    NeverWins { segment: String, number: usize },
}

impl Scheme {
    /// The seven segments of the original.
    #[must_use]
    pub fn classic() -> Self {
        presets::scheme(presets::CLASSIC)
    }

    /// Eleven segments over recency and frequency, each a solid area of the heat map.
    #[must_use]
    pub fn detailed() -> Self {
        presets::scheme(presets::DETAILED)
    }

    /// The scheme that the configuration asks for.
    ///
    /// # Errors
    /// A custom scheme that does not cover every combination, has a rule that can never win, or
    /// cannot be read.
    pub fn from_config(config: &Config) -> Result<Self, Unusable> {
        match config.scoring.segments {
            SegmentScheme::Classic => Ok(Self::classic()),
            SegmentScheme::Detailed => Ok(Self::detailed()),
            SegmentScheme::Custom => custom(&config.segment),
        }
    }

    /// All segments, the best first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment of a customer with these scores (recency, frequency, monetary, 1 to 5 each).
    ///
    /// # Panics
    /// A score is not 1 to 5.
    #[must_use]
    pub fn segment_of(&self, rfm: [u8; 3]) -> &Segment {
        &self.segments[usize::from(self.table[combination(rfm)])]
    }

    /// The segment called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// The rules that name a segment, each the lowest and highest score of recency, frequency and
    /// monetary value. The first of all rules that matches wins.
    pub fn rules_of(&self, name: &str) -> impl Iterator<Item = [(u8, u8); 3]> + use<'_> {
        let segment = self.segments.iter().position(|segment| segment.name == name);
        self.rules
            .iter()
            .filter(move |rule| Some(rule.segment) == segment)
            .map(|rule| rule.spans.map(|span| (span.0, span.1)))
    }

    /// Changes exactly when some combination gets another name: labels, actions and the way the
    /// rules are written do not matter.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// `rules` in order over `segments`; the caller's rules may be wrong.
    fn new(segments: Vec<Segment>, rules: &[Rule]) -> Result<Self, Vec<Problem>> {
        let mut wins = vec![false; rules.len()];
        let mut table = [0; COMBINATIONS];
        let mut uncovered = Vec::new();
        for rfm in combinations() {
            match rules.iter().position(|rule| rule.matches(rfm)) {
                Some(index) => {
                    wins[index] = true;
                    table[combination(rfm)] = u8::try_from(rules[index].segment).map_err(|_| vec![Problem::TooMany])?;
                }
                None => uncovered.push(rfm),
            }
        }
        let mut problems = Vec::new();
        if !uncovered.is_empty() {
            problems.push(Problem::Uncovered(uncovered));
        }
        for (index, _) in wins.iter().enumerate().filter(|(_, wins)| !**wins) {
            let segment = segments[rules[index].segment].name.clone();
            problems.push(Problem::NeverWins { segment, number: index + 1 });
        }
        if problems.is_empty() {
            let hash = hash(&segments, &table);
            Ok(Self { segments, rules: rules.to_vec(), table, hash })
        } else {
            Err(problems)
        }
    }
}

impl Rule {
    fn matches(&self, rfm: [u8; 3]) -> bool {
        self.spans.iter().zip(rfm).all(|(span, score)| (span.0..=span.1).contains(&score))
    }
}

impl Span {
    const ANY: Self = Self(1, 5);

    /// "4", "4-5" or nothing for any.
    fn parse(text: &str) -> Option<Self> {
        let score = |text: &str| text.trim().parse::<u8>().ok().filter(|score| (1..=5).contains(score));
        match text.trim() {
            "" => Some(Self::ANY),
            text => {
                let (low, high) = text.split_once(['-', '–']).unwrap_or((text, text));
                let span = Self(score(low)?, score(high)?);
                (span.0 <= span.1).then_some(span)
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{} to {}", self.0, self.1) }
    }
}

/// The place of a combination in a table of 125.
///
/// # Panics
/// A score is 0.
#[must_use]
pub const fn combination(rfm: [u8; 3]) -> usize {
    (rfm[0] as usize - 1) * 25 + (rfm[1] as usize - 1) * 5 + (rfm[2] as usize - 1)
}

/// All 125 combinations in ascending order, as [`combination`] numbers them.
pub fn combinations() -> impl Iterator<Item = [u8; 3]> {
    (1..=5).flat_map(|r| (1..=5).flat_map(move |f| (1..=5).map(move |m| [r, f, m])))
}

fn hash(segments: &[Segment], table: &[u8; COMBINATIONS]) -> String {
    let mut hasher = Sha256::new();
    for index in table {
        hasher.update(segments[usize::from(*index)].name.as_bytes());
        hasher.update(b"\n");
    }
    hex::encode(&hasher.finalize()[..16])
}

/// Reads `[[segment]]`. A name may come again in a later rule: both rules name the same segment.
fn custom(rules: &[config::Segment]) -> Result<Scheme, Unusable> {
    if rules.is_empty() {
        return Err(Unusable(vec![Problem::Empty]));
    }
    if rules.len() > 100 {
        return Err(Unusable(vec![Problem::TooMany]));
    }
    let mut problems = Vec::new();
    let mut segments: Vec<Segment> = Vec::new();
    let mut parsed = Vec::new();
    for rule in rules {
        if rule.name == NONE {
            problems.push(Problem::Reserved);
            continue;
        }
        if !is_name(&rule.name) {
            problems.push(Problem::Name(rule.name.clone()));
            continue;
        }
        let mut span = |key, text: &str| {
            Span::parse(text).unwrap_or_else(|| {
                problems.push(Problem::Span { segment: rule.name.clone(), key, text: text.to_owned() });
                Span::ANY
            })
        };
        let spans = [span("r", &rule.r), span("f", &rule.f), span("m", &rule.m)];
        let segment = if let Some(known) = segments.iter().position(|segment| segment.name == rule.name) {
            let differs = |text: &str, known: &str| !text.is_empty() && text != known;
            if differs(&rule.label, &segments[known].label) || differs(&rule.action, &segments[known].action) {
                problems.push(Problem::Ambiguous(rule.name.clone()));
            }
            known
        } else {
            segments.push(custom_segment(rule, spans, segments.len()));
            segments.len() - 1
        };
        parsed.push(Rule { segment, spans });
    }
    if !problems.is_empty() {
        return Err(Unusable(problems));
    }
    let mut scheme = Scheme::new(segments, &parsed).map_err(Unusable)?;
    for index in 0..scheme.segments.len() {
        scheme.segments[index].tone = scheme.tone_of(index);
    }
    Ok(scheme)
}

fn custom_segment(rule: &config::Segment, spans: [Span; 3], rank: usize) -> Segment {
    let words = ["recency", "frequency", "monetary value"];
    let parts: Vec<String> = (words.iter().zip(spans))
        .filter(|(_, span)| *span != Span::ANY)
        .map(|(word, span)| format!("{word} {span}"))
        .collect();
    let definition = if parts.is_empty() { "everyone the rules before it left".to_owned() } else { parts.join(", ") };
    Segment {
        name: rule.name.clone(),
        label: if rule.label.trim().is_empty() { label_from(&rule.name) } else { rule.label.clone() },
        definition,
        action: rule.action.clone(),
        rank,
        level: rank,
        tone: Tone::Grow, // set from what it covers, once that is known
    }
}

impl Scheme {
    /// The tone of a segment nobody described: by the mean recency and frequency of what it covers.
    fn tone_of(&self, segment: usize) -> Tone {
        let covered: Vec<[u8; 3]> =
            combinations().filter(|rfm| usize::from(self.table[combination(*rfm)]) == segment).collect();
        let mean_is_high = |dimension: usize| {
            covered.iter().map(|rfm| usize::from(rfm[dimension])).sum::<usize>() >= 3 * covered.len()
        };
        match (mean_is_high(0), mean_is_high(1)) {
            (true, true) => Tone::Keep,
            (true, false) => Tone::Grow,
            (false, true) => Tone::WinBack,
            (false, false) => Tone::LetRest,
        }
    }
}

/// `at_risk` reads "At risk".
fn label_from(name: &str) -> String {
    let spaced = name.replace(['_', '-'], " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// Writes combinations as "r1 f1 m1, r1 f1 m2": runs of m are joined, "r1 f1 m1-5".
struct Listed<'a>(&'a [[u8; 3]]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.0.chunk_by(|a, b| a[0] == b[0] && a[1] == b[1] && a[2] + 1 == b[2]);
        for (index, group) in groups.enumerate() {
            let ([r, freq, low], high) = (group[0], group[group.len() - 1][2]);
            let comma = if index > 0 { ", " } else { "" };
            if low == high {
                write!(f, "{comma}r{r} f{freq} m{low}")?;
            } else {
                write!(f, "{comma}r{r} f{freq} m{low}-{high}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "segment/tests.rs"]
mod tests;
