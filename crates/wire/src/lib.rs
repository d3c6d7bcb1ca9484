//! What crosses between control and proxy: generated code, kept private, and total conversions to
//! and from the nouns of `model`. Nothing here decides anything.

mod channel;
mod command;
mod fields;
mod keys;
mod link;
mod parts;
mod peer_tls;
mod peers;
mod pool;
mod push;
mod resolve;
mod resource;
mod table;

pub use self::channel::{CONTROL_NAME, ConnectError, LinkChannel, TlsError, client_tls, connect, incoming, server_tls};
pub use self::command::{Command, CommandAnswer, ObservedMount, Outcome, Probe, Probed, Work};
pub use self::fields::Malformed;
pub use self::keys::{FleetKeys, SealingKey};
pub use self::link::{
    Answer, FromControl, FromProxy, Heartbeat, Hello, PROTOCOL_HIGHEST, PROTOCOL_LOWEST, Refusal, Rejected,
};
pub use self::parts::{Joiner, TooLong};
pub use self::peer_tls::{peer_client_tls, peer_server_tls};
pub use self::peers::{Peer, peers_from_bytes, peers_to_bytes};
pub use self::pool::{PeerError, pool_of, pool_uri};
pub use self::push::{CollectError, Collected, Collector, MESSAGE_LIMIT, Packed, Push, PushHead, Upsert};
pub use self::resolve::{
    Challenge, ClientCertificate, Evidence, HeaderLines, KeyEvidence, Report, ResolveQuestion, Resolved, Unresolved,
    Verdict,
};
pub use self::table::{Table, table_from_bytes, table_to_bytes};

/// The generated messages, opaque to everybody else: items of the streams and of the two calls.
pub mod frame {
    pub use crate::generated::{
        FromControl as ControlFrame, FromProxy as ProxyFrame, ReportAnswer as ReportAnswerFrame,
        ReportRequest as ReportFrame, ResolveAnswer as ResolveAnswerFrame, ResolveRequest as ResolveFrame,
        SealingKeysAnswer as SealingKeysAnswerFrame, SealingKeysRequest as SealingKeysFrame,
    };
}

/// The service as control serves it.
pub mod server {
    pub use crate::generated::link_server::{Link, LinkServer};
}

/// The service as a proxy calls it.
pub mod client {
    pub use crate::generated::link_client::LinkClient;
}

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated from proto/")]
mod generated {
    tonic::include_proto!("gatehouse.v1");
}
