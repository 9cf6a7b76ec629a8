//! The secrets of a destination, whose names depend on its kind: `api_key` stands in the file as
//! `api_key`, `api_key_env` or `api_key_file`. They are taken out of the tree before it meets the
//! structs, which know no such keys.

use std::{collections::BTreeMap, fmt, fs, path};

use super::{
    Config, Environment, Missing, Preset, Secret,
    preset::secrets_in,
    problem::{Place, Problem, Step},
    tree::{Node, Value},
};

/// Where a secret may come from, by the end of its key.
const SOURCES: [&str; 3] = ["", "_env", "_file"];

/// Secrets as they were written, per destination.
pub type Written = Vec<BTreeMap<String, Source>>;

/// Where one secret is, or the secret itself. Its `Debug` shows the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    pub(super) key: String,
    text: String,
    pub(super) place: Place,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Every key with which a secret of this destination may be written.
pub fn keys_of(destination: &Node) -> Vec<String> {
    names_of(destination).iter().flat_map(|name| keys(name)).collect()
}

/// The keys of one secret.
pub fn keys(name: &str) -> [String; 3] {
    SOURCES.map(|end| format!("{name}{end}"))
}

/// The secrets of a kind, and those that the destination's own templates use.
pub fn names_of(destination: &Node) -> Vec<String> {
    let kind = destination.text("kind").unwrap_or("webhook");
    let mut names: Vec<String> =
        Preset::of(kind).into_iter().flat_map(|preset| preset.secrets.keys().cloned()).collect();
    for key in ["request", "headers"] {
        for text in destination.get(&key.into()).into_iter().flat_map(texts) {
            names.extend(secrets_in(text));
        }
    }
    // The signing secret has keys of its own.
    names.retain(|name| name != "secret");
    names.sort();
    names.dedup();
    names
}

fn texts(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Text(text) | Value::Variable(text) => vec![text],
        Value::List(items) => items.iter().flat_map(texts).collect(),
        Value::Table(entries) => entries.values().flat_map(|entry| texts(&entry.node)).collect(),
        _ => Vec::new(),
    }
}

/// Takes the secrets out of `root`.
pub fn take(root: &mut Node, problems: &mut Vec<Problem>) -> Written {
    let Value::Table(entries) = &mut root.value else { return Vec::new() };
    let Some(Node { value: Value::List(destinations), .. }) =
        entries.get_mut("destination").map(|entry| &mut entry.node)
    else {
        return Vec::new();
    };
    let mut written = Vec::with_capacity(destinations.len());
    for (index, destination) in destinations.iter_mut().enumerate() {
        let names = names_of(destination);
        written.push(take_from(destination, &["destination".into(), index.into()], &names, problems));
    }
    written
}

/// Takes the secrets with these names out of `section`, which stands at `path`.
pub fn take_from(
    section: &mut Node,
    path: &[Step],
    names: &[String],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Source> {
    let mut found = BTreeMap::new();
    for name in names {
        let mut given: Vec<String> = Vec::new();
        for key in keys(name) {
            let Some(node) = section.take(&key) else { continue };
            let path = || path.iter().cloned().chain([key.as_str().into()]).collect();
            given.push(key.clone());
            if given.len() > 1 {
                let message = format!("write only one of {}", given.join(", "));
                problems.push(Problem::new(path(), message).at(&node.place));
                continue;
            }
            match node.value {
                Value::Text(text) | Value::Variable(text) => {
                    found.insert(name.clone(), Source { key, text, place: node.place });
                }
                _ => problems.push(Problem::new(path(), "write text in quotes").at(&node.place)),
            }
        }
    }
    found
}

/// Puts the secrets into `config`, from where they are.
pub fn resolve(
    config: &mut Config,
    written: Written,
    environment: &Environment,
    folder: &path::Path,
    missing: Missing,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, (destination, sources)) in config.destination.iter_mut().zip(written).enumerate() {
        for (name, source) in sources {
            match read(&source, environment, folder) {
                Ok(secret) => {
                    destination.secrets.insert(name, Secret::new(secret.trim()));
                }
                Err(Absent::Gone(message)) if missing == Missing::Refuse => {
                    let path = vec!["destination".into(), index.into(), source.key.as_str().into()];
                    problems.push(Problem::new(path, message).at(&source.place));
                }
                // Known to be somewhere else: a command that only looks goes on without.
                Err(Absent::Gone(_)) => {
                    destination.secrets.insert(name, Secret::default());
                }
                Err(Absent::Empty) => {
                    let path = vec!["destination".into(), index.into(), source.key.as_str().into()];
                    problems.push(Problem::new(path, "this is empty; put the secret there").at(&source.place));
                }
            }
        }
    }
    problems
}

/// Why a secret is not where it should be.
pub(super) enum Absent {
    /// What names it leads nowhere; says what to do.
    Gone(String),
    Empty,
}

pub(super) fn read(source: &Source, environment: &Environment, folder: &path::Path) -> Result<String, Absent> {
    let text = if source.key.ends_with("_env") {
        let message = || Absent::Gone(unset(&source.key, &source.text));
        environment.get(&source.text).map(str::to_owned).ok_or_else(message)?
    } else if source.key.ends_with("_file") {
        read_file(&source.key, &source.text, folder).map_err(Absent::Gone)?
    } else {
        source.text.clone()
    };
    if text.trim().is_empty() { Err(Absent::Empty) } else { Ok(text) }
}

/// What is said of a variable that is not set. What is no name may be the secret itself, which is never shown.
pub(super) fn unset(key: &str, name: &str) -> String {
    let is_name = !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && (name.contains('_') || !name.contains(|c: char| c.is_ascii_digit()));
    if is_name {
        return format!("the environment variable {name} is not set; set it to the secret");
    }
    let secret = key.strip_suffix("_env").unwrap_or(key);
    format!("what stands here is no variable that is set, like MY_SECRET; the secret itself goes into {secret}")
}

/// The text of the file that `key` names.
///
/// # Errors
/// It cannot be read. Says so without what may be the secret itself, which is never shown.
pub(super) fn read_file(key: &str, name: &str, folder: &path::Path) -> Result<String, String> {
    let file = folder.join(name);
    fs::read_to_string(&file).map_err(|error| {
        if is_path(name) {
            return format!("cannot read the file {}: {error}", file.display());
        }
        let secret = key.trim_end_matches("_FILE").trim_end_matches("_file");
        format!("what stands here leads to no file ({error}); write a path, like ./secret.txt; the secret itself goes into {secret}")
    })
}

/// By how it begins, unless it ends as base64 does, or by the end of a file's name, which is shorter than the last part
/// of a token.
fn is_path(text: &str) -> bool {
    const LONGEST: usize = 6;
    let end = path::Path::new(text).extension().and_then(|end| end.to_str()).unwrap_or_default();
    let begins = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    let ends = (1..=LONGEST).contains(&end.len()) && end.chars().all(|c| c.is_ascii_alphabetic());
    (begins && !text.ends_with('=')) || ends
}
