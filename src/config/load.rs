//! Reading `config.toml`.

use std::path::Path;

use super::Config;

/// The configuration cannot be used. Names the file and the line, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads the file at `path`. Relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// There is no such file, or something in it cannot be used.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                ConfigError(format!("no config.toml at {}; `quintile init` writes one", path.display()))
            }
            _ => ConfigError(format!("cannot read {}: {error}", path.display())),
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            ConfigError(format!("{}:{line}: {}", path.display(), error.message()))
        })?;
        if let Some(folder) = path.parent() {
            config.database.path = folder.join(&config.database.path);
        }
        Ok(config)
    }
}
