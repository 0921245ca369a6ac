//! Changing the device key. The next key is written down before the server hears of it, and the present one stays until
//! the server has confirmed; so whatever is lost on the way, one of the two is good, and the same request repeats.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selfsame_api::bytes::Bytes;
use selfsame_api::client::ClientError;
use selfsame_api::device_key::SignerError;
use selfsame_api::terminal::{KeyRotation, RotatedKey, rotation_proof};
use selfsame_domain::clock::Clock;

use super::link::ServerLink;
use super::uses::MachineUses;
use super::{DeviceError, DeviceIdentity, Stored, open_private, waiting};

/// Name of the file after the identity's whose lock is the right to change it.
pub(super) const TURN: &str = "rotation";

/// Longest wait for the server's answer.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries to be the one that changes the key, and the pause between them: a little longer than a rotation takes.
const TURNS_MAX: u32 = 120;
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether the key has become too old, or a rotation was broken off: the key before is taken for
/// about as long.
const CHECK_PAUSE: Duration = Duration::from_secs(60);

/// Waits for the right to change the identity, which ends with the file.
async fn turn(path: &Path) -> Result<File, DeviceError> {
    let failed = |source| DeviceError::File { path: path.to_owned(), source };
    let file = open_private(&path.with_extension(TURN)).map_err(failed)?;
    for _ in 0..TURNS_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(TURN_PAUSE).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(DeviceError::Busy(path.to_owned()))
}

/// Changes the key of this machine's identity: makes the next key where the present one is, has the server take it, and
/// keeps it instead. A rotation that was broken off is gone on with. Programs that run take the new key over by
/// themselves.
pub async fn rotate_key(path: &Path, clock: Arc<dyn Clock>) -> Result<DeviceIdentity, DeviceError> {
    let _turn = turn(path).await?;
    let mut stored = Stored::read(path)?;
    if stored.next.is_none() {
        let source = stored.key.source();
        stored.next = Some(waiting(move || source.make()).await?);
        stored.write(path)?;
    }
    let (identity, written) = finish(stored, path, clock).await?;
    written.map(|()| identity)
}

/// The identity as it is now. If a rotation was broken off, it is finished first: the server may have heard of it. A
/// program that may not write the identity goes on with the next key nevertheless, and another one writes it.
pub(super) async fn present_key(path: &Path, clock: Arc<dyn Clock>) -> Result<DeviceIdentity, DeviceError> {
    let _turn = turn(path).await?;
    let stored = Stored::read(path)?;
    if stored.next.is_none() {
        return stored.identity(path);
    }
    let (identity, written) = Box::pin(finish(stored, path, clock)).await?;
    if let Err(error) = written {
        tracing::warn!(%error, "the changed device key was not written down yet");
    }
    Ok(identity)
}

/// Has the server take the next key, and keeps it in place of the present one; answers also whether that was written down.
async fn finish(
    stored: Stored,
    path: &Path,
    clock: Arc<dyn Clock>,
) -> Result<(DeviceIdentity, Result<(), DeviceError>), DeviceError> {
    let damaged = || DeviceError::Damaged(path.to_owned());
    let next = stored.next.clone().ok_or_else(damaged)?;
    let (signer, next_signer) =
        (stored.key.signer().ok_or_else(damaged)?, next.signer().ok_or_else(damaged)?);
    let uses = Arc::new(MachineUses::beside(path));
    let key_id = stored.terminal.key_id;
    let link = ServerLink::new(&stored.server, key_id.to_string(), signer, uses, clock, None);
    let public_key = next_signer.public_key();
    let message = rotation_proof(key_id, &public_key);
    let proof = waiting(move || next_signer.sign(&message)).await;
    let unsigned = |source: SignerError| {
        DeviceError::Rotation(ClientError::Unsigned { address: link.address(), source })
    };
    let rotation = KeyRotation {
        algorithm: public_key.algorithm(),
        public_key: Bytes(public_key.to_bytes()),
        proof: Bytes::from(proof.map_err(unsigned)?),
    };
    let rotated: RotatedKey = link
        .post("/v1/terminals/rotate-key", &rotation, ROTATION_TIMEOUT)
        .await
        .map_err(DeviceError::Rotation)?;
    let previous = stored.key.clone();
    let mut stored = Stored { key: next, next: None, ..stored };
    stored.terminal.key_id = rotated.key_id;
    stored.terminal.server_time = rotated.server_time;
    let written = stored.write(path);
    if written.is_ok() {
        waiting(move || previous.destroy()).await;
        tracing::info!(key.id = %rotated.key_id, "changed the device key");
    }
    Ok((stored.identity(path)?, written))
}

/// Finishes rotations that were broken off, and changes the key whenever it has become older than `age_max`, for as long as
/// the program runs. What does not work is tried again.
pub async fn keep_key_fresh(path: &Path, clock: Arc<dyn Clock>, age_max: Option<Duration>) {
    loop {
        tokio::time::sleep(CHECK_PAUSE).await;
        let kept = match Stored::read(path) {
            // The server's time of activation or of the last change.
            Ok(stored)
                if stored.next.is_some()
                    || age_max.is_some_and(|age| clock.now().since(stored.terminal.server_time) > age) =>
            {
                rotate_key(path, clock.clone()).await.map(|_| ())
            }
            other => other.map(|_| ()),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the device key could not be changed yet");
        }
    }
}
