//! Fetching the fleet's sealing keys.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use wire::client::LinkClient;
use wire::frame::SealingKeysFrame;
use wire::{FleetKeys, LinkChannel};

use crate::last_good::{LastGood, set_keys};
use crate::seal::Sealer;

/// Fetches the keys, hands them to the sealer and keeps them on disk. Answers the current one's id;
/// 0 if they can't be had, which is not the end: the older ones still open what they sealed.
pub(super) async fn fetch(
    mut client: LinkClient<LinkChannel>,
    node: String,
    sealer: Arc<Sealer>,
    last_good: LastGood,
) -> u32 {
    let keys = match client.sealing_keys(SealingKeysFrame::from(node)).await {
        Ok(answer) => FleetKeys::try_from(answer.into_inner()),
        Err(status) => {
            tracing::warn!(%status, "the fleet's sealing keys can't be fetched");
            return 0;
        }
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => {
            tracing::warn!(%error, "the fleet's sealing keys can't be read");
            return 0;
        }
    };
    set_keys(&sealer, &keys);
    let id = keys.current.id;
    let written = spawn_blocking(move || last_good.save_keys(&keys)).await;
    if let Err(error) = written.map_err(std::io::Error::other).flatten() {
        tracing::error!(%error, "the fleet's sealing keys can't be kept on disk");
    }
    id
}
