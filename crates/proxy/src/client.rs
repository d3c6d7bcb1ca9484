//! Who asks, as far as the protocol is concerned: the revision, and what the client can be asked. What an upstream is
//! told of it are the terms on which it is spoken with.

use mcp::{Era, Revision};

/// What a client can be asked, as it declared when its session began, or with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Capabilities(u16);

impl Capabilities {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// To fill in a form.
    const FORM: u16 = 1;
    /// To open a URL.
    const URL: u16 = 2;
    /// To ask its model.
    const SAMPLING: u16 = 4;
    /// Which folders it works in.
    const ROOTS: u16 = 8;
    /// It tells when they change.
    const ROOTS_CHANGE: u16 = 16;
    /// To let its model use tools meanwhile.
    const SAMPLING_TOOLS: u16 = 32;
    /// To give its model what other servers said.
    const SAMPLING_CONTEXT: u16 = 64;

    /// Reads the `capabilities` of `initialize`, or those of a request's `_meta`. What is not understood is not there.
    pub(crate) fn declared(raw: &[u8]) -> Self {
        use serde::de::IgnoredAny;
        #[derive(serde::Deserialize)]
        struct Declared {
            elicitation: Option<Elicitation>,
            sampling: Option<Sampling>,
            roots: Option<Roots>,
        }
        #[derive(serde::Deserialize)]
        struct Elicitation {
            form: Option<IgnoredAny>,
            url: Option<IgnoredAny>,
        }
        #[derive(serde::Deserialize)]
        struct Sampling {
            tools: Option<IgnoredAny>,
            context: Option<IgnoredAny>,
        }
        #[derive(serde::Deserialize)]
        struct Roots {
            #[serde(default, rename = "listChanged")]
            list_changed: bool,
        }
        let Ok(Declared { elicitation, sampling, roots }) = serde_json::from_slice(raw) else { return Self::default() };
        let (form, url) = match elicitation {
            // Before there were two kinds, an empty object meant forms.
            Some(Elicitation { form, url }) => (form.is_some() || url.is_none(), url.is_some()),
            None => (false, false),
        };
        let bits = [
            (form, Self::FORM),
            (url, Self::URL),
            (sampling.is_some(), Self::SAMPLING),
            (sampling.as_ref().is_some_and(|sampling| sampling.tools.is_some()), Self::SAMPLING_TOOLS),
            (sampling.as_ref().is_some_and(|sampling| sampling.context.is_some()), Self::SAMPLING_CONTEXT),
            (roots.is_some(), Self::ROOTS),
            (roots.is_some_and(|roots| roots.list_changed), Self::ROOTS_CHANGE),
        ];
        Self(bits.into_iter().filter(|(declared, _)| *declared).fold(0, |all, (_, bit)| all | bit))
    }

    /// The object that declares the same to an upstream.
    pub(crate) fn declare(self) -> String {
        let mut members = Vec::new();
        if self.0 & (Self::FORM | Self::URL) != 0 {
            // An upstream of before there were two kinds reads an empty object, too.
            members.push(match (self.fills_forms(), self.opens_urls()) {
                (true, true) => r#""elicitation":{"form":{},"url":{}}"#,
                (false, true) => r#""elicitation":{"url":{}}"#,
                _ => r#""elicitation":{"form":{}}"#,
            });
        }
        if self.samples() {
            members.push(match (self.0 & Self::SAMPLING_TOOLS != 0, self.0 & Self::SAMPLING_CONTEXT != 0) {
                (true, true) => r#""sampling":{"tools":{},"context":{}}"#,
                (true, false) => r#""sampling":{"tools":{}}"#,
                (false, true) => r#""sampling":{"context":{}}"#,
                (false, false) => r#""sampling":{}"#,
            });
        }
        if self.has_roots() {
            members.push(if self.0 & Self::ROOTS_CHANGE != 0 {
                r#""roots":{"listChanged":true}"#
            } else {
                r#""roots":{}"#
            });
        }
        format!("{{{}}}", members.join(","))
    }

    /// Whether it shows forms to its user.
    pub(crate) fn fills_forms(self) -> bool {
        self.0 & Self::FORM != 0
    }

    /// Whether it opens URLs for its user.
    pub(crate) fn opens_urls(self) -> bool {
        self.0 & Self::URL != 0
    }

    /// Whether its model can be asked.
    pub(crate) fn samples(self) -> bool {
        self.0 & Self::SAMPLING != 0
    }

    /// Whether its model may use tools meanwhile.
    pub(crate) fn samples_with_tools(self) -> bool {
        self.0 & Self::SAMPLING_TOOLS != 0
    }

    /// Whether it says which folders it works in.
    pub(crate) fn has_roots(self) -> bool {
        self.0 & Self::ROOTS != 0
    }

    /// Two bytes for sealed session ids.
    pub(crate) fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }

    /// Reads [`Capabilities::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(bytes))
    }
}

/// A client as the protocol sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) revision: Revision,
    pub(crate) capabilities: Capabilities,
}

impl Client {
    /// The gateway itself: what it asks on its own, nobody can be asked about.
    pub(crate) const GATEWAY: Self = Self { revision: Revision::LATEST, capabilities: Capabilities::NONE };

    pub(crate) fn era(self) -> Era {
        self.revision.era()
    }

    pub(crate) fn is_stateless(self) -> bool {
        self.era() == Era::Stateless
    }

    /// The terms for an upstream that is spoken with in this era. A client without a session can't be asked in the
    /// middle of a call by an upstream that has one (protocol.md 3.1): where such calls are parked one day, its
    /// capabilities are declared here.
    pub(crate) fn terms(self, upstream: Era) -> Terms {
        match (self.era(), upstream) {
            (Era::Stateless, Era::Session) => Terms { era: upstream, capabilities: Capabilities::NONE },
            _ => Terms { era: upstream, capabilities: self.capabilities },
        }
    }
}

/// On what an upstream is spoken with: its sessions and its lists may differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Terms {
    pub(crate) era: Era,
    /// What is declared to it.
    pub(crate) capabilities: Capabilities,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_asked_what_it_declared() {
        for (declared, bits) in [
            ("{}", 0),
            (r#"{"elicitation":{}}"#, 1),
            (r#"{"elicitation":{"form":{}}}"#, 1),
            (r#"{"elicitation":{"url":{}}}"#, 2),
            (r#"{"elicitation":{"url":{},"form":{}},"sampling":{},"roots":{"listChanged":true}}"#, 31),
            (r#"{"sampling":{"tools":{},"context":{}}}"#, 100),
            (r#"{"elicitation":7}"#, 0),
            ("[]", 0),
        ] {
            let capabilities = Capabilities::declared(declared.as_bytes());
            assert_eq!((capabilities.0, capabilities.opens_urls()), (bits, bits & 2 != 0), "{declared}");
            assert_eq!(Capabilities::declared(capabilities.declare().as_bytes()), capabilities, "{declared}");
            assert_eq!(Capabilities::from_bytes(capabilities.to_bytes()), capabilities);
        }
    }

    #[test]
    fn nothing_is_declared_that_nobody_could_be_asked() {
        let capabilities = Capabilities::declared(br#"{"roots":{}}"#);
        for (revision, upstream, declared) in [
            (Revision::LATEST, Era::Session, capabilities),
            (Revision::LATEST, Era::Stateless, capabilities),
            (Revision::STATELESS, Era::Stateless, capabilities),
            (Revision::STATELESS, Era::Session, Capabilities::NONE),
        ] {
            assert_eq!(Client { revision, capabilities }.terms(upstream).capabilities, declared);
        }
    }
}
