//! `quintile customer ID`: one of them.

use anyhow::bail;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Context, Outcome,
    customers::{COLUMNS, read, select},
    output::{Format, print_object},
};

/// Show one customer
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id that `quintile customers` shows
    id: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let Ok(id) = args.id.parse::<i64>() else {
        bail!(
            "there is no customer {:?}; `quintile customers --search {:?}` looks by name and e-mail",
            args.id,
            args.id
        );
    };
    let found = snapshot
        .query_row(
            &format!("{} WHERE c.id = ?1 AND c.merged_into IS NULL AND c.deleted_at IS NULL", select(&context.config)),
            [id],
            |row| read(row, context.config.shop.currency),
        )
        .optional()?;
    let Some(customer) = found else { bail!(why_absent(&snapshot, id)?) };
    print_object(args.format, COLUMNS, &customer)?;
    Ok(Outcome::Done)
}

fn why_absent(snapshot: &Connection, id: i64) -> rusqlite::Result<String> {
    let merged = snapshot
        .query_row("SELECT merged_into FROM customers WHERE id = ?1", [id], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(match merged {
        Some(Some(into)) => {
            format!("customer {id} was merged into customer {into}; `quintile customer {into}` shows it")
        }
        Some(None) => format!("customer {id} was deleted in the shop"),
        None => format!("there is no customer {id}; `quintile customers` lists them"),
    })
}
