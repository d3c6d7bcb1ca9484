//! The nouns of Gatehouse: ids, names, servers, keys, tenants, and what travels between the planes.
//!
//! No IO, no async, no serde: REST bodies, database rows and wire messages have their own types
//! and are converted at their own door.

mod clock;
mod connection;
mod crash;
mod digest;
mod egress_rule;
mod ids;
mod issuer;
mod key;
mod name;
mod principal;
mod resource;
mod secret;
mod server;
mod tenant;
mod toolset;
mod user;

pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::connection::{Binding, ConnectionSpec, ConnectionStatus, ContextUse, Holder, Scope};
pub use self::crash::{CRASH_POINTS, crash_here};
pub use self::digest::{Digest, TableDigest, table_digest};
pub use self::egress_rule::{EgressRule, EgressRuleError, HostPattern, HostPatternError};
pub use self::ids::{
    ConnectionId, DepartmentId, EgressRuleId, Generation, GrantId, IdError, IssuerId, KeyId, Revision, ServerId,
    SessionId, SignerId, TenantId, ToolsetId, UserId,
};
pub use self::issuer::{ClaimMapping, IssuerSpec, RevokedGrant, SignerSpec, SigningAlgorithm};
pub use self::key::{KeyRole, KeyScopes, KeyText, KeyTextError, KeyVerifier, PresentedKey};
pub use self::name::{
    BUILT_IN, DEFAULT_TENANT, DepartmentName, IssuerName, NameError, ServerName, TenantName, ToolsetName,
};
pub use self::principal::{Principal, Subject};
pub use self::resource::{Resource, ResourceKind, ResourceName};
pub use self::secret::Secret;
pub use self::server::{Eras, ServerLimits, ServerSpec, Transport, TransportError, UpstreamUrl, UrlError};
pub use self::tenant::{Limits, TenantSpec};
pub use self::toolset::{Listing, MAX_TOOLSET_DESCRIPTION, MAX_TOOLSET_TOOLS, ToolsetError, ToolsetSpec, ToolsetTool};
pub use self::user::UserSpec;
