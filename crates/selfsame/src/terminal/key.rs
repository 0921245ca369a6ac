//! `selfsame terminal rotate-key`: another key for this machine.

use std::sync::Arc;
use std::time::Duration;

use selfsame_api::client::ClientError;
use selfsame_domain::clock::SystemClock;
use selfsame_terminal::device::{DeviceError, keep_key_fresh, rotate_key};

use crate::output;
use crate::site::Site;

/// Changes the key now.
pub async fn change(site: &Site) -> anyhow::Result<()> {
    let identity = rotate_key(&site.device(), Arc::new(SystemClock)).await.map_err(|error| {
        let lost = matches!(&error, DeviceError::Rotation(ClientError::NoAnswer { .. }));
        let error = anyhow::Error::new(error);
        if lost {
            error.context("no answer came, so it is open which key is good: say the same again")
        } else {
            error
        }
    })?;
    let terminal = &identity.terminal;
    output::line(format_args!("{} signs as {} from now on", terminal.terminal, terminal.key_id))
}

/// Changes the key when it has become as old as the settings say; 0 days: never.
pub async fn keep_fresh(site: &Site, days: u32) {
    let age_max = (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600));
    keep_key_fresh(&site.device(), Arc::new(SystemClock), age_max).await;
}
