//! Who moved from where to where, as a table: a row for each segment before, a column for each after.

use super::{
    App,
    definitions::{self, Direction, Move},
    words,
};

pub struct Matrix {
    /// Heads of the columns.
    pub heads: Vec<String>,
    pub rows: Vec<Row>,
}

/// The customers of a segment, by where they went.
pub struct Row {
    pub head: String,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// All of the row.
    pub sum: String,
}

pub struct Cell {
    /// Empty: nobody.
    pub text: String,
    /// Class of the way: up, dn; empty.
    pub way: &'static str,
}

/// The matrix of `moves`, with the segments in the order of `rank`; those it does not know, and none,
/// come last. `level` says which way up is.
pub fn matrix(
    app: &App,
    moves: &[&Move],
    rank: impl Fn(&str) -> Option<usize> + Copy,
    level: impl Fn(&str) -> Option<usize> + Copy,
) -> Matrix {
    let names = |pick: &dyn Fn(&Move) -> &str| {
        ordered(&moves.iter().map(|step| pick(step).to_owned()).collect::<Vec<_>>(), rank)
    };
    let (old, new) = (names(&|step| &step.old), names(&|step| &step.new));
    let cell = |old: &str, new: &str| {
        let step = moves.iter().find(|step| step.old == old && step.new == new);
        step.map_or(Cell { text: String::new(), way: "" }, |step| Cell {
            text: words::count(step.customers),
            way: way(step, level),
        })
    };
    let sum = |name: &str| moves.iter().filter(|step| step.old == name).map(|step| step.customers).sum();
    Matrix {
        heads: new.iter().map(|name| new_label(app, name)).collect(),
        rows: old
            .iter()
            .map(|name| Row {
                head: old_label(app, name),
                cells: new.iter().map(|other| cell(name, other)).collect(),
                sum: words::count(sum(name)),
            })
            .collect(),
    }
}

/// Each name once, in the order of `rank`.
pub fn ordered(names: &[String], rank: impl Fn(&str) -> Option<usize>) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_by_key(|name| (name.is_empty(), rank(name).unwrap_or(usize::MAX), name.clone()));
    names.dedup();
    names
}

/// Where somebody was.
pub fn old_label(app: &App, name: &str) -> String {
    if name.is_empty() { "Not scored before".to_owned() } else { app.names.label(name) }
}

/// Where somebody went.
pub fn new_label(app: &App, name: &str) -> String {
    if name.is_empty() { "Left".to_owned() } else { app.names.label(name) }
}

/// Class of the way that a step goes: up, dn, empty for neither.
pub fn way(step: &Move, level: impl Fn(&str) -> Option<usize>) -> &'static str {
    match definitions::direction(&step.old, &step.new, level) {
        Direction::Up => "up",
        Direction::Down => "dn",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_best_first_and_none_last() {
        let rank = |name: &str| ["champion", "lost"].iter().position(|known| *known == name);
        let names = ["lost", "", "retired", "champion", "lost"].map(str::to_owned);
        assert_eq!(ordered(&names, rank), ["champion", "lost", "retired", ""]);
    }
}
