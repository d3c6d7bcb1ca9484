//! Numbers and the three words of JSON, byte by byte: so they may be cut anywhere.

/// How far a scalar has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// What is missing of `true`, `false` or `null`.
    Word(&'static [u8]),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Scalar {
    /// The scalar that begins with this byte, if one does.
    pub(crate) fn begin(first: u8) -> Option<Self> {
        Some(match first {
            b't' => Self::Word(b"rue"),
            b'f' => Self::Word(b"alse"),
            b'n' => Self::Word(b"ull"),
            b'-' => Self::Minus,
            b'0' => Self::Zero,
            b'1'..=b'9' => Self::Integer,
            _ => return None,
        })
    }

    /// The scalar with one byte more; `None` if it can't go on like that.
    pub(crate) fn then(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Word([next, rest @ ..]), byte) if *next == byte => Self::Word(rest),
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    /// Whether it may end here.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Word([]) | Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> bool {
        let mut bytes = text.bytes();
        let first = bytes.next().and_then(Scalar::begin);
        first.and_then(|first| bytes.try_fold(first, Scalar::then)).is_some_and(Scalar::is_whole)
    }

    #[test]
    fn scalars_are_read_as_the_grammar_says() {
        for good in ["0", "-0", "7", "-120", "0.50", "1e5", "1E+05", "-1.5e-3", "true", "false", "null"] {
            assert!(read(good), "{good}");
        }
        for bad in
            ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "1.2.3", "1.2.3e", "nul", "nulll", "True", "0x1", "1-"]
        {
            assert!(!read(bad), "{bad}");
        }
    }
}
