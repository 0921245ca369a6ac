//! Keys that are known for a moment.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_where_it_was_revoked_and_within_a_second_elsewhere() {
    let files = Files::new();
    let (store, other) = (files.open_with_site().await, files.open());
    let key = ApiKey { id: KeyId::new(now(), [1; 10]), role: Caller::Operator };
    let found =
        async |store: &Store, at| store.api_key([1; 32], at).await.expect("it reads").map(|found| found.id);
    assert_eq!(found(&store, now()).await, Some(key.id));
    assert_eq!(found(&other, now()).await, Some(key.id));
    assert!(store.revoke_api_key(key.id, now()).await.expect("it is written"));
    assert_eq!(found(&store, now()).await, None);
    assert_eq!(found(&other, now() + Duration::from_secs(1)).await, None);
}

#[tokio::test]
async fn a_key_that_comes_later_is_found_though_it_was_asked_for_before() {
    let files = Files::new();
    let store = files.open_with_site().await;
    assert_eq!(store.api_key([2; 32], now()).await.expect("it reads"), None);
    let key = ApiKey { id: KeyId::new(now(), [2; 10]), role: Caller::Operator };
    store.create_api_key(key, [2; 32], now()).await.expect("it is written");
    assert_eq!(store.api_key([2; 32], now()).await.expect("it reads"), Some(key));
}
