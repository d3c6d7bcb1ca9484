//! Places in the bytes of a message.

/// A place in a message: `start..end` in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// No place at all.
    pub const NOWHERE: Self = Self { start: 0, end: 0 };

    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The place that is all of `bytes`.
    pub fn whole(bytes: &[u8]) -> Self {
        Self::new(0, bytes.len())
    }

    /// First byte.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// One past the last byte.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// The same place, where it was found in what stands at `outer`.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        Self { start: self.start + outer.start, end: self.end + outer.start }
    }

    /// The bytes at this place.
    pub fn of(self, message: &[u8]) -> &[u8] {
        message.get(self.start()..self.end()).unwrap_or_default()
    }
}
