//! Foreign text, made fit for a message.

/// The most characters of a foreign name that a message repeats.
const MAX_QUOTED: usize = 64;

/// `text` in quotes, with control characters escaped and cut to [`MAX_QUOTED`] characters.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// `text` cut to at most `max` bytes, at a character's edge.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_its_control_characters_are_escaped() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        let quoted = quote(&"é".repeat(1000));
        assert_eq!(quoted.chars().count(), MAX_QUOTED + 3);
    }

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(cut("aé".repeat(2), 5), "aéa");
        assert_eq!(cut("abc".to_owned(), 5), "abc");
    }
}
