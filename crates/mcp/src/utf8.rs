//! Is a text that comes in chunks UTF-8?

/// Checks chunk by chunk; a character may be cut by their borders.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character whose rest has not come: at most three bytes.
    begun: Vec<u8>,
}

impl Utf8 {
    /// False if the text can't be UTF-8, whatever follows.
    pub(crate) fn goes_on(&mut self, mut chunk: &[u8]) -> bool {
        while !self.begun.is_empty()
            && let Some((first, rest)) = chunk.split_first()
        {
            self.begun.push(*first);
            chunk = rest;
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) if error.error_len().is_none() => (),
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(chunk) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                self.begun.extend_from_slice(chunk.get(error.valid_up_to()..).unwrap_or_default());
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_and_nothing_else_may_be_there() {
        let good = "aé€😀z".as_bytes();
        let bad = b"a\xe2\x82z";
        for cut in 0..good.len() {
            for size in 1..=good.len() - cut {
                let mut text = Utf8::default();
                assert!(text.goes_on(&good[..cut]) && good[cut..].chunks(size).all(|part| text.goes_on(part)));
            }
        }
        for size in 1..=bad.len() {
            let mut text = Utf8::default();
            assert!(!bad.chunks(size).all(|part| text.goes_on(part)), "in chunks of {size}");
        }
        assert!(!Utf8::default().goes_on(b"\xff"));
    }
}
