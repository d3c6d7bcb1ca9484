//! The nouns of Gatehouse: ids, names, servers, keys, tenants, and what travels between the planes.
//!
//! No IO, no async, no serde: REST bodies, database rows and wire messages have their own types
//! and are converted at their own door.

mod clock;
mod crash;
mod digest;
mod egress_rule;
mod ids;
mod key;
mod name;
mod resource;
mod secret;
mod server;
mod tenant;

pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::crash::{CRASH_POINTS, crash_here};
pub use self::digest::{Digest, TableDigest, table_digest};
pub use self::egress_rule::{EgressRule, EgressRuleError, HostPattern, HostPatternError};
pub use self::ids::{DepartmentId, EgressRuleId, Generation, IdError, KeyId, Revision, ServerId, TenantId, UserId};
pub use self::key::{KeyRole, KeyText, KeyTextError, KeyVerifier, PresentedKey, Principal};
pub use self::name::{DepartmentName, NameError, ServerName, TenantName};
pub use self::resource::{Resource, ResourceKind, ResourceName};
pub use self::secret::Secret;
pub use self::server::{ServerLimits, ServerSpec, Transport, TransportError, UpstreamUrl, UrlError};
pub use self::tenant::{Limits, TenantSpec};
