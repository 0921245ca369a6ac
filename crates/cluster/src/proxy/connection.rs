//! One connection through the proxy, from both ends' point of view.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::protocol::{Conversation, Ending};
use super::{Shared, Toward, Weather};

/// Pieces under way in one direction; with the size of each it bounds what a delay or a black hole keeps in memory.
const PIECES: usize = 256;

/// Bytes read at once.
const PIECE_BYTES: usize = 16 * 1_024;

/// Both ends are to be reset.
struct Cut;

/// Passes on what both say until both have ended, or until the connection is to be cut.
pub(super) async fn run(mut client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.clone();
    let begun = *weather.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(begun.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let link = Link { shared: &shared, conversation: Mutex::default(), begun };
    let is_cut = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = async {
            tokio::try_join!(
                link.pass(client_reads, server_writes, Toward::Server),
                link.pass(server_reads, client_writes, Toward::Client)
            )
        };
        tokio::select! {
            ended = both => ended.is_err(),
            _ = weather.wait_for(|now| now.cut != begun.cut) => true,
        }
    };
    if is_cut {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

struct Link<'a> {
    shared: &'a Shared,
    conversation: Mutex<Conversation>,
    /// How the network was when this began.
    begun: Weather,
}

impl Link<'_> {
    /// One direction, to its end.
    async fn pass(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, toward: Toward) -> Result<(), Cut> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let reading = async move {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                // Who resets its end resets the other one.
                let count = from.read(&mut buffer).await.map_err(|_| Cut)?;
                if count == 0 {
                    return Ok(());
                }
                let piece = &buffer[..count];
                self.overhear(piece, toward)?;
                let due = Instant::now() + self.shared.weather.borrow().delay;
                if sender.send((due, piece.to_vec())).await.is_err() {
                    return Ok(());
                }
            }
        };
        let writing = async {
            let mut weather = self.shared.weather.clone();
            let begun = self.begun.half_closed_toward(toward);
            tokio::select! {
                written = self.write(pieces, &mut to) => written?,
                _ = weather.wait_for(|now| now.half_closed_toward(toward) != begun) => {}
            }
            to.shutdown().await.map_err(|_| Cut)
        };
        tokio::try_join!(reading, writing).map(drop)
    }

    async fn write(
        &self,
        mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), Cut> {
        let mut weather = self.shared.weather.clone();
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            weather.wait_for(|now| !now.is_black_hole).await.map_err(|_| Cut)?;
            to.write_all(&piece).await.map_err(|_| Cut)?;
        }
        Ok(())
    }

    /// Follows what is said, and cuts before the answer to a commit is passed on.
    fn overhear(&self, piece: &[u8], toward: Toward) -> Result<(), Cut> {
        let mut conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        match toward {
            Toward::Server => {
                conversation.client_said(piece, || self.shared.is_armed.swap(false, Ordering::SeqCst));
            }
            Toward::Client => match conversation.server_said(piece) {
                None => {}
                Some(Ending::Done) => {
                    self.shared.commits_cut.send_modify(|cut| *cut += 1);
                    return Err(Cut);
                }
                Some(Ending::Failed) => self.shared.is_armed.store(true, Ordering::SeqCst),
            },
        }
        Ok(())
    }
}
