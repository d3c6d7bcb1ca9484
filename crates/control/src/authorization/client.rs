//! A client as the authorization server knows it: what it says of itself, and how far that can be believed.

use url::Url;

use crate::authorization::redirect::RedirectUri;

/// Characters of a name.
const MAX_NAME: usize = 64;

/// Who asks for tokens. Public: it has no secret, so its redirect URI and its proof key are all that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// What it calls itself in requests: made here, or the URL of its metadata.
    pub(crate) id: String,
    /// What it calls itself to people: anybody can register any name.
    pub(crate) name: String,
    /// Where answers may go.
    pub(crate) redirects: Vec<RedirectUri>,
    pub(crate) kind: Kind,
}

/// How a client became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It registered itself: nothing of what it says has been checked.
    Registered,
    /// By the document at its id: who has that host is behind it.
    Document,
}

impl Client {
    /// The host that vouches for the client, if one does.
    pub(crate) fn host(&self) -> Option<String> {
        let url = (self.kind == Kind::Document).then(|| Url::parse(&self.id).ok()).flatten()?;
        url.host_str().map(str::to_owned)
    }
}

/// A name as it is shown: one line of bounded length, without characters that turn or hide others, and without
/// quotation marks, behind which it could go on as if it were ours.
pub(crate) fn shown_name(text: &str) -> String {
    let text: String =
        text.chars().map(|ch| if ch.is_whitespace() { ' ' } else { ch }).filter(|ch| !is_hidden(*ch)).collect();
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_NAME).collect()
}

/// Control characters, zero-width ones, those that change the direction, variation selectors, tags, and quotation marks.
fn is_hidden(ch: char) -> bool {
    ch.is_control()
        || matches!(ch, '"' | '«' | '»' | '\u{201c}'..='\u{201f}' | '\u{2e42}' | '\u{301d}'..='\u{301f}' | '\u{ff02}')
        || matches!(ch,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_hides_nothing() {
        for (text, shown) in [
            ("Claude Code", "Claude Code"),
            ("  a\n\tb  ", "a b"),
            ("<b>x</b>", "<b>x</b>"),
            ("pay\u{202e}lap\u{202c}", "paylap"),
            ("a\u{200b}b\u{feff}c\u{e0041}", "abc"),
            ("\u{200b}", ""),
            ("App” has been checked. “Go on", "App has been checked. Go on"),
            ("O'Reilly", "O'Reilly"),
            ("日本語", "日本語"),
        ] {
            assert_eq!(shown_name(text), shown, "{text:?}");
        }
        assert_eq!(shown_name(&"é".repeat(500)).chars().count(), MAX_NAME);
    }
}
