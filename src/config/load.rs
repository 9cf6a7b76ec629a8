//! From the file and the environment to a [`Config`] that can be used.

use std::{fs, io, path};

use serde::Deserialize;

use super::{
    Config, ConfigError, Environment, Origins, Preset, Secret, check, destination, environment,
    keys::{self, Kind, KnownKey},
    problem::{Path, Problem, Step, choose, nearest},
    secrets::{self, keys_of},
    shopify,
    tree::{Entry, Node, Value},
};

/// How to load beside the file itself.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    pub environment: &'a Environment,
    pub secrets: Missing,
    /// Checks by those who know more than the floor does, like which segments there are.
    pub also: fn(&Config) -> Vec<Mistake>,
}

/// A value that cannot be used, found by [`Loading::also`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From the outside in: `destination`, 0, `to`.
    pub path: Vec<Step>,
    /// What is wrong; what to write instead.
    pub message: String,
}

/// What to do about a secret that `secret_env` or `secret_file` names and that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error: this command signs.
    Refuse,
    /// Left empty: this command only looks, perhaps from a shell that does not have the secrets
    /// of the service.
    Allow,
}

impl Config {
    /// Reads the file at `path` and this process's environment. Relative paths in the file become
    /// relative to its folder.
    ///
    /// # Errors
    /// There is no such file, or something in it cannot be used.
    pub fn load(path: &path::Path) -> Result<Self, ConfigError> {
        let environment = Environment::of_process();
        Self::load_with(path, Loading { environment: &environment, secrets: Missing::Refuse, also: |_| Vec::new() })
    }

    /// [`Self::load`] with an environment and checks of the caller's.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(path: &path::Path, loading: Loading<'_>) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigError::one(match error.kind() {
                io::ErrorKind::NotFound => format!("no config.toml at {}; `quintile init` writes one", path.display()),
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "cannot read {}: {error}; it has to belong to the user that quintile runs as",
                        path.display()
                    )
                }
                _ => format!("cannot read {}: {error}", path.display()),
            })
        })?;
        let folder = path.parent().unwrap_or_else(|| path::Path::new(""));
        let file = path.display().to_string();
        let report =
            |problems: Vec<Problem>| ConfigError(problems.iter().map(|problem| problem.render(&file, &text)).collect());
        parse(&text, loading, folder).map_err(report)
    }
}

/// Every key that can be written, with its section: "scoring.cron", "destination.url".
#[must_use]
pub fn known_keys() -> Vec<String> {
    keys::all().into_iter().map(|key| key.path).collect()
}

fn parse(text: &str, loading: Loading<'_>, folder: &path::Path) -> Result<Config, Vec<Problem>> {
    let Loading { environment, secrets: missing, also } = loading;
    let keys = keys::all();
    let mut root = Node::parse(text).map_err(|problem| vec![problem])?;
    let mut problems = environment::apply(&mut root, environment, &keys, folder);
    problems.extend(destination::kinds(&root));
    let origins = Origins::of(&root, text);
    let written = secrets::take(&mut root, &mut problems);
    let credentials = shopify::take(&mut root, &mut problems);
    unknown_keys(&root, "", &keys, &[], &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut config = Config::deserialize(&root).map_err(|problem| vec![problem])?;
    own_batches(&mut config, &root);
    let mut problems = destination::written(&config, &written);
    problems.extend(resolve_secrets(&mut config, environment, folder, missing));
    problems.extend(secrets::resolve(&mut config, written, environment, folder, missing));
    problems.extend(shopify::resolve(&mut config, credentials, environment, folder, missing));
    problems.extend(check::all(&config));
    if problems.is_empty() {
        problems.extend(also(&config).into_iter().map(|mistake| Problem::new(mistake.path, mistake.message)));
    }
    if !problems.is_empty() {
        let placed = |problem: Problem| {
            let place = root.locate(&problem.path).clone();
            problem.at(&place)
        };
        return Err(problems.into_iter().map(placed).collect());
    }
    config.database.path = behind_links(folder.join(&config.database.path));
    for backups in [&mut config.backup.folder, &mut config.backup.copy_to] {
        if !backups.as_os_str().is_empty() {
            *backups = folder.join(&*backups);
        }
    }
    config.origins = origins;
    Ok(config)
}

/// SQLite keeps its files beside the one that a link leads to, so that is where the lock and all else belong.
fn behind_links(mut path: path::PathBuf) -> path::PathBuf {
    const MANY: usize = 40; // as Linux follows
    for _ in 0..MANY {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.with_file_name("").join(target);
    }
    path
}

/// A tool that takes many events at once gets many, unless the file says otherwise.
fn own_batches(config: &mut Config, root: &Node) {
    for (index, destination) in config.destination.iter_mut().enumerate() {
        let written = root
            .get(&"destination".into())
            .and_then(|list| list.get(&index.into()))
            .and_then(|node| node.get(&"batch".into()));
        if let (None, Some(preset)) = (written, Preset::of(&destination.kind)) {
            destination.batch = preset.batch.max(1);
        }
    }
}

/// Fills each destination's `secret` from where it says that it is.
fn resolve_secrets(
    config: &mut Config,
    environment: &Environment,
    folder: &path::Path,
    missing: Missing,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, destination) in config.destination.iter_mut().enumerate() {
        if !destination.secret.is_empty() {
            continue; // stands in the file; a second one beside it is reported already
        }
        let found = if !destination.secret_env.is_empty() {
            let name = &destination.secret_env;
            let unset = || ("secret_env", secrets::unset("secret_env", name));
            environment.get(name).map(str::to_owned).ok_or_else(unset)
        } else if !destination.secret_file.as_os_str().is_empty() {
            let name = destination.secret_file.to_string_lossy();
            secrets::read_file("secret_file", &name, folder).map_err(|message| ("secret_file", message))
        } else {
            continue;
        };
        match found {
            Ok(secret) if secret.trim().is_empty() => {
                let key = if destination.secret_env.is_empty() { "secret_file" } else { "secret_env" };
                let message = "what this names is empty; put the secret there";
                problems.push(Problem::new(vec!["destination".into(), index.into(), key.into()], message));
            }
            Ok(secret) => destination.secret = Secret::new(secret.trim()),
            Err((key, message)) if missing == Missing::Refuse => {
                problems.push(Problem::new(vec!["destination".into(), index.into(), key.into()], message));
            }
            Err(_) => {}
        }
    }
    problems
}

/// Finds the keys that no struct has. All of them at once: serde would stop at the first.
///
/// `more`: keys that this node may have beside those.
fn unknown_keys(node: &Node, section: &str, keys: &[KnownKey], more: &[String], problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Table(entries) => {
            for (key, entry) in entries {
                let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
                match keys.iter().find(|known| known.path == path).map(|known| known.kind) {
                    Some(Kind::Section(_) | Kind::List(_)) => {
                        let before = problems.len();
                        let more = if path == shopify::SECTION { shopify::keys() } else { Vec::new() };
                        unknown_keys(&entry.node, &path, keys, &more, problems);
                        add_step(&mut problems[before..], &key.as_str().into());
                    }
                    Some(Kind::Value | Kind::Map) => {}
                    None => problems.push(unknown_key(key, entry, section, keys, more)),
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| !destination::is_foreign(section, item)) {
                let before = problems.len();
                let more = if section == "destination" { keys_of(item) } else { Vec::new() };
                unknown_keys(item, section, keys, &more, problems);
                add_step(&mut problems[before..], &index.into());
            }
        }
        _ => {}
    }
}

fn add_step(problems: &mut [Problem], step: &Step) {
    for problem in problems {
        problem.path.insert(0, step.clone());
    }
}

fn unknown_key(key: &str, entry: &Entry, section: &str, keys: &[KnownKey], more: &[String]) -> Problem {
    let siblings: Vec<&str> = keys.iter().filter(|known| known.section() == section).map(KnownKey::name).collect();
    // A destination has a `token` of its own, where its kind has one.
    let foreign = |known: &KnownKey| {
        section == "destination" && (known.section() == shopify::SECTION || known.path == "dashboard.token")
    };
    let others = || keys.iter().filter(|known| known.section() != section && !foreign(known));
    let elsewhere = others().find(|known| known.name() == key);
    let near = nearest(key, siblings.iter().copied().chain(more.iter().map(String::as_str)));
    let near_elsewhere = || {
        let name = nearest(key, others().filter(|known| !known.section().is_empty()).map(KnownKey::name))?;
        others().find(|known| known.name() == name)
    };
    let remedy = match (near, elsewhere) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(known)) if known.section().is_empty() => {
            format!("write [{key}] on a line of its own, outside of [{section}]")
        }
        (None, Some(known)) => format!("it belongs into [{}]", known.section()),
        (None, None) => near_elsewhere().map_or_else(
            || choose(key, &siblings).replace('"', "`"),
            |known| format!("did you mean `{}` in [{}]?", known.name(), known.section()),
        ),
    };
    let what = if section.is_empty() { "section" } else { "key" };
    Problem::new(Path::from([key.into()]), format!("there is no such {what}; {remedy}")).at(&entry.key)
}
