//! A fresh signing secret for a destination, where its secret stands; the old one is kept for a day,
//! so that no request is refused while the merchant enters the new one in the tool.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use serde::Serialize;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::{Destination, Environment, Secret, replace::replace, signing};
use crate::model::Timestamp;

/// How long the old secret signs too.
const OVERLAP_MS: i64 = Timestamp::DAY;

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    Config(PathBuf),
    File(PathBuf),
    /// Of the service's environment, which cannot be changed from here.
    Variable(String),
}

/// What was done. Its JSON shows secrets, its `Debug` does not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    pub destination: String,
    /// The new secret, to be entered in the tool.
    pub secret: String,
    /// `None`: there was no old one that could be kept.
    pub old_signs_until: Option<Timestamp>,
    /// The file that holds it now; `None`: it must be set by hand.
    pub written: Option<PathBuf>,
    /// The variable to set by hand, and its value.
    pub variable: Option<String>,
    pub value: Option<String>,
    /// Older keys that signed until now and do no longer.
    pub dropped: usize,
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// Why there is no fresh secret.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error(
        "{name:?} is of kind {kind:?}, which signs nothing; change its key in the tool and where the configuration has it"
    )]
    SignsNothing { name: String, kind: String },
    /// Older keys would sign no longer, and that was not wanted.
    #[error("there may be three keys at a time, and the oldest of the three signs still")]
    WouldDrop {
        /// When there is room, if it is to end by itself.
        until: Option<Timestamp>,
    },
    #[error("the secret of {0:?} cannot be read; put it where the configuration says, then try again")]
    Unreadable(String),
    /// It could not be written, or there are no random numbers.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// One at a time: each reads the file, and writes all of it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Puts a fresh secret before the present one of `destination`, as it was just read from
/// `config_path` and `environment`. Of a secret in a variable nothing is changed. `may_drop`: also when a
/// key that still signs has to give way.
///
/// # Errors
/// [`RotationError`]; everything is as before then.
pub fn rotate(
    destination: &Destination,
    environment: &Environment,
    config_path: &Path,
    may_drop: bool,
    now: Timestamp,
) -> Result<Rotation, RotationError> {
    if destination.kind != "webhook" {
        let (name, kind) = (destination.name.clone(), destination.kind.clone());
        return Err(RotationError::SignsNothing { name, kind });
    }
    let fresh = Secret::random().context("the system gives no random numbers for a secret")?;
    let fresh = fresh.expose();
    // Whole seconds: that is what signatures count in, and it reads better.
    let until = Timestamp::from_millis((now.seconds() * 1000).saturating_add(OVERLAP_MS));
    let mut done = Rotation {
        destination: destination.name.clone(),
        secret: fresh.to_owned(),
        old_signs_until: Some(until),
        written: None,
        variable: None,
        value: None,
        dropped: 0,
    };
    let home = home(destination, environment, config_path);
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if destination.secret.is_empty() {
        let Home::Variable(variable) = home else {
            return Err(RotationError::Unreadable(destination.name.clone()));
        };
        // The service's own environment has the old one; this shell's does not.
        done.value = Some(format!("{fresh} OLD@{until}"));
        done.variable = Some(variable);
        return Ok(done);
    }
    let rotated =
        signing::rotate(destination.secret.expose(), fresh, now, until).map_err(|error| anyhow::anyhow!("{error}"))?;
    done.dropped = rotated.dropped;
    if done.dropped > 0 && !may_drop {
        return Err(RotationError::WouldDrop { until: rotated.dropped_until });
    }
    match home {
        Home::Config(path) => {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            replace(&path, &with_secret(&text, &destination.name, &rotated.written.join(" "))?)?;
            done.written = Some(path);
        }
        Home::File(path) => {
            replace(&path, &format!("{}\n", rotated.written.join("\n")))?;
            done.written = Some(path);
        }
        Home::Variable(variable) => {
            done.value = Some(rotated.written.join(" "));
            done.variable = Some(variable);
        }
    }
    Ok(done)
}

/// The environment has the last word, then the file says where.
fn home(destination: &Destination, environment: &Environment, config_path: &Path) -> Home {
    let folder = config_path.parent().unwrap_or_else(|| Path::new(""));
    if let Some(variable) = environment.secret_override(&destination.name) {
        Home::Variable(variable.to_owned())
    } else if !destination.secret_env.is_empty() {
        Home::Variable(destination.secret_env.clone())
    } else if destination.secret_file.as_os_str().is_empty() {
        Home::Config(config_path.to_owned())
    } else {
        Home::File(folder.join(&destination.secret_file))
    }
}

/// config.toml with the `secret` of one destination changed, and nothing else.
fn with_secret(text: &str, name: &str, secret: &str) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let tables: Vec<&mut dyn TableLike> = match document.get_mut("destination") {
        Some(Item::ArrayOfTables(tables)) => tables.iter_mut().map(|table| table as &mut dyn TableLike).collect(),
        Some(Item::Value(Value::Array(values))) => values
            .iter_mut()
            .filter_map(|value| value.as_inline_table_mut().map(|table| table as &mut dyn TableLike))
            .collect(),
        _ => Vec::new(),
    };
    let is_it = |table: &&mut dyn TableLike| table.get("name").and_then(Item::as_str) == Some(name);
    let written = tables.into_iter().find(is_it).and_then(|table| table.get_mut("secret")?.as_value_mut());
    let Some(written) = written else {
        anyhow::bail!("the file changed meanwhile: {name:?} has no `secret` in it any more; try again");
    };
    let decor = written.decor().clone();
    *written = Value::from(secret);
    *written.decor_mut() = decor;
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_changes() {
        let text = "# my shop\n[shop]\nid=\"x\"   # odd   spacing\n\n[[destination]]\nname = \"a\"\nsecret = \"whsec_A\"\n\n\
                    [[destination]] # second\nname = 'b'\n  secret   =   'whsec_B'   # do not lose\nurl = \"u\"\n# end\n";
        let changed = with_secret(text, "b", "whsec_N whsec_B@2026-11-26T12:00:00Z").unwrap();
        assert_eq!(changed, text.replace("'whsec_B'", "\"whsec_N whsec_B@2026-11-26T12:00:00Z\""));
        let inline = "destination = [{ name = \"a\", secret = \"whsec_A\" }, { name = \"b\" }]\n";
        assert_eq!(with_secret(inline, "a", "whsec_N").unwrap(), inline.replace("whsec_A", "whsec_N"));
        assert!(with_secret(inline, "b", "whsec_N").is_err());
        assert!(with_secret("", "b", "whsec_N").is_err());
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let mut destination = Destination { name: "my-tool".to_owned(), ..Destination::default() };
        let path = Path::new("shop/config.toml");
        let none = Environment::default();
        assert_eq!(home(&destination, &none, path), Home::Config("shop/config.toml".into()));
        destination.secret_file = "keys/my-tool".into();
        assert_eq!(home(&destination, &none, path), Home::File("shop/keys/my-tool".into()));
        for variable in ["QUINTILE_DESTINATION__MY_TOOL__SECRET", "QUINTILE_DESTINATION__MY_TOOL__SECRET_FILE"] {
            let environment = Environment::from([(variable, "x"), ("QUINTILE_DESTINATION__OTHER__SECRET", "y")]);
            assert_eq!(home(&destination, &environment, path), Home::Variable(variable.to_owned()));
        }
        let others = Environment::from([("QUINTILE_DESTINATION__MY_TOOL__URL", "x")]);
        assert_eq!(home(&destination, &others, path), Home::File("shop/keys/my-tool".into()));
    }
}
