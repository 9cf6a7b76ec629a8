//! What works and yet somebody should look at, as far as the configuration alone can tell.
//! `quintile check` and the page of the settings say the same.

use std::path::Path;

use super::{Config, Shop};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it is about, as `quintile check` calls it.
    pub subject: &'static str,
    /// What was seen, and what to write or do.
    pub text: String,
}

pub const PERMISSIONS: &str = "permissions";
/// Of the database and its backups, which [`crate::backups`] knows.
pub const FILE_PERMISSIONS: &str = "file permissions";
pub const SHOP: &str = "shop";
pub const DESTINATION: &str = "destination";
pub const SECRETS: &str = "shop secrets";

/// All of it.
#[must_use]
pub fn all(config: &Config, path: &Path) -> Vec<Advice> {
    let missing = config.shopify.missing.iter().map(|text| Advice { subject: "shop credentials", text: text.clone() });
    [permissions(path), shop(config), destinations(config), shop_secrets(config)]
        .into_iter()
        .flatten()
        .chain(missing)
        .collect()
}

/// The configuration holds secrets: others on this computer should not read it.
#[must_use]
pub fn permissions(path: &Path) -> Option<Advice> {
    #[cfg(unix)]
    {
        const OTHERS: u32 = 0o077;
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & OTHERS != 0).then(|| {
            let text =
                format!("others can read the secrets in {0} (mode {mode:03o}); run chmod 600 {0}", path.display());
            Advice { subject: PERMISSIONS, text }
        })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Decides whose webhooks are taken, and goes out with every event.
#[must_use]
pub fn shop(config: &Config) -> Option<Advice> {
    let id = &config.shop.id;
    (*id == Shop::default().id).then(|| Advice {
        subject: SHOP,
        text: format!("[shop] id is still {id}, which is nobody's; write your own shop's"),
    })
}

/// Without one nobody hears of changes.
#[must_use]
pub fn destinations(config: &Config) -> Option<Advice> {
    let text = "there is none; add a [[destination]] to send segment changes to your tool";
    config.destination.is_empty().then(|| Advice { subject: DESTINATION, text: text.to_owned() })
}

/// Without one the shop cannot send orders.
#[must_use]
pub fn shop_secrets(config: &Config) -> Option<Advice> {
    let (webhooks, id) = (&config.webhooks, &config.shop.id);
    let text = if webhooks.shopify.secrets.is_empty() && id.ends_with(".myshopify.com") {
        format!(
            "{id} has none, so its webhooks are refused; write the one that Shopify shows under Settings > Notifications > Webhooks into [webhooks.shopify] secrets"
        )
    } else if [&webhooks.shopify.secrets, &webhooks.woocommerce.secrets, &webhooks.orders.secrets]
        .iter()
        .all(|secrets| secrets.is_empty())
    {
        "there is none, so webhooks are refused; write your shop's into [webhooks.orders] secrets".to_owned()
    } else {
        return None;
    };
    Some(Advice { subject: SECRETS, text })
}
