//! One file for `psql -f`: the tables and views of this database with their own names, types and keys, so
//! that `scoring/score.sql` runs there as it is; and over them views that read like the files of the other
//! formats.

use std::io::Write;

use indicatif::ProgressBar;
use rusqlite::{Connection, types::ValueRef};

use super::tables::{self, COPIED, Kind, Table, Words};

/// Columns of 16 bytes that PostgreSQL has a type for.
const UUIDS: [&str; 3] = ["event_id", "message_id", "replay_of"];

const HEAD: &str = r"-- Everything that quintile knows, for PostgreSQL 15 or later: psql -d DATABASE -f quintile.sql
-- Either all of it is loaded or nothing; no table that is there is touched.
--
-- In the tables money is bigint in minor units of the currency, times are bigint in Unix milliseconds
-- (UTC), flags are 0 or 1. The views readable_… have decimals, timestamptz and booleans instead.
\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
BEGIN;
";

/// Writes everything; returns the rows of each table.
pub(super) fn write(
    snapshot: &Connection,
    words: &Words,
    out: &mut impl Write,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<(&'static str, u64)>> {
    out.write_all(HEAD.as_bytes())?;
    let mut counted = Vec::new();
    for table in COPIED {
        progress.set_message(*table);
        let columns = columns(snapshot, table)?;
        create(out, table, &columns)?;
        counted.push((*table, copy(snapshot, out, table, &columns, progress)?));
    }
    // After the rows: a key is built faster from all of them than row by row.
    for table in COPIED {
        add_keys(snapshot, out, table)?;
    }
    copy_views(snapshot, out)?;
    for table in tables::TABLES {
        create_view(out, table, words)?;
    }
    out.write_all(b"COMMIT;\nANALYZE;\n")?;
    Ok(counted)
}

struct Column {
    name: String,
    kind: &'static str,
    required: bool,
}

fn columns(snapshot: &Connection, table: &str) -> anyhow::Result<Vec<Column>> {
    let mut statement = snapshot.prepare("SELECT name, type, \"notnull\" OR pk > 0 FROM pragma_table_info(?1)")?;
    let mut rows = statement.query([table])?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let kind = match kind.as_str() {
            "INTEGER" => "bigint",
            "TEXT" => "text",
            "BLOB" if UUIDS.contains(&name.as_str()) => "uuid",
            "BLOB" => "bytea",
            other => anyhow::bail!("{table}.{name} is {other}, for which PostgreSQL's type is not known"),
        };
        columns.push(Column { name, kind, required: row.get(2)? });
    }
    Ok(columns)
}

fn create(out: &mut impl Write, table: &str, columns: &[Column]) -> std::io::Result<()> {
    let columns: Vec<String> = columns
        .iter()
        .map(|Column { name, kind, required }| {
            format!("  \"{name}\" {kind}{}", if *required { " NOT NULL" } else { "" })
        })
        .collect();
    writeln!(out, "\nCREATE TABLE \"{table}\" (\n{}\n);", columns.join(",\n"))
}

fn copy(
    snapshot: &Connection,
    out: &mut impl Write,
    table: &str,
    columns: &[Column],
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let names = names.join(", ");
    writeln!(out, "COPY \"{table}\" ({names}) FROM stdin;")?;
    let mut statement = snapshot.prepare(&format!("SELECT {names} FROM \"{table}\""))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.write_all(b"\t")?;
            }
            write_value(out, row.get_ref(index)?, column.kind)?;
        }
        out.write_all(b"\n")?;
        count += 1;
        progress.inc(1);
    }
    out.write_all(b"\\.\n")?;
    Ok(count)
}

/// A value in the text format of COPY.
fn write_value(out: &mut impl Write, value: ValueRef<'_>, kind: &str) -> std::io::Result<()> {
    match value {
        ValueRef::Null => out.write_all(b"\\N"),
        ValueRef::Integer(number) => write!(out, "{number}"),
        ValueRef::Real(number) => write!(out, "{number}"),
        ValueRef::Blob(bytes) => {
            if kind == "bytea" {
                out.write_all(b"\\\\x")?;
            }
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
        ValueRef::Text(bytes) => write_text(out, &String::from_utf8_lossy(bytes)),
    }
}

/// PostgreSQL's text cannot hold a NUL; it becomes the sign for what cannot be shown.
fn write_text(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\t', '\n', '\r', '\0']) {
        out.write_all(&rest.as_bytes()[..at])?;
        out.write_all(match rest.as_bytes()[at] {
            b'\\' => b"\\\\".as_slice(),
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => "\u{fffd}".as_bytes(),
        })?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest.as_bytes())
}

/// Primary, foreign and unique keys, and indexes: those of `schema.sql`, but for partial ones.
fn add_keys(snapshot: &Connection, out: &mut impl Write, table: &str) -> anyhow::Result<()> {
    let list = |sql: &str, of: &str| -> rusqlite::Result<String> {
        snapshot.query_row(sql, [of], |row| row.get::<_, Option<String>>(0)).map(Option::unwrap_or_default)
    };
    writeln!(out)?;
    let primary = list(
        "SELECT group_concat('\"' || name || '\"', ', ' ORDER BY pk) FROM pragma_table_info(?1) WHERE pk > 0",
        table,
    )?;
    writeln!(out, "ALTER TABLE \"{table}\" ADD PRIMARY KEY ({primary});")?;
    let mut statement = snapshot.prepare(
        "SELECT name, \"unique\" FROM pragma_index_list(?1) WHERE origin = 'c' AND partial = 0 ORDER BY name",
    )?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let (name, unique): (String, bool) = (row.get(0)?, row.get(1)?);
        let columns =
            list("SELECT group_concat('\"' || name || '\"', ', ' ORDER BY seqno) FROM pragma_index_info(?1)", &name)?;
        let unique = if unique { "UNIQUE " } else { "" };
        writeln!(out, "CREATE {unique}INDEX \"{name}\" ON \"{table}\" ({columns});")?;
    }
    let mut statement = snapshot
        .prepare("SELECT \"from\", \"table\", coalesce(\"to\", 'id') FROM pragma_foreign_key_list(?1) ORDER BY id")?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let (from, other, to): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        writeln!(out, "ALTER TABLE \"{table}\" ADD FOREIGN KEY (\"{from}\") REFERENCES \"{other}\" (\"{to}\");")?;
    }
    Ok(())
}

/// Those of `schema.sql`: PostgreSQL reads them as they are.
fn copy_views(snapshot: &Connection, out: &mut impl Write) -> anyhow::Result<()> {
    let mut statement = snapshot.prepare("SELECT sql FROM sqlite_schema WHERE type = 'view' ORDER BY rowid")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        writeln!(out, "\n{};", row.get_ref(0)?.as_str()?)?;
    }
    Ok(())
}

fn create_view(out: &mut impl Write, table: &Table, words: &Words) -> std::io::Result<()> {
    let unit = 10_u64.pow(words.currency.digits());
    let digits = words.currency.digits();
    let readable = |name: &str, kind: Kind| match kind {
        Kind::Money => format!("round(\"{name}\"::numeric / {unit}, {digits}) AS \"{name}\""),
        Kind::Time => format!("to_timestamp(\"{name}\" / 1000.0) AS \"{name}\""),
        Kind::Flag => format!("\"{name}\" = 1 AS \"{name}\""),
        Kind::Id | Kind::Text | Kind::Number | Kind::Event | Kind::Message => format!("\"{name}\""),
    };
    let columns: Vec<String> = table.columns.iter().map(|(name, kind, _)| readable(name, *kind)).collect();
    writeln!(
        out,
        "\nCREATE VIEW \"readable_{}\" AS SELECT {} FROM (\n{}\n) AS it;",
        table.name,
        columns.join(", "),
        table.select(words)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_copy() {
        let written = |value, kind| {
            let mut out = Vec::new();
            write_value(&mut out, value, kind).unwrap();
            String::from_utf8(out).unwrap()
        };
        for (text, cell) in [
            ("Zoë 💐", "Zoë 💐"),
            ("a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"),
            ("\\N", "\\\\N"),
            ("\\.", "\\\\."),
            ("nul\0", "nul\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(written(ValueRef::Text(text.as_bytes()), "text"), cell);
        }
        assert_eq!(written(ValueRef::Text(b"\xff"), "text"), "\u{fffd}");
        assert_eq!(written(ValueRef::Null, "text"), "\\N");
        assert_eq!(written(ValueRef::Integer(i64::MIN), "bigint"), "-9223372036854775808");
        assert_eq!(written(ValueRef::Blob(&[0, 255]), "bytea"), "\\\\x00ff");
        assert_eq!(written(ValueRef::Blob(&[1; 16]), "uuid"), "01".repeat(16));
    }
}
