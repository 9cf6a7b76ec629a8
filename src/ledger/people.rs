//! Customers: who they are and what is known of them.

use std::borrow::Cow;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{
    Change, LedgerError, Rules, check_date,
    counters::recompute,
    erase,
    fields::{Field, Fields, Key, Taken, Teller, Told, change, email_of, take_all},
    identity,
    tombstones::Tombstones,
};
use crate::model::{Person, Source, Timestamp};

/// In the order of [`Fields`].
macro_rules! columns {
    () => {
        "email, email_version, first_name, first_name_version, last_name, last_name_version,
         phone, phone_version, consent, consent_version, tags, tags_version"
    };
}

/// A stored customer.
pub(super) struct Known {
    pub id: i64,
    pub source: Source,
    pub owner: i64,
    pub redacted: bool,
    pub fields: Fields,
    /// E-mails (keys) that this message gave to them or took from them: the guest of such an e-mail may
    /// have another owner now.
    pub settled: Vec<String>,
}

/// Where a person stands.
pub(super) struct Placed {
    /// Their own row.
    pub id: i64,
    /// The row that counts their orders: their own, or whom they were merged into.
    pub owner: i64,
    pub change: Change,
    /// The message speaks of somebody who was erased: nothing of it but numbers may be kept.
    pub erased: bool,
}

/// Refuses persons with impossible dates.
///
/// # Errors
/// [`LedgerError::Rejected`] with a sentence for the merchant.
pub fn check_person(person: &Person, now: Timestamp) -> Result<(), LedgerError> {
    check_date("update time", person.updated_at, now)?;
    check_date("consent time", person.consent_at, now)
}

/// Takes what a message says about a person.
///
/// # Errors
/// [`LedgerError::Rejected`]: the person has neither an id nor an e-mail, or impossible dates.
pub fn apply_person(
    tx: &Transaction<'_>,
    rules: &Rules,
    person: &Person,
    now: Timestamp,
) -> Result<Change, LedgerError> {
    check_person(person, now)?;
    match place(tx, rules, &Tombstones::load(tx)?, person, Teller::Message, now)? {
        Some(placed) => Ok(placed.change),
        None => Err(nobody()),
    }
}

/// Why a message about a person who is named by nothing is refused.
pub(super) fn nobody() -> LedgerError {
    LedgerError::Rejected("this customer has neither an id nor an e-mail".to_owned())
}

/// Marks a customer as deleted in the shop since `at`, for good; one never seen leaves a tombstone.
/// Orders and counters stay.
///
/// # Errors
/// Only those of the database.
pub fn delete_customer(
    tx: &Transaction<'_>,
    rules: &Rules,
    source: Source,
    external_id: &str,
    at: Timestamp,
) -> Result<Change, LedgerError> {
    let Some(placed) = place_id(tx, rules, source, external_id, at)? else {
        return Err(LedgerError::Rejected("the message does not say which customer".to_owned()));
    };
    // The earliest of several deletions, whichever came first.
    let marked = tx
        .prepare_cached(
            "UPDATE customers SET deleted_at = ?2 WHERE id = ?1 AND (deleted_at IS NULL OR deleted_at > ?2)
             RETURNING email_key",
        )?
        .query_row(params![placed.id, at], |row| row.get::<_, Option<String>>(0))
        .optional()?;
    let Some(key) = marked else { return Ok(Change::Unchanged) };
    // A guest with this e-mail stands alone again.
    if let Some(key) = key {
        let mut touched = Vec::new();
        identity::settle_guest(tx, rules, &key, at, &mut touched)?;
        recompute(tx, &touched)?;
    }
    Ok(if placed.change == Change::New { Change::New } else { Change::Updated })
}

/// The row of an id, made if there is none. `None`: the id is empty.
pub(super) fn place_id(
    tx: &Transaction<'_>,
    rules: &Rules,
    source: Source,
    external_id: &str,
    now: Timestamp,
) -> Result<Option<Placed>, LedgerError> {
    let person = Person { external_id: Some(external_id.to_owned()), ..Person::unknown(source) };
    place(tx, rules, &Tombstones::load(tx)?, &person, Teller::Message, now)
}

/// Finds or makes the person's row and takes what is newer. `None`: they cannot be told from
/// anybody else. Of somebody who was erased nothing is taken.
pub(super) fn place(
    tx: &Transaction<'_>,
    rules: &Rules,
    tombstones: &Tombstones,
    person: &Person,
    teller: Teller,
    now: Timestamp,
) -> Result<Option<Placed>, LedgerError> {
    let Some(told) = Told::by(person, teller) else { return Ok(None) };
    let erased = tombstones.of(tx, person)?;
    let mut course = Course::default();
    let (placed, _) = place_told(tx, rules, &told, erased, now, &mut course)?;
    recompute(tx, &course.touched)?;
    Ok(Some(placed))
}

/// What is kept up from one person to the next.
#[derive(Default)]
pub(super) struct Course {
    /// The next one is new. They are not looked for before they are stored, unless that shows that they
    /// are known; the outcome does not depend on it.
    pub likely_new: bool,
    /// Whose counters are to be recomputed, since orders of guests are theirs now, or not any more.
    pub touched: Vec<i64>,
    /// There is no guest in the ledger whose orders could become anybody's.
    no_guests: bool,
}

impl Course {
    /// Of people of whom the first is likely to be new.
    pub fn begin(tx: &Transaction<'_>) -> rusqlite::Result<Self> {
        let no_guests =
            "SELECT NOT EXISTS (SELECT 1 FROM customers WHERE external_id IS NULL AND email_key IS NOT NULL)";
        let no_guests = tx.prepare_cached(no_guests)?.query_row([], |row| row.get(0))?;
        Ok(Self { likely_new: true, touched: Vec::new(), no_guests })
    }
}

/// [`place`], with their row as it stands afterwards; `None` of somebody who was erased. `erased`: whom
/// their tombstone leads to.
pub(super) fn place_told(
    tx: &Transaction<'_>,
    rules: &Rules,
    told: &Told<'_>,
    erased: Option<i64>,
    now: Timestamp,
    course: &mut Course,
) -> Result<(Placed, Option<Known>), LedgerError> {
    if course.likely_new
        && erased.is_none()
        && let Some((placed, known)) = insert(tx, rules, told, now, course)?
    {
        return Ok((placed, Some(known)));
    }
    let known = find(tx, told.person.source, &told.key)?;
    course.likely_new = known.is_none();
    let erased = match &known {
        Some(known) if known.redacted => Some(known.id),
        _ => erased,
    };
    Ok(match (known, erased) {
        (None, None) => match insert(tx, rules, told, now, course)? {
            Some((placed, known)) => (placed, Some(known)),
            None => return Err(rusqlite::Error::QueryReturnedNoRows.into()),
        },
        (Some(known), None) => {
            let (placed, known) = update(tx, rules, told, known, now, &mut course.touched)?;
            (placed, Some(known))
        }
        // A row of their own may be somebody else's who has the e-mail now; its orders stay its own.
        (Some(known), Some(_)) => {
            (Placed { id: known.id, owner: known.owner, change: Change::Unchanged, erased: true }, None)
        }
        (None, Some(nameless)) => (erase::place_again(tx, told.person.source, &told.key, nameless, now)?, None),
    })
}

fn find(tx: &Transaction<'_>, source: Source, key: &Key<'_>) -> rusqlite::Result<Option<Known>> {
    const BY_ID: &str = concat!(
        "SELECT id, source, merged_into, redacted_at, ",
        columns!(),
        " FROM customers WHERE external_id = ?1 AND source = ?2"
    );
    const BY_EMAIL: &str = concat!(
        "SELECT id, source, merged_into, redacted_at, ",
        columns!(),
        " FROM customers WHERE external_id IS NULL AND email_key = ?1"
    );
    match key {
        Key::Id(id) => tx.prepare_cached(BY_ID)?.query_row(params![id, source], read).optional(),
        Key::Guest(email) => tx.prepare_cached(BY_EMAIL)?.query_row([email.as_ref()], read).optional(),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Known> {
    const FIRST_FIELD: usize = 4;
    let id = row.get(0)?;
    let mut fields = Fields::default();
    for (position, field) in fields.iter_mut().enumerate() {
        *field =
            Field { value: row.get(FIRST_FIELD + 2 * position)?, version: row.get(FIRST_FIELD + 2 * position + 1)? };
    }
    Ok(Known {
        id,
        source: row.get(1)?,
        owner: row.get::<_, Option<i64>>(2)?.unwrap_or(id),
        redacted: row.get::<_, Option<i64>>(3)?.is_some(),
        fields,
        settled: Vec::new(),
    })
}

/// Makes the person's row. `None`: there is one, and nothing was done.
fn insert(
    tx: &Transaction<'_>,
    rules: &Rules,
    told: &Told<'_>,
    now: Timestamp,
    course: &mut Course,
) -> Result<Option<(Placed, Known)>, LedgerError> {
    const INSERT: &str = concat!(
        "INSERT INTO customers (source, external_id, email_key, created_at, ",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT DO NOTHING"
    );
    let Told { person, key, .. } = told;
    let mut fields = Fields::default();
    take_all(&mut fields, told);
    let (external_id, email_key) = match key {
        Key::Id(id) => (Some(*id), email_of(&fields)),
        Key::Guest(email) => (None, Some(Cow::Borrowed(email.as_ref()))),
    };
    let [email, first_name, last_name, phone, consent, tags] = &fields;
    let inserted = tx.prepare_cached(INSERT)?.execute(params![
        person.source,
        external_id,
        email_key,
        now,
        email.value,
        email.version,
        first_name.value,
        first_name.version,
        last_name.value,
        last_name.version,
        phone.value,
        phone.version,
        consent.value,
        consent.version,
        tags.value,
        tags.version,
    ])?;
    if inserted == 0 {
        return Ok(None);
    }
    let id = tx.last_insert_rowid();
    let mut owner = id;
    let settled: Vec<String> = email_key.into_iter().map(Cow::into_owned).collect();
    course.no_guests &= external_id.is_some();
    for email in settled.iter().filter(|_| !course.no_guests) {
        identity::settle_guest(tx, rules, email, now, &mut course.touched)?;
        if external_id.is_none() {
            owner = identity::owner(tx, id)?;
        }
    }
    let known = Known { id, source: person.source, owner, redacted: false, fields, settled };
    Ok(Some((Placed { id, owner, change: Change::New, erased: false }, known)))
}

fn update(
    tx: &Transaction<'_>,
    rules: &Rules,
    told: &Told<'_>,
    mut known: Known,
    now: Timestamp,
    touched: &mut Vec<i64>,
) -> Result<(Placed, Known), LedgerError> {
    let Told { person, key, .. } = told;
    let mut placed = Placed { id: known.id, owner: known.owner, change: Change::Unchanged, erased: false };
    let old_key = email_of(&known.fields).map(Cow::into_owned);
    let taken = take_all(&mut known.fields, told);
    if taken.iter().any(|field| matches!(field, Taken::Changed | Taken::Confirmed)) {
        store_fields(tx, known.id, &known.fields)?;
    }
    placed.change = change(taken);
    match key {
        Key::Id(_) => {
            let new_key = email_of(&known.fields).map(Cow::into_owned);
            if new_key != old_key {
                tx.prepare_cached("UPDATE customers SET email_key = ?2 WHERE id = ?1")?
                    .execute(params![known.id, new_key])?;
                known.settled.extend([old_key, new_key].into_iter().flatten());
                for key in &known.settled {
                    identity::settle_guest(tx, rules, key, now, touched)?;
                }
            }
        }
        // A guest is one person in all sources; the row names the first of them by name, whichever
        // came first in time.
        Key::Guest(email) if person.source.as_str() < known.source.as_str() => {
            tx.prepare_cached("UPDATE customers SET source = ?2 WHERE id = ?1")?
                .execute(params![known.id, person.source])?;
            identity::settle_guest(tx, rules, email, now, touched)?;
            placed.owner = identity::owner(tx, known.id)?;
            (known.source, known.owner) = (person.source, placed.owner);
        }
        Key::Guest(_) => {}
    }
    Ok((placed, known))
}

/// Leaves `email_key` alone: its indexes are touched only when it changes.
pub(super) fn store_fields(tx: &Transaction<'_>, id: i64, fields: &Fields) -> rusqlite::Result<()> {
    let [email, first_name, last_name, phone, consent, tags] = fields;
    tx.prepare_cached(
        "UPDATE customers SET email = ?2, email_version = ?3, first_name = ?4, first_name_version = ?5,
           last_name = ?6, last_name_version = ?7, phone = ?8, phone_version = ?9, consent = ?10,
           consent_version = ?11, tags = ?12, tags_version = ?13
         WHERE id = ?1",
    )?
    .execute(params![
        id,
        email.value,
        email.version,
        first_name.value,
        first_name.version,
        last_name.value,
        last_name.version,
        phone.value,
        phone.version,
        consent.value,
        consent.version,
        tags.value,
        tags.version,
    ])?;
    Ok(())
}
