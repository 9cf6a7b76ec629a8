//! How commands print: a table for people, JSON or CSV for programs.

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    Json,
    Csv,
}
