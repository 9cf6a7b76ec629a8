//! `cargo bench`: the figures of a nightly run, beside the limit measured in the same run.
//!
//! ```text
//! cargo bench --bench figures          three sizes (a minute, most of it to make the data)
//! … -- --size 100k                     100,000 customers, 400,000 orders
//! … -- --size 1m --keep DIR            keep the generated shop in DIR and use it again
//! ```
//!
//! Every measurement runs in a process of its own, so that its peak memory is its own. All data is
//! made up from a fixed seed. Ends with exit code 1 when a bound is missed.

#[path = "figures/data.rs"]
mod data;
#[path = "shared/folder.rs"]
mod folder;
#[path = "figures/measure.rs"]
mod measure;
#[path = "figures/report.rs"]
mod report;

use std::{path::PathBuf, process::ExitCode};

/// What the arguments ask for.
struct Options {
    sizes: Vec<u64>,
    keep: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--child") {
        measure::child(&arguments[position + 1..])?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = parse(&arguments)?;
    let (mut measured, mut met) = (Vec::new(), true);
    for customers in options.sizes {
        let folder = folder::new()?;
        let folder = options.keep.as_deref().unwrap_or(folder.path());
        let figures = measure::all(customers, folder)?;
        met &= report::print(customers, &figures);
        measured.push((customers, figures));
    }
    report::print_growth(&measured);
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo bench` itself passes `--bench`.
fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { sizes: vec![10_000, 100_000, 1_000_000], keep: None };
    let mut arguments = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} needs a value"));
        match argument.as_str() {
            "--size" => options.sizes = vec![size(value()?)?],
            "--keep" => options.keep = Some(value()?.into()),
            other => anyhow::bail!("{other} is not an option; there are --size 100k|1m|N and --keep DIR"),
        }
    }
    Ok(options)
}

fn size(text: &str) -> anyhow::Result<u64> {
    let lower = text.to_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (lower.as_str(), 1),
    };
    Ok(digits.parse::<u64>()? * unit)
}
