//! Who may call whom, read from the source: an edge that the design does not have is a failure
//! here, not a matter of taste in a review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What every stage may use.
const FLOOR: &[&str] = &["backups", "bug", "clock", "config", "db", "invariants", "metrics", "model", "refrain"];

/// A room of the program and the stages it may use besides the floor and itself. The longest
/// matching name counts.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("db", &[]),
    ("backups", &[]),
    ("bug", &[]),
    ("invariants", &[]),
    ("metrics", &[]),
    ("refrain", &[]),
    // Its event is written in its own transaction, as scoring's are.
    ("ledger", &["outbox"]),
    ("intake", &["ledger"]),
    ("outbox", &[]),
    ("scoring", &["outbox"]),
    ("delivery", &["outbox"]),
    // Its pages read with queries of their own; they borrow the words for segments and states, and
    // the rule that says when the next night is.
    // It shares the HTTP client and its guard with those who send.
    ("sync", &["intake", "ledger", "outbox::has_unqueued", "delivery::client", "delivery::guard", "delivery::retry"]),
    ("web", &["scoring::segment", "scoring::night", "outbox"]),
    // It hands on the files that come in through the page, and what the merchant decides about
    // deliveries; what becomes of both is decided there. It shows what is sent, and tries a destination.
    (
        "web::dashboard",
        &[
            "scoring::segment",
            "scoring::night",
            // Whose scores and what of a run are told.
            "scoring::told",
            "scoring::decide",
            "scoring::clock_suspect",
            "outbox",
            "delivery::preview",
            "delivery::trial",
            "web::api",
            "web::auth",
            "web::error",
            "web::peer",
            "web::Limits",
            "web::listen::url",
            "web::writable",
            "intake::uploads",
            "intake::csv",
            // Erasing a person is done there too, as `quintile erase` asks for it.
            "intake::privacy",
            "ledger::Who",
            "scoring::note_decided",
            // It says when the shop is asked next.
            "sync::schedule",
            "sync::log",
        ],
    ),
    // It does what the commands do, and looks with the queries of the pages.
    (
        "web::api",
        &[
            "scoring",
            "outbox",
            "intake",
            "ledger::Who",
            "delivery::trial",
            "web::dashboard::filter",
            "web::dashboard::list",
            "web::dashboard::statistics",
            "web::error",
            "web::store",
        ],
    ),
    ("web::auth", &["web::peer"]),
    // It wakes the forwarder when what it stored became an event.
    ("web::webhooks", &["intake", "web::Limits", "web::error", "web::peer", "web::store", "web::writable"]),
    // The demo's receiver checks signatures with what checks them on the way in.
    ("web::receiver", &["intake::signature"]),
    ("serve", &["intake", "ledger", "scoring", "outbox", "delivery", "sync", "web"]),
    ("cli", &["intake", "ledger", "scoring", "outbox", "delivery", "sync", "web", "serve"]),
];

/// Which floor the floor itself stands on.
const FLOOR_EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("config", &["clock", "model"]),
    ("bug", &[]),
    ("db", &["bug", "model", "invariants", "refrain"]),
    ("backups", &["config", "db", "model"]),
    ("invariants", &[]),
    ("metrics", &[]),
    ("refrain", &[]),
];

/// Crates that one room alone knows.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("tower", &["web"]),
    ("tower_http", &["web"]),
    ("reqwest", &["delivery", "sync"]),
    ("clap", &["cli"]),
];

/// Decisions without input or output.
const PURE: &[&str] = &[
    "model",
    "config::signing",
    "scoring::segment",
    "delivery::retry",
    "delivery::sign",
    "delivery::verify",
    "delivery::plan",
    "delivery::destination",
    "sync::schedule",
    "sync::throttle",
];
const IMPURE: &[&str] =
    &["rusqlite", "r2d2", "tokio", "reqwest", "std::fs", "std::net", "std::io", "std::env", "std::process"];
/// Values know how they are stored; that is all `model` may know of the database.
const MODEL_MAY: &[&str] = &[
    "rusqlite::ToSql",
    "rusqlite::Result",
    "rusqlite::types::ToSqlOutput",
    "rusqlite::types::FromSql",
    "rusqlite::types::FromSqlResult",
    "rusqlite::types",
];

/// A source file without its comments and tests.
struct Source {
    file: String,
    /// `delivery::retry`
    module: String,
    code: String,
    paths: BTreeSet<String>,
}

impl Source {
    /// Whether this file is `room` or inside of it.
    fn is_in(&self, room: &str) -> bool {
        starts_with(&self.module, room)
    }

    fn stage(&self) -> &str {
        self.module.split("::").next().unwrap_or_default()
    }
}

/// `a::b::c` starts with `a::b`, `a::bc` does not.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_folder(&root, &root, &mut sources);
    assert!(sources.len() > 30, "the sources were not found");
    sources
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            read_folder(root, &entry, sources);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let file = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            if module.split("::").any(|part| part == "tests") {
                continue;
            }
            let code = without_comments(&fs::read_to_string(&entry).unwrap());
            let paths = paths_in(&code);
            sources.push(Source { file, module, code, paths });
        }
    }
}

/// Also without what follows `#[cfg(test)]`: tests stand at the end of a file and may use more.
fn without_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let comment = |line: &str| {
        let start = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
        start.map_or(line.len(), |at| at)
    };
    code.lines().flat_map(|line| [&line[..comment(line)], "\n"]).collect()
}

/// Every path of the code: those that `use` trees spell out, and those written in place.
fn paths_in(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut rest = code;
    while let Some(at) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (path, after) = rest.split_at(end);
        let path = path.trim_end_matches(':');
        if let Some(tree) = after.strip_prefix('{').filter(|_| rest[..end].ends_with("::")) {
            rest = &tree[expand(path, tree, &mut paths)..];
            continue;
        } else if path.contains("::") {
            paths.insert(path.to_owned());
        } else if path == "use" {
            let name: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            paths.insert(name);
        }
        rest = after;
    }
    paths
}

/// The paths of `prefix::{tree`, up to the brace that closes it; returns where that is.
fn expand(prefix: &str, tree: &str, paths: &mut BTreeSet<String>) -> usize {
    let mut depth = 1;
    let mut item = String::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' if depth == 1 => {
                let inner = format!("{prefix}::{}", item.trim().trim_end_matches(':'));
                expand(&inner, &tree[at + 1..], paths);
                item.clear();
                depth += 1;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            let name = item.split_whitespace().next().unwrap_or_default();
            if !name.is_empty() {
                paths.insert(if name == "self" { prefix.to_owned() } else { format!("{prefix}::{name}") });
            }
            item.clear();
        } else if depth == 1 && c != '}' {
            item.push(c);
        }
        if depth == 0 {
            return at;
        }
    }
    tree.len()
}

#[test]
fn the_reader_of_paths_reads_them() {
    let code = "use crate::{\n    db::{self, Writer},\n    model::Money as M, clock,\n};\nuse axum;\nlet x = crate::outbox::enqueue::<T>(1); pub(crate) fn f() {}";
    let paths: Vec<String> = paths_in(&without_comments(code)).into_iter().collect();
    assert_eq!(
        paths.iter().map(String::as_str).filter(|path| !path.is_empty()).collect::<Vec<_>>(),
        [
            "axum",
            "crate",
            "crate::clock",
            "crate::db",
            "crate::db::Writer",
            "crate::model::Money",
            "crate::outbox::enqueue"
        ]
    );
    assert_eq!(
        without_comments("let a = \"http://x\"; // crate::b\n#[cfg(test)]\nmod tests {}"),
        "let a = \"http://x\"; \n"
    );
}

#[test]
fn data_moves_one_way() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !matches!(source.module.as_str(), "lib" | "main")) {
        let room = EDGES.iter().filter(|(room, _)| source.is_in(room)).max_by_key(|(room, _)| room.len());
        let Some((room, may)) = room else { panic!("{} belongs to no room of the design", source.file) };
        let floor: &[&str] = FLOOR_EDGES.iter().find(|(floor, _)| room == floor).map_or(FLOOR, |(_, floor)| floor);
        for path in source.paths.iter().filter_map(|path| path.strip_prefix("crate::")) {
            let is_a_room = EDGES.iter().any(|(other, _)| starts_with(path, other));
            let allowed = starts_with(path, room) || floor.iter().chain(*may).any(|prefix| starts_with(path, prefix));
            if is_a_room && !allowed {
                wrong.push(format!("src/{} uses crate::{path}", source.file));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the design does not have:\n{}", wrong.join("\n"));
}

#[test]
fn one_room_alone_knows_a_crate() {
    let mut wrong = Vec::new();
    for source in &sources() {
        for (name, rooms) in ONLY_IN {
            let knows = source.paths.iter().any(|path| starts_with(path, name));
            if knows && !rooms.iter().any(|room| source.is_in(room)) {
                wrong.push(format!("src/{} knows {name}, which only {} may", source.file, rooms.join(" and ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decisions_do_no_input_or_output() {
    let sources = sources();
    let mut wrong = Vec::new();
    for room in PURE {
        let files: Vec<&Source> = sources.iter().filter(|source| source.is_in(room)).collect();
        assert!(!files.is_empty(), "there is no src/{room}");
        for source in files {
            let impure = |path: &&String| IMPURE.iter().any(|name| starts_with(path, name));
            let may = |path: &&String| *room == "model" && MODEL_MAY.iter().any(|may| starts_with(path, may));
            for path in source.paths.iter().filter(impure).filter(|path| !may(path)) {
                wrong.push(format!("src/{} decides, and yet uses {path}", source.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Table → the module that `schema.sql` says writes it.
fn writers() -> BTreeMap<String, String> {
    let schema = include_str!("../../schema.sql");
    let mut writers = BTreeMap::new();
    let mut writer = None;
    for line in schema.lines() {
        if let Some((_, after)) = line.strip_prefix("--").and_then(|comment| comment.split_once("Written by ")) {
            writer = after.split(['.', ' ', ',']).next().map(str::to_owned);
        } else if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            let table = rest.split([' ', '(']).next().unwrap_or_default().to_owned();
            let writer = writer.clone().unwrap_or_else(|| panic!("schema.sql does not say who writes {table}"));
            writers.insert(table, writer);
        }
    }
    writers
}

/// The tables that SQL in `code` writes.
fn written(code: &str) -> BTreeSet<String> {
    let words: Vec<&str> =
        code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
    let table = |at: usize| words.get(at).map(|word| (*word).to_owned());
    let mut tables = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        tables.extend(match (*word, words.get(at + 1).copied()) {
            ("INSERT" | "REPLACE", Some("INTO")) | ("DELETE", Some("FROM")) => table(at + 2),
            ("INSERT", Some("OR")) if words.get(at + 3) == Some(&"INTO") => table(at + 4),
            ("UPDATE", Some("OR")) => table(at + 3),
            ("UPDATE", _) => table(at + 1),
            _ => None,
        });
    }
    tables
}

#[test]
fn each_table_has_one_writer() {
    let writers = writers();
    assert_eq!(writers["orders"], "ledger");
    assert_eq!(writers["run_moves"], "scoring");
    let sql =
        "INSERT OR IGNORE INTO orders; UPDATE customer_scores SET a; INSERT INTO x DO UPDATE SET b; DELETE FROM runs";
    assert_eq!(written(sql).iter().filter(|table| writers.contains_key(*table)).count(), 3);

    let mut wrong = Vec::new();
    // A migration copies the rows of a table it makes anew; it runs before any stage does.
    for source in sources().iter().filter(|source| source.file != "db/migrate.rs") {
        for table in written(&source.code) {
            if let Some(writer) = writers.get(&table).filter(|writer| *writer != source.stage()) {
                wrong.push(format!("src/{} writes {table}, which only {writer} may", source.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
