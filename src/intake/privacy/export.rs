//! The file that answers a request for data: everything that is known of one person.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

use rusqlite::{Connection, Row, types::ValueRef};
use serde_json::{Map, Value, json};

use super::{
    search::Search,
    strip::{beside, drop_beside, parts},
    traces::Traces,
};
use crate::{
    db::make_whole,
    ledger::Cluster,
    model::{Source, Timestamp},
};

/// What of the tables is told, by customer: the name in the file, and the query. Columns whose names
/// end in `At` are times.
const TABLES: [(&str, &str); 4] = [
    (
        "customers",
        "SELECT CAST(id AS TEXT) AS id, source, external_id AS externalId, email, first_name AS firstName,
           last_name AS lastName, phone, consent, tags, order_count AS orderCount, first_order_at AS firstOrderAt,
           last_order_at AS lastOrderAt, created_at AS knownSinceAt, deleted_at AS deletedAt, redacted_at AS erasedAt
         FROM customers WHERE id = ?1",
    ),
    (
        "orders",
        "SELECT source, source_id AS id, name, email, status, currency, gross AS grossMinorUnits,
           refunded AS refundedMinorUnits, net AS netMinorUnits, ordered_at AS orderedAt, cancelled_at AS cancelledAt,
           deleted_at AS deletedAt
         FROM orders WHERE customer_id = ?1 ORDER BY ordered_at",
    ),
    (
        "scores",
        "SELECT r, f, m, segment, previous_segment AS previousSegment, segment_since AS segmentSinceAt,
           (SELECT max(runs.scored_at) FROM runs
             WHERE EXISTS (SELECT 1 FROM history h WHERE h.run_id = runs.id AND h.customer_id = scores.customer_id)) AS scoredAt
         FROM scores WHERE customer_id = ?1",
    ),
    (
        "events",
        "SELECT o.seq, o.type, o.old_segment AS oldSegment, o.new_segment AS newSegment, o.at AS happenedAt,
           (SELECT json_group_array(DISTINCT d.destination) FROM deliveries d
             WHERE d.state = 'delivered' AND ((d.seq = o.seq AND d.events = 1)
                OR d.id IN (SELECT delivery_id FROM batched b WHERE b.seq = o.seq))) AS sentTo
         FROM outbox o WHERE o.customer_id = ?1 ORDER BY o.seq",
    ),
];

/// Writes the file, for its owner alone; one that was there is replaced. Messages up to the id `last`
/// are in it.
pub fn write(connection: &Connection, person: &Cluster, last: i64, path: &Path) -> anyhow::Result<()> {
    let mut known = Map::new();
    for (name, sql) in TABLES {
        let mut select = connection.prepare(sql)?;
        let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
        let mut found = Vec::new();
        for id in &person.customers {
            let mut rows = select.query([id])?;
            while let Some(row) = rows.next()? {
                found.push(object(row, &columns)?);
            }
        }
        known.insert(name.to_owned(), found.into());
    }
    known.insert("messages".to_owned(), messages(connection, person, last)?.into());

    // From then on nobody remembers that it was asked for.
    make_whole(path, |_, file| {
        let mut out = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, &known)?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(out.get_ref().sync_all()?)
    })
}

fn object(row: &Row<'_>, columns: &[String]) -> rusqlite::Result<Value> {
    let mut members = Map::new();
    for (index, name) in columns.iter().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            ValueRef::Integer(millis) if name.ends_with("At") => json!(Timestamp::from_millis(millis)),
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => json!(number),
            ValueRef::Text(text) => {
                let text = String::from_utf8_lossy(text).into_owned();
                if name == "sentTo" { serde_json::from_str(&text).unwrap_or_default() } else { text.into() }
            }
        };
        members.insert(name.clone(), value);
    }
    Ok(members.into())
}

/// Said of what is not given out.
const LEFT_OUT: &str = "it is about somebody else, or cannot be read; it only mentions this person";

/// What the shop sent about the person; of a message with many orders theirs alone, and of one that only mentions
/// them no more than that: the file is sent to them.
fn messages(connection: &Connection, person: &Cluster, last: i64) -> rusqlite::Result<Vec<Value>> {
    let search = Search::new(person);
    let mut select = connection.prepare("SELECT source, topic, received_at, body FROM inbox WHERE id = ?1")?;
    let (mut position, mut found) = (0, Vec::new());
    loop {
        let slice = search.slice(connection, position, last)?;
        for hit in slice.hits {
            let message = select.query_row([hit.id], |row| {
                let (source, topic, at): (Source, String, Timestamp) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let (body, is_whole) = theirs(&search, source, &topic, row.get_ref(3)?.as_blob()?);
                let mut told = json!({ "source": source.as_str(), "topic": topic, "receivedAt": at, "body": body });
                if !is_whole {
                    told["leftOut"] = LEFT_OUT.into();
                }
                Ok(told)
            });
            found.push(message?);
        }
        match slice.position.filter(|reached| *reached < last) {
            Some(reached) => position = reached,
            None => return Ok(found),
        }
    }
}

/// What of a body is the person's, and whether that is all that speaks of them.
fn theirs(search: &Search<'_>, source: Source, topic: &str, body: &[u8]) -> (Value, bool) {
    let Ok(mut body) = serde_json::from_slice::<Value>(body) else {
        return (Value::Null, body.is_empty()); // not kept any more, or nobody can tell whose it is
    };
    let Some(parts) = parts(&mut body) else {
        let is_whole = search.is_owner(source, &Traces::of_owner(topic, &body));
        return (if is_whole { body } else { id_alone(&body) }, is_whole);
    };
    parts.retain(|part| search.is_meant(source, &Traces::of("orders", part)));
    let mut is_whole = true;
    for part in parts {
        if !search.is_owner(source, &Traces::of_owner("orders", part)) {
            *part = id_alone(part);
            is_whole = false;
        }
    }
    if let Some(beside) = beside(&body)
        && !search.is_owner(source, &Traces::of_owner("", &beside))
    {
        is_whole &= !search.is_meant(source, &Traces::of("", &beside));
        drop_beside(&mut body);
    }
    (body, is_whole)
}

fn id_alone(body: &Value) -> Value {
    json!({ "id": body.get("id") })
}
