//! Text that must never be printed.

use zeroize::Zeroize;

/// A secret text: no `Debug` of its content, no `Display`, no `Clone`; wiped on drop.
///
/// ```compile_fail
/// let secret = model::Secret::new("s".to_owned());
/// println!("{secret}");
/// ```
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The only way in. `grep 'expose()'` lists every place that sees a secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
