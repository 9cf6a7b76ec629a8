//! A request as a command to paste, with placeholders for what is secret. Pure.

use std::fmt::Write;

use crate::delivery::preview::{HIDDEN, Preview};

/// Of the signature: it cannot be made without the secret.
const SIGNATURE: &str = "SIGNATURE";
const SECRET: &str = "YOUR-SECRET";
const PATH: &str = "YOUR-PATH";

/// The command that sends this request once it is completed.
pub fn command(request: &Preview) -> String {
    let mut text = format!("curl --request {} {}", request.method, quoted(&request.url.replace(HIDDEN, PATH)));
    for (name, value) in &request.headers {
        let placeholder = if name == "webhook-signature" { SIGNATURE } else { SECRET };
        let _ = write!(text, " \\\n  --header {}", quoted(&format!("{name}: {}", value.replace(HIDDEN, placeholder))));
    }
    if !request.body.is_empty() {
        let _ = write!(text, " \\\n  --data-raw {}", quoted(&request.body.replace(HIDDEN, SECRET)));
    }
    text
}

/// In single quotes of a shell, in which nothing means anything but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        let request = Preview {
            method: "POST".to_owned(),
            url: "https://tool.example/…".to_owned(),
            headers: vec![
                ("webhook-signature".to_owned(), HIDDEN.to_owned()),
                ("api-key".to_owned(), HIDDEN.to_owned()),
            ],
            body: r#"{"name":"O'Neil $(rm -rf /) `id`"}"#.to_owned(),
        };
        assert_eq!(
            command(&request),
            "curl --request POST 'https://tool.example/YOUR-PATH' \\\n  --header 'webhook-signature: SIGNATURE' \\\n  \
             --header 'api-key: YOUR-SECRET' \\\n  --data-raw '{\"name\":\"O'\\''Neil $(rm -rf /) `id`\"}'"
        );
    }
}
