//! `QUINTILE_SECTION__KEY` overrides any key of the file; `…_FILE` gives a secret as a file.

use std::{collections::BTreeMap, fmt, path};

use super::{
    keys::{Kind, KnownKey},
    problem::{Path, Place, Problem, nearest},
    secrets, shopify,
    tree::{Entry, Node, Value},
};

/// Environment variables, by name. Taken as an argument, so that tests need not set their own. Its
/// `Debug` shows the names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Variables of ours that are not keys of the configuration.
const NOT_KEYS: [&str; 3] = ["QUINTILE_CONFIG", "QUINTILE_LOG", "QUINTILE_LOG_FORMAT"];
const PREFIX: &str = "QUINTILE_";

impl Environment {
    /// This process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        // Names and values that are not Unicode cannot be ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variable that overrides where the secret of the destination `name` is, if there is one.
    #[must_use]
    pub fn secret_override(&self, name: &str) -> Option<&str> {
        let is_it = |variable: &str| {
            let parts: Vec<&str> = variable[PREFIX.len()..].split("__").collect();
            matches!(parts.as_slice(), [list, item, key]
                if list.eq_ignore_ascii_case("destination")
                    && plain(item) == plain(name)
                    && ["secret", "secret_env", "secret_file"].iter().any(|it| key.eq_ignore_ascii_case(it)))
        };
        self.overrides().map(|(variable, _)| variable).find(|variable| is_it(variable))
    }

    fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        let ours = |(name, _): &(&str, &str)| name.starts_with(PREFIX) && !NOT_KEYS.contains(name);
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(ours)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Writes every override into `root`; returns what could not be.
pub fn apply(root: &mut Node, environment: &Environment, keys: &[KnownKey], folder: &path::Path) -> Vec<Problem> {
    let one = |(name, value)| apply_one(root, name, value, keys, folder).err();
    environment.overrides().filter_map(one).collect()
}

fn apply_one(root: &mut Node, name: &str, value: &str, keys: &[KnownKey], folder: &path::Path) -> Result<(), Problem> {
    let place = Place::Variable(name.to_owned());
    let refuse = |message: String| Problem::new(Path::new(), message).at(&place);
    let parts: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let is_list = |path: &str| keys.iter().any(|key| matches!(key.kind, Kind::List(_)) && key.path == path);
    // After a list stands the name of one of its items, then a key of that.
    let list = (1..parts.len().saturating_sub(1)).find(|end| is_list(&parts[..*end].join(".")));
    let (node, rest) = match list {
        Some(end) => {
            let node = list_item(root, &parts[..end], &parts[end]).ok_or_else(|| {
                refuse(format!("no [[{}]] of the file has the name {:?}", parts[..end].join("."), parts[end]))
            })?;
            (node, &parts[end + 1..])
        }
        None => (root, parts.as_slice()),
    };
    let is_key = |path: &str| keys.iter().find(|key| key.path == path && key.kind == Kind::Value);
    let path = [&parts[..list.unwrap_or_default()], rest].concat().join(".");
    let in_map =
        |key: &KnownKey| key.kind == Kind::Map && path.strip_prefix(&key.path).is_some_and(|p| p.starts_with('.'));

    // An empty one is more often a slip than a wish, and would do away with a good one of the file.
    let holds_none = || refuse("this is set but holds no secret; put the secret there, or unset it".to_owned());

    if let [section, key] = parts.as_slice()
        && section == shopify::SECTION
        && let Some(keys) = shopify::forms_of(key)
    {
        if is_blank(value) {
            return Err(holds_none());
        }
        // As below: the variable is the last word, whatever form it has.
        for key in keys {
            node.take_in(section, &key);
        }
        node.set(&parts, Value::Variable(value.to_owned()), &place);
        return Ok(());
    }
    if is_key(&path).is_some_and(|key| is_secret(key.name())) && is_blank(value) {
        return Err(holds_none());
    }
    if is_key(&path).is_some() || keys.iter().any(in_map) {
        if matches!(rest[rest.len() - 1].as_str(), "secret" | "secret_env" | "secret_file") {
            // The variable is the merchant's last word: what the file says of this secret is void.
            for key in ["secret", "secret_env", "secret_file"] {
                node.take(key);
            }
        }
        node.set(rest, Value::Variable(value.to_owned()), &place);
        return Ok(());
    }
    if let [key] = rest
        && parts[0] == "destination"
        && let Some(keys) =
            secrets::names_of(node).iter().map(|name| secrets::keys(name)).find(|keys| keys.contains(key))
    {
        for key in keys {
            node.take(&key);
        }
        node.set(rest, Value::Variable(value.to_owned()), &place);
        return Ok(());
    }
    if let Some(secret) = path.strip_suffix("_file").and_then(is_key).filter(|key| is_secret(key.name())) {
        let file = folder.join(value);
        let text = secrets::read_file(name, value, folder).map_err(refuse)?;
        if is_blank(&text) {
            return Err(refuse(format!(
                "the file {} holds no secret; put the secret there, or unset this",
                file.display()
            )));
        }
        let mut rest = rest.to_vec();
        if let Some(last) = rest.last_mut() {
            secret.name().clone_into(last);
        }
        node.set(&rest, secret_from(secret.name(), &text, &place), &place);
        return Ok(());
    }
    Err(refuse(unknown(name, keys)))
}

/// Keys whose values are never shown and may come from files.
pub fn is_secret(key: &str) -> bool {
    matches!(key, "secret" | "secrets" | "password_hash")
}

/// Neither a secret nor the word `[]` that there is none.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c == ',' || c.is_whitespace())
}

/// A file holds one secret, or for a list one per line.
fn secret_from(key: &str, text: &str, place: &Place) -> Value {
    let one = |line: &str| Node { value: Value::Text(line.trim().to_owned()), place: place.clone() };
    if key == "secrets" {
        Value::List(text.lines().filter(|line| !line.trim().is_empty()).map(one).collect())
    } else {
        one(text).value
    }
}

fn unknown(name: &str, keys: &[KnownKey]) -> String {
    let values = keys.iter().filter(|key| key.kind == Kind::Value);
    let names: Vec<String> = values.map(|key| variable_of(&key.path)).collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("there is no such key; did you mean {near}?"),
        None => "there is no such key; the name is QUINTILE_SECTION__KEY, like QUINTILE_DASHBOARD__LISTEN".to_owned(),
    }
}

/// "scoring.cron" → `QUINTILE_SCORING__CRON`
fn variable_of(path: &str) -> String {
    let lists = ["destination.", "segment.", "dashboard.token."];
    let path = lists.iter().fold(path.to_owned(), |path, list| path.replace(*list, &format!("{list}name.")));
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// A name as a variable can spell it: "my-tool" and `MY_TOOL` are "`my_tool`".
fn plain(text: &str) -> String {
    text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "_")
}

/// The item of the list at `path` whose name is `name` ("my-tool" is `MY_TOOL` in a variable).
fn list_item<'a>(root: &'a mut Node, path: &[String], name: &str) -> Option<&'a mut Node> {
    let (section, inner) = path.split_first()?;
    let Value::Table(entries) = &mut root.value else { return None };
    let node = &mut entries.get_mut(section)?.node;
    if !inner.is_empty() {
        return list_item(node, inner, name);
    }
    let Value::List(items) = &mut node.value else { return None };
    items.iter_mut().find(|item| item.text("name").is_some_and(|it| plain(it) == plain(name)))
}

impl Node {
    /// Takes the value of `key` in `section` out, when there is one.
    fn take_in(&mut self, section: &str, key: &str) {
        if let Value::Table(entries) = &mut self.value
            && let Some(entry) = entries.get_mut(section)
        {
            entry.node.take(key);
        }
    }

    /// Puts `value` at `path`, making tables on the way.
    fn set(&mut self, path: &[String], value: Value, place: &Place) {
        let Some((key, rest)) = path.split_first() else {
            self.value = value;
            self.place = place.clone();
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            self.value = Value::Table(BTreeMap::new());
            self.place = place.clone();
        }
        if let Value::Table(entries) = &mut self.value {
            let missing = || Entry {
                key: place.clone(),
                node: Node { value: Value::Table(BTreeMap::new()), place: place.clone() },
            };
            entries.entry(key.clone()).or_insert_with(missing).node.set(rest, value, place);
        }
    }
}
