//! What a tool answered, made fit to be looked at. Pure; the templates escape HTML.

/// `bytes` as text. What is no text, moves the cursor or turns the direction of writing becomes "�".
pub fn text(bytes: &[u8]) -> String {
    line(&String::from_utf8_lossy(bytes).replace("\r\n", "\n"))
}

/// The same of a text.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '\n' | '\t') || (!c.is_control() && !turns)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn nothing_of_an_answer_moves_or_turns_what_is_shown() {
        assert_eq!(text(b"a\r\nb\tc"), "a\nb\tc");
        assert_eq!(text(b"\x1b[2J\x00\x07ok\x7f"), "�[2J��ok�");
        assert_eq!(text(b"\xff\xfeok"), "��ok");
        assert_eq!(text("\u{202e}evil \u{85}é李".as_bytes()), "�evil �é李");
    }
}
