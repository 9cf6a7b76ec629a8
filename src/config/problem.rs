//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;

/// The configuration cannot be used. Each problem names the file and the line (or the environment
/// variable), the key, and what to write instead; values of secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) Vec<String>);

impl ConfigError {
    pub(super) fn one(message: impl Into<String>) -> Self {
        Self(vec![message.into()])
    }

    /// One sentence per problem.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\nerror: "))
    }
}

impl std::error::Error for ConfigError {}

/// One step from the root of the configuration to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way to a value: `destination`, 0, `url`.
pub type Path = Vec<Step>;

/// The keys of a path, as a merchant reads them: "destination.url". Which destination is told by
/// the line.
pub fn dotted(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// Where a value or key was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Byte offset into the file.
    File(usize),
    /// An environment variable's name.
    Variable(String),
}

/// Something that cannot be used. The path grows from the value outwards while an error travels
/// up through serde.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: Path,
    pub place: Option<Place>,
    /// What is wrong; what to write instead.
    pub message: String,
}

impl Problem {
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, place: None, message: message.into() }
    }

    /// Keeps the innermost place.
    pub fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    pub fn inside(mut self, step: impl Into<Step>) -> Self {
        self.path.insert(0, step.into());
        self
    }

    /// `config.toml:12:8: scoring.cron: …`, or `QUINTILE_SCORING__CRON: …`.
    pub fn render(&self, file: &str, text: &str) -> String {
        let key = dotted(&self.path);
        let what = if key.is_empty() { self.message.clone() } else { format!("{key}: {}", self.message) };
        match &self.place {
            Some(Place::Variable(name)) => format!("{name}: {what}"),
            Some(Place::File(offset)) => {
                let (line, column) = position(text, *offset);
                format!("{file}:{line}:{column}: {what}")
            }
            None => format!("{file}: {what}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// What serde's visitors report. Values are left out: they may be secrets.
impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Path::new(), message.to_string())
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::custom(format!("this is {}; write {}", kind_of(&found), kind_wanted(&expected.to_string())))
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let _ = found;
        Self::custom(format!("this is out of range; write {}", kind_wanted(&expected.to_string())))
    }

    fn unknown_variant(given: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("{given:?} is not known; {}", choose(given, expected)))
    }
}

fn kind_of(found: &serde::de::Unexpected<'_>) -> &'static str {
    use serde::de::Unexpected as U;
    match found {
        U::Bool(_) => "true or false without quotes",
        U::Unsigned(_) | U::Signed(_) | U::Float(_) => "a number without quotes",
        U::Str(_) | U::Char(_) => "text",
        U::Seq => "a list",
        U::Map => "a section",
        _ => "something else",
    }
}

fn kind_wanted(expected: &str) -> &'static str {
    match expected {
        "a boolean" => "true or false, without quotes",
        "u32" => "a whole number from 0 to 4294967295, without quotes",
        "a sequence" => "a list like [\"one\", \"two\"]",
        "a map" => "a section of keys and values",
        _ if expected.starts_with("struct") => "a section of keys and values",
        _ => "text in quotes",
    }
}

/// "did you mean `x`?", or all choices when none is near.
pub fn choose(given: &str, choices: &[impl AsRef<str>]) -> String {
    if let Some(near) = nearest(given, choices.iter().map(AsRef::as_ref)) {
        return format!("did you mean \"{near}\"?");
    }
    let all: Vec<String> = choices.iter().map(|choice| format!("{:?}", choice.as_ref())).collect();
    match all.as_slice() {
        [only] => format!("write {only}"),
        [first @ .., last] => format!("write {} or {last}", first.join(", ")),
        [] => "leave it out".to_owned(),
    }
}

/// The candidate that a typing mistake could have turned into `given`.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&given, &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Line and column, from 1, of a byte offset.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
