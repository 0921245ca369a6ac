//! What happens by itself: open payments end at their time, settlements are closed at the end of the business day, and
//! merchants' balances are rolled up. Payments wait for none of it, and none of it decides anything that a payment would
//! not have found out itself.

use std::sync::Arc;
use std::time::Duration;

use selfsame_domain::id::PaymentId;
use selfsame_domain::payment::{Close, Ending, Party, Request, Target};
use selfsame_store::{LEASE, Store, StoreError};

use crate::anchor::{self, Anchoring};
use crate::{App, AppState, random, settlement};

/// How often overdue payments are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// Every how many rounds merchants' balances are rolled up.
const ROUNDS_PER_ROLL_UP: u64 = 60;

/// How often the server shows that it is alive. Two rounds may be lost before another server takes it for gone.
const BEAT: Duration = Duration::from_secs(1);
const _: () = assert!(BEAT.as_millis() * 3 <= LEASE.as_millis());

/// Keeps the ledger's slots until the server ends or another one has taken over. Where several servers write, it takes
/// others then: what it holds is nowhere but in the database, so it is as good as a server that has just started.
pub(crate) async fn keep_slots(store: Arc<Store>) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match store.renew_slot().await {
            Ok(()) => {}
            Err(StoreError::TakenOver) if store.is_shared() => {
                tracing::warn!("another server took this one for gone, and freed a slot of it");
                if let Err(error) = store.take_over_slot(LEASE).await {
                    tracing::warn!(%error, "no other slot was taken");
                }
            }
            Err(StoreError::TakenOver) => {
                tracing::error!("another server has taken over: this one writes nothing more");
                return;
            }
            // A disk that is full or away may come back before somebody else takes over.
            Err(error) => tracing::warn!(%error, "the lease of the ledger was not renewed"),
        }
    }
}

/// Where several servers write: frees what those have left behind that died, until the server ends.
pub(crate) async fn free_slots(store: Arc<Store>) {
    loop {
        match store.free_silent_slots(LEASE).await {
            Ok(0) => {}
            Ok(freed) => tracing::warn!(freed, "a server is gone without a word; its slots are free"),
            Err(error) => {
                tracing::warn!(%error, "the slots of other servers were not looked at");
                tokio::time::sleep(LEASE).await;
            }
        }
    }
}

/// Runs until the server ends.
pub(crate) async fn run(app: AppState, anchoring: Option<Anchoring>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    let mut anchored_day = None;
    let mut closed_day = None;
    loop {
        rounds.tick().await;
        end_overdue(&app).await;
        close_daily(&app, &mut closed_day).await;
        if let Some(anchoring) = &anchoring {
            anchor_daily(&app, anchoring, &mut anchored_day).await;
        }
        count += 1;
        if count.is_multiple_of(ROUNDS_PER_ROLL_UP)
            && let Err(error) = app.store.roll_up_merchants(app.site.currency).await
        {
            tracing::warn!(%error, "merchants' balances were not rolled up");
        }
    }
}

/// Closes what is open from earlier business days, when a day has begun and when the server has.
async fn close_daily(app: &App, closed_day: &mut Option<i64>) {
    let Ok(rules) = app.store.rules().await else { return };
    let day = rules.business_day.number(app.now());
    if *closed_day != Some(day) && settlement::close_due(app, rules.business_day).await {
        *closed_day = Some(day);
    }
}

/// Anchors the ledger's heads when a business day has begun, and when the server has.
async fn anchor_daily(app: &App, anchoring: &Anchoring, anchored_day: &mut Option<i64>) {
    let now = app.now();
    let Ok(rules) = app.store.rules().await else { return };
    let day = rules.business_day.number(now);
    if *anchored_day == Some(day) {
        return;
    }
    match anchor::append(&app.store, &anchoring.key, &anchoring.file, now).await {
        Ok(_) => *anchored_day = Some(day),
        Err(error) => tracing::error!(%error, "the ledger was not anchored"),
    }
}

/// Ends what is over, through the queue like everything that moves money.
pub(crate) async fn end_overdue(app: &App) {
    let overdue = match app.store.overdue_payments(app.now()).await {
        Ok(overdue) => overdue,
        Err(error) => {
            tracing::warn!(%error, "overdue payments could not be looked for");
            return;
        }
    };
    for payment in overdue {
        let close = Close {
            payment: PaymentId::new(app.now(), random()),
            by: Party::Clock,
            target: Target::Payment(payment),
            ending: Ending::Expire,
        };
        match app.submit(Request::Close(close)).await {
            Ok(_) => tracing::info!(payment.id = %payment, "ended an overdue payment"),
            Err(_) => return,
        }
    }
}
