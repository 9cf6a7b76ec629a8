//! What is told of a person, and which of two words about it is kept. Pure.

use std::borrow::Cow;

use super::Change;
use crate::model::{Person, Timestamp, email_key};

/// When a field was told: the source's `updated_at`, and within it when the source sent it. Stored
/// as one integer that sorts the same way. What files tell comes before all messages: a negative
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(i64);

impl Version {
    /// The low bits hold how long after `updated_at` the message was sent, in milliseconds: up to
    /// 35 minutes, more than a shop takes between a change and telling of it. The rest holds
    /// `updated_at` until the year 2109.
    const SENT_BITS: u32 = 21;
    const SENT_UNKNOWN: i64 = (1 << Self::SENT_BITS) - 1;
    /// A list of customers from a file: newer than what any file of orders tells of them, since it
    /// holds what the shop knew in the end. Of two lists the one imported last.
    const SNAPSHOT: Self = Self(-1);

    /// `None` without `updated_at`. A message that does not say when it was sent (a pull) comes
    /// after those that do.
    #[must_use]
    pub fn of(updated_at: Option<Timestamp>, triggered_at: Option<Timestamp>) -> Option<Self> {
        let updated = updated_at?.millis().clamp(0, i64::MAX >> Self::SENT_BITS);
        let sent = triggered_at
            .map_or(Self::SENT_UNKNOWN, |at| at.millis().saturating_sub(updated).clamp(0, Self::SENT_UNKNOWN - 1));
        Some(Self(updated << Self::SENT_BITS | sent))
    }

    /// Of a file's row that says as of when it was true. `None` without that.
    fn of_file(updated_at: Option<Timestamp>) -> Option<Self> {
        Self::of(updated_at, None).map(|Self(version)| Self(version + i64::MIN))
    }

    const fn is_of_file(self) -> bool {
        self.0 < 0
    }

    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(i64::from_le_bytes(bytes))
    }
}

impl rusqlite::ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl rusqlite::types::FromSql for Version {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// One field of a person with the version it was taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub value: Option<String>,
    pub version: Option<Version>,
}

/// What became of one field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The message does not speak of it.
    Silent,
    /// Another value stands there now.
    Changed,
    /// The same value, told by a newer message.
    Confirmed,
    Known,
    /// A newer message said otherwise.
    Lost,
}

impl Field {
    /// Takes `told` unless something newer is known.
    fn take(&mut self, told: Option<&str>, version: Option<Version>) -> Taken {
        let taken = weigh(self.value.as_deref(), self.version, told, version);
        if matches!(taken, Taken::Changed | Taken::Confirmed) {
            self.value = told.filter(|text| !is_blank(text)).map(str::to_owned);
            self.version = version;
        }
        taken
    }
}

/// Looks at the beginning alone, which says it of most: an import asks this of every field.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim_start().is_empty()
}

/// What becomes of a field that is told again. Of two values with one version the greater stays, so
/// that the order of arrival does not matter.
pub(super) fn weigh(
    value: Option<&str>,
    known: Option<Version>,
    told: Option<&str>,
    version: Option<Version>,
) -> Taken {
    let Some(told) = told else { return Taken::Silent };
    let told = Some(told).filter(|text| !is_blank(text));
    let same = value == told;
    let newer = match version {
        // A file fills what no versioned message told, and cannot clear.
        None if told.is_none() => return Taken::Silent,
        Some(version) if told.is_none() && version.is_of_file() => return Taken::Silent,
        None => known.is_none() && !same,
        Some(Version::SNAPSHOT) => known < version || (known == version && !same),
        Some(_) => (version, told) > (known, value),
    };
    match (newer, same) {
        (true, true) => Taken::Confirmed,
        (true, false) => Taken::Changed,
        (false, true) => Taken::Known,
        (false, false) => Taken::Lost,
    }
}

pub(super) const EMAIL: usize = 0;
const CONSENT: usize = 4;
/// E-mail, first name, last name, phone, consent, tags: in the order of `columns!`.
pub(super) type Fields = [Field; 6];

/// What tells of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    /// The shop itself: a webhook, a pull.
    Message,
    /// A file's order, which knows its customer as of its day.
    OrderInFile,
    /// A file's list of customers.
    ListInFile,
}

impl Teller {
    fn version(self, updated_at: Option<Timestamp>, triggered_at: Option<Timestamp>) -> Option<Version> {
        match self {
            Self::Message => Version::of(updated_at, triggered_at),
            Self::OrderInFile => Version::of_file(updated_at),
            Self::ListInFile => Some(Version::SNAPSHOT),
        }
    }
}

/// By what a customer is known.
pub(super) enum Key<'a> {
    Id(&'a str),
    Guest(Cow<'a, str>),
}

impl<'a> Key<'a> {
    /// `None`: the person cannot be told from anybody else.
    pub fn of(person: &'a Person) -> Option<Self> {
        match person.external_id.as_deref() {
            Some(id) if !id.is_empty() => Some(Self::Id(id)),
            _ => person.email.as_deref().and_then(email_key).map(Key::Guest),
        }
    }
}

/// A message about a person who can be told from others.
pub(super) struct Told<'a> {
    pub person: &'a Person,
    pub teller: Teller,
    pub key: Key<'a>,
}

impl<'a> Told<'a> {
    /// `None`: the person cannot be told from anybody else.
    pub fn by(person: &'a Person, teller: Teller) -> Option<Self> {
        Some(Self { person, teller, key: Key::of(person)? })
    }

    /// What it says of each field, and the version of that.
    pub fn fields(&self) -> [(Option<&'a str>, Option<Version>); 6] {
        let Self { person, teller, .. } = self;
        let told = [&person.email, &person.first_name, &person.last_name, &person.phone, &person.consent, &person.tags];
        let version = teller.version(person.updated_at, person.triggered_at);
        let mut told = told.map(|text| (text.as_deref(), version));
        // A file does not become a version by naming when a consent was given.
        if version.is_some() && person.consent_at.is_some() {
            told[CONSENT].1 = teller.version(person.consent_at, person.triggered_at);
        }
        told
    }
}

/// Takes each field of the message that is newer.
pub(super) fn take_all(fields: &mut Fields, told: &Told<'_>) -> [Taken; 6] {
    let told = told.fields();
    let mut taken = [Taken::Silent; 6];
    for (position, field) in fields.iter_mut().enumerate() {
        let (text, version) = told[position];
        taken[position] = field.take(text, version);
    }
    taken
}

/// What a message did to a person of whom it told this.
pub(super) fn change(taken: [Taken; 6]) -> Change {
    if taken.contains(&Taken::Changed) {
        Change::Updated
    } else if taken.contains(&Taken::Lost) && !taken.contains(&Taken::Confirmed) {
        Change::Stale
    } else {
        Change::Unchanged
    }
}

/// The key of the e-mail among the fields.
pub(super) fn email_of(fields: &Fields) -> Option<Cow<'_, str>> {
    fields[EMAIL].value.as_deref().and_then(email_key)
}

#[cfg(test)]
mod tests;
