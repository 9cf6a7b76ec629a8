//! The people that a transaction has met: an import asks the database once for each of them, and
//! writes what became of them once.
//!
//! Here stand only their fields; who they are and whose orders they count (`email_key`,
//! `merged_into`) is written at once, since other rows follow from it. Packed, because a million
//! orders meet a quarter of a million people: some hundred bytes each.
//!
//! A record: row id and owner (4 bytes each), source, whether it must be written, length of the key
//! (2 bytes), for each field what it has ([`VALUE`], [`VERSION`]); the key (kind, text); for each field
//! its version (8 bytes) and its value (2 bytes of length, then the text), as far as it has them.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use hashbrown::HashTable;

use super::{
    Version,
    fields::{self, EMAIL, Field, Fields, Key, Taken, Told},
    people::{Known, Placed},
};
use crate::model::{Source, email_key};

/// Bytes of records beyond which everyone is written and forgotten: a quarter of a million people.
pub(super) const ROOM: usize = 26 * 1024 * 1024;

const VALUE: u8 = 1;
const VERSION: u8 = 2;

const OWNER: usize = 4;
const SOURCE: usize = 8;
const UNWRITTEN: usize = 9;
const KEY_LENGTH: usize = 10;
const HAS: usize = 12;
const KEY: usize = 18;

/// See the module.
pub(super) struct Remembered {
    room: usize,
    /// Where the record of each person begins.
    index: HashTable<u32>,
    records: Vec<u8>,
    hasher: RandomState,
}

/// A key as a record has it: guests are one person in all sources.
#[derive(Clone, Copy)]
struct Tag<'a>(u8, &'a str);

impl<'a> Tag<'a> {
    const GUEST: u8 = u8::MAX;

    fn of(source: Source, key: &'a Key<'_>) -> Self {
        match key {
            Key::Id(id) => Self(position(source), id),
            Key::Guest(email) => Self(Self::GUEST, email),
        }
    }
}

fn position(source: Source) -> u8 {
    Source::ALL.iter().zip(0..).find_map(|(known, at)| (*known == source).then_some(at)).unwrap_or_default()
}

impl Remembered {
    /// Nobody yet; full beyond `room` bytes of records.
    pub fn new(room: usize) -> Self {
        Self { room, index: HashTable::new(), records: Vec::new(), hasher: RandomState::new() }
    }

    pub fn is_full(&self) -> bool {
        self.records.len() > self.room
    }

    /// Forgets everyone; whom [`Self::unwritten`] names must have been written.
    pub fn clear(&mut self) {
        self.index.clear();
        self.records.clear();
    }

    /// Takes what a person says. `None`: they are not remembered, or it changes more than their
    /// fields; the database is to be asked.
    pub fn meet(&mut self, told: &Told<'_>) -> Option<Placed> {
        let tag = Tag::of(told.person.source, &told.key);
        let at = self.find(tag)?;
        let record = Record(&self.records[at..]);
        let (id, owner, source) = (record.id(), record.owner(), record.source());
        if tag.0 == Tag::GUEST && told.person.source.as_str() < source.as_str() {
            return None; // a guest's row names the first of the sources, and their owner may change
        }
        let mut taken = [Taken::Silent; 6];
        let mut newer = [None; 6];
        for (position, (slot, (text, version))) in record.slots().zip(told.fields()).enumerate() {
            taken[position] = fields::weigh(slot.value, slot.version, text, version);
            if taken[position] == Taken::Confirmed {
                newer[position] = slot.version.and(version).map(|version| (at + slot.version_at, version));
            }
        }
        let in_place = taken
            .iter()
            .zip(&newer)
            .all(|(taken, newer)| !matches!(taken, Taken::Changed | Taken::Confirmed) || newer.is_some());
        if in_place {
            for (at_version, version) in newer.into_iter().flatten() {
                self.records[at_version..at_version + 8].copy_from_slice(&version.to_bytes());
                self.records[at + UNWRITTEN] = 1;
            }
        } else {
            let mut fields = record.fields();
            fields::take_all(&mut fields, told);
            let same_email = fields::email_of(&fields) == record.email();
            if !fits(&fields) || (!same_email && tag.0 != Tag::GUEST) {
                return None; // the guest with that e-mail may become theirs
            }
            self.drop_record(tag);
            self.push(tag, id, owner, source, &fields, true)?;
        }
        Some(Placed { id, owner, change: fields::change(taken), erased: false })
    }

    /// Remembers someone as their row has them. Whom a record cannot hold is asked for again.
    pub fn remember(&mut self, source: Source, key: &Key<'_>, known: &Known) {
        self.push(Tag::of(source, key), known.id, known.owner, known.source, &known.fields, false);
    }

    /// Forgets one person; returns what must be written of them.
    #[must_use]
    pub fn forget(&mut self, source: Source, key: &Key<'_>) -> Option<(i64, Fields)> {
        let at = self.drop_record(Tag::of(source, key))?;
        let record = Record(&self.records[at..]);
        record.is_unwritten().then(|| (record.id(), record.fields()))
    }

    /// Whose fields must be written: row id and a number for [`Self::fields`]. Ascending by row.
    pub fn unwritten(&self) -> Vec<(i64, u32)> {
        let record = |at: &u32| (Record(&self.records[*at as usize..]), *at);
        let mut found: Vec<_> = self
            .index
            .iter()
            .map(record)
            .filter(|(record, _)| record.is_unwritten())
            .map(|(record, at)| (record.id(), at))
            .collect();
        found.sort_unstable();
        found
    }

    /// The fields of one of [`Self::unwritten`].
    pub fn fields(&self, at: u32) -> Fields {
        Record(&self.records[at as usize..]).fields()
    }

    fn find(&self, tag: Tag<'_>) -> Option<usize> {
        let same = |at: &u32| Record(&self.records[*at as usize..]).is(tag);
        self.index.find(self.hasher.hash_one((tag.0, tag.1)), same).map(|at| *at as usize)
    }

    /// Takes a record out of the index; its bytes stay where they are.
    fn drop_record(&mut self, tag: Tag<'_>) -> Option<usize> {
        let records = &self.records;
        let same = |at: &u32| Record(&records[*at as usize..]).is(tag);
        let entry = self.index.find_entry(self.hasher.hash_one((tag.0, tag.1)), same).ok()?;
        Some(entry.remove().0 as usize)
    }

    /// `None`: a record cannot hold this person.
    fn push(
        &mut self,
        tag: Tag<'_>,
        id: i64,
        owner: i64,
        source: Source,
        fields: &Fields,
        unwritten: bool,
    ) -> Option<()> {
        let length = |text: &str| u16::try_from(text.len()).ok();
        let (at, id, owner) =
            (u32::try_from(self.records.len()).ok()?, u32::try_from(id).ok()?, u32::try_from(owner).ok()?);
        let key_length = length(tag.1).filter(|_| fits(fields))?;
        let records = &mut self.records;
        records.extend(id.to_le_bytes());
        records.extend(owner.to_le_bytes());
        records.extend([position(source), u8::from(unwritten)]);
        records.extend(key_length.to_le_bytes());
        records.extend(fields.iter().map(|Field { value, version }| {
            let (value, version) = (u8::from(value.is_some()), u8::from(version.is_some()));
            value * VALUE + version * VERSION
        }));
        records.push(tag.0);
        records.extend(tag.1.as_bytes());
        for Field { value, version } in fields {
            records.extend(version.map(Version::to_bytes).into_iter().flatten());
            if let Some(value) = value {
                records.extend(length(value)?.to_le_bytes());
                records.extend(value.as_bytes());
            }
        }
        let (records, hasher) = (&self.records, &self.hasher);
        let rehash = |at: &u32| {
            let tag = Record(&records[*at as usize..]).tag();
            hasher.hash_one((tag.0, tag.1))
        };
        self.index.insert_unique(hasher.hash_one((tag.0, tag.1)), at, rehash);
        Some(())
    }
}

/// Whether a record can hold these fields.
fn fits(fields: &Fields) -> bool {
    fields.iter().filter_map(|field| field.value.as_ref()).all(|value| u16::try_from(value.len()).is_ok())
}

/// The bytes of a record, and others behind it.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

/// One field in a record.
struct Slot<'a> {
    value: Option<&'a str>,
    version: Option<Version>,
    /// Where the version stands in the record.
    version_at: usize,
}

impl<'a> Record<'a> {
    fn id(self) -> i64 {
        i64::from(u32::from_le_bytes(self.bytes(0)))
    }

    fn owner(self) -> i64 {
        i64::from(u32::from_le_bytes(self.bytes(OWNER)))
    }

    fn source(self) -> Source {
        Source::ALL[usize::from(self.0[SOURCE])]
    }

    fn is_unwritten(self) -> bool {
        self.0[UNWRITTEN] != 0
    }

    fn is(self, tag: Tag<'_>) -> bool {
        let key = &self.0[KEY..];
        key[0] == tag.0 && self.length(KEY_LENGTH) == tag.1.len() && key[1..].starts_with(tag.1.as_bytes())
    }

    fn tag(self) -> Tag<'a> {
        Tag(self.0[KEY], self.text(KEY + 1, self.length(KEY_LENGTH)))
    }

    fn slots(self) -> impl Iterator<Item = Slot<'a>> {
        let mut at = KEY + 1 + self.length(KEY_LENGTH);
        self.0[HAS..KEY].iter().map(move |has| {
            let version_at = at;
            let version = (has & VERSION != 0).then(|| Version::from_bytes(self.bytes(at)));
            at += if version.is_some() { 8 } else { 0 };
            let value = (has & VALUE != 0).then(|| self.text(at + 2, self.length(at)));
            at += value.map_or(0, |value| 2 + value.len());
            Slot { value, version, version_at }
        })
    }

    fn fields(self) -> Fields {
        let mut fields = Fields::default();
        for (field, slot) in fields.iter_mut().zip(self.slots()) {
            *field = Field { value: slot.value.map(str::to_owned), version: slot.version };
        }
        fields
    }

    /// The key of the e-mail.
    fn email(self) -> Option<Cow<'a, str>> {
        self.slots().nth(EMAIL).and_then(|slot| slot.value).and_then(email_key)
    }

    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn length(self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.bytes(at)))
    }

    fn text(self, at: usize, length: usize) -> &'a str {
        // It was text when it was put there.
        std::str::from_utf8(&self.0[at..at + length]).unwrap_or_default()
    }
}
