//! What `--dry-run` shows of a file: which column is which, and its first rows as they are read.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::{
    intake::csv::{Columns, Preview, Read, Shown},
    model::{Order, Person},
};

pub fn columns_for_people(out: &mut impl Write, columns: &Columns) -> io::Result<()> {
    let separator = match columns.delimiter {
        '\t' => "tabs".to_owned(),
        delimiter => format!("{delimiter:?}"),
    };
    writeln!(out, "  columns (between {separator}; {} more are not read)", columns.others)?;
    let width = columns.read.iter().map(|(ours, _)| ours.len()).max().unwrap_or(0);
    for (ours, theirs) in &columns.read {
        writeln!(out, "    {ours:width$}  is  {theirs}")?;
    }
    Ok(())
}

pub fn rows_for_people(out: &mut impl Write, preview: &Preview) -> io::Result<()> {
    writeln!(out, "  first rows, as they are read")?;
    for Shown { line, read } in &preview.rows {
        match read {
            Ok(Read::Order(order)) => writeln!(out, "    line {line}: {}", order_in_words(order))?,
            Ok(Read::Person(person)) => writeln!(out, "    line {line}: {}", person_in_words(person))?,
            Err(reason) => writeln!(out, "    line {line}: rejected, {reason}")?,
        }
    }
    Ok(())
}

fn order_in_words(order: &Order) -> String {
    let mut words = vec![
        format!("order {}", order.source_id),
        order.ordered_at.to_string(),
        format!("{} {}", order.gross.to_decimal(order.currency), order.currency),
    ];
    if order.refunded.0 > 0 {
        words.push(format!("{} refunded", order.refunded.to_decimal(order.currency)));
    }
    words.push(order.status.to_string());
    words.push(order.person.as_ref().map_or_else(|| "nobody's".to_owned(), person_in_words));
    words.join(", ")
}

fn person_in_words(person: &Person) -> String {
    let id = person.external_id.as_ref().map(|id| format!("customer {id}"));
    let name: Vec<_> = [&person.first_name, &person.last_name].into_iter().flatten().cloned().collect();
    [id, person.email.clone(), Some(name.join(" ")), person.phone.clone(), person.consent.clone()]
        .into_iter()
        .flatten()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Our names of columns, each with the file's.
pub fn columns_as_json(columns: &Columns) -> Value {
    columns.read.iter().map(|(ours, theirs)| ((*ours).to_owned(), Value::from(theirs.as_str()))).collect()
}

pub fn rows_as_json(preview: &Preview) -> Value {
    preview
        .rows
        .iter()
        .map(|Shown { line, read }| match read {
            Ok(Read::Order(order)) => json!({
                "line": line,
                "orderId": order.source_id,
                "orderedAt": order.ordered_at.to_string(),
                "total": order.gross.to_decimal(order.currency),
                "refunded": order.refunded.to_decimal(order.currency),
                "currency": order.currency.code(),
                "status": order.status.as_str(),
                "customer": order.person.as_ref().map(person_as_json),
            }),
            Ok(Read::Person(person)) => json!({ "line": line, "customer": person_as_json(person) }),
            Err(reason) => json!({ "line": line, "rejected": reason }),
        })
        .collect()
}

fn person_as_json(person: &Person) -> Value {
    json!({
        "externalId": person.external_id,
        "email": person.email,
        "firstName": person.first_name,
        "lastName": person.last_name,
        "phone": person.phone,
        "consent": person.consent,
    })
}
