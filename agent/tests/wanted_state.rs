//! What is wanted of the core, in the store: identities and subscription tokens survive a restart and change with their
//! keys; a restored configuration becomes keys in one transaction.

mod support;

use std::sync::Arc;

use portmeter::store::{KeyUpdate, NewEvent, NewKey, RestoredClient, RestoredConfiguration};
use portmeter::xray::reality::Identity;
use support::{Lab, PORTS, create};
use uuid::Uuid;

#[tokio::test]
async fn identities_and_tokens_survive_a_restart() {
    let lab = Lab::new();
    let store = lab.start();
    let server = store.snapshot().identity.clone();
    assert!(server.private_key.is_some() && server.short_id.is_some());
    let own = Identity {
        dest: Some("example.org:443".to_owned()),
        server_names: vec!["example.org".to_owned(), "www.example.org".to_owned()],
        ..Identity::generate()
    };
    let new = NewKey {
        name: "own".to_owned(),
        identity: Some(own.clone()),
        ..NewKey::default()
    };
    let key = store.create_key(new).await.unwrap();
    let token = key.subscription_token.unwrap();
    store.close().await.unwrap();

    let store = lab.start();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.identity, server);
    let kept = &snapshot.find(key.id.0).unwrap().key;
    assert_eq!(kept.identity.as_deref(), Some(&own));
    assert_eq!(snapshot.find_subscription(&token).unwrap().key.id, key.id);

    store
        .set_identity(Some(key.id), Identity::default(), NewEvent::default())
        .await
        .unwrap();
    assert_eq!(store.snapshot().find(key.id.0).unwrap().key.identity, None);
}

#[tokio::test]
async fn a_token_is_new_with_the_uuid_and_void_with_the_key() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "a").await;
    let first = key.subscription_token.unwrap();
    let regenerated = store.regenerate_key(key.id).await.unwrap();
    let second = regenerated.subscription_token.unwrap();
    assert_ne!(regenerated.uuid, key.uuid);
    assert!(store.snapshot().find_subscription(&first).is_none());
    assert!(store.snapshot().find(key.uuid).is_none(), "the old uuid finds nothing");

    let active = |is_active| KeyUpdate {
        is_active: Some(is_active),
        ..KeyUpdate::default()
    };
    let disabled = store.update_key(key.id, active(false)).await.unwrap();
    assert_eq!((disabled.subscription_token, disabled.uuid), (None, regenerated.uuid));
    assert!(store.snapshot().find_subscription(&second).is_none());
    let enabled = store.update_key(key.id, active(true)).await.unwrap();
    assert!(enabled.subscription_token.is_some_and(|token| token != second));
    let put_back = store.put_key_back(regenerated).await.unwrap();
    assert_eq!(put_back.subscription_token, Some(second));
    store.delete_key(key.id).await.unwrap();
    assert!(store.snapshot().find_subscription(&second).is_none());
}

#[tokio::test]
async fn a_restored_configuration_becomes_keys_as_far_as_there_are_ports() {
    let lab = Lab::new();
    let store = lab.start();
    let present = create(&store, "present").await;
    let client = |port| RestoredClient {
        uuid: Uuid::new_v4(),
        name: "client".to_owned(),
        port: Some(port),
        identity: None,
    };
    let taken = client(present.port.unwrap());
    let free = client(PORTS[PORTS.len() - 1]);
    let mut clients = vec![taken.clone(), free.clone(), taken.clone()];
    clients.extend(PORTS.iter().map(|_| client(1)));
    let restored = RestoredConfiguration {
        document: "{}".to_owned(),
        server_identity: Some(Identity::generate()),
        key_identities: vec![(present.id, Identity::generate())],
        clients,
        event: NewEvent::default(),
    };
    let outcome = store.restore_configuration(restored.clone()).await.unwrap();
    let port_of = |uuid| {
        outcome
            .created
            .iter()
            .find(|key| key.uuid == uuid)
            .and_then(|key| key.port)
    };
    assert_eq!(port_of(free.uuid), free.port);
    assert!(port_of(taken.uuid).is_some_and(|port| port != present.port.unwrap()));
    assert_eq!(outcome.created.len() + 1, PORTS.len(), "there is a key for every port");
    assert_eq!(outcome.skipped.len(), 3, "{:?}", outcome.skipped);
    let snapshot = store.snapshot();
    assert_eq!(Some(&*snapshot.identity), restored.server_identity.as_ref());
    assert_eq!(snapshot.restored_document.as_deref(), Some("{}"));
    store.close().await.unwrap();

    let store = lab.start();
    let document = store.snapshot().restored_document.clone().unwrap();
    store.forget_restored_document(Arc::clone(&document)).await.unwrap();
    assert_eq!(store.snapshot().restored_document, None);
    assert_eq!(store.snapshot().entries.len(), PORTS.len());
}
