//! What others say, made fit to be shown: on a terminal, in a line of a log, on a page.
//!
//! Registries, images and files can say anything, at any length.

/// The text in one line, cut if it is too long to read, with what cannot be seen made
/// visible: control characters, among them a terminal's escapes, and those that hide text or turn its
/// direction.
pub fn sanitize(text: &str, longest: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(longest));
    for (position, one) in text.chars().enumerate() {
        if position == longest {
            shown.push('…');
            break;
        }
        match one {
            '\t' | '\n' | '\r' => shown.push(' '),
            one if is_unseen(one) => shown.extend(one.escape_unicode()),
            one => shown.push(one),
        }
    }
    shown
}

fn is_unseen(one: char) -> bool {
    let invisible = ['\u{ad}', '\u{34f}', '\u{61c}', '\u{180e}', '\u{feff}'];
    let ranges = [
        '\u{115f}'..='\u{1160}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0000}'..='\u{e0fff}',
    ];
    one.is_control() || invisible.contains(&one) || ranges.iter().any(|range| range.contains(&one))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(sanitize("äöü", 3), "äöü");
        assert_eq!(sanitize("äöü!", 3), "äöü…");
    }

    #[test]
    fn invisible_characters_are_made_visible() {
        assert_eq!(sanitize("a\u{1b}[31m\u{202e}b\n\0", 20), "a\\u{1b}[31m\\u{202e}b \\u{0}");
        assert_eq!(sanitize("\u{9b}31m\u{e0041}", 20), "\\u{9b}31m\\u{e0041}");
        assert_eq!(sanitize("Grüße 漢字 👍", 20), "Grüße 漢字 👍");
    }

    proptest! {
        #[test]
        fn sanitized_text_is_short_and_visible(text in any::<String>(), longest in 0_usize..40) {
            let text = sanitize(&text, longest);
            prop_assert!(text.len() <= 10 * longest + '…'.len_utf8());
            prop_assert!(!text.contains(is_unseen));
        }
    }
}
