//! What a customer needs to connect: the link, its QR code, the subscription.

use std::net::Ipv4Addr;
use std::sync::Arc;

use portmeter_proto::reason::Reason;

use super::ServiceError;
use super::keys::find;
use crate::config::Live;
use crate::counters::CounterReader;
use crate::network::own_address::own_address;
use crate::network::rtnetlink::NetworkReader;
use crate::reconciler::Reconciler;
use crate::settings::{Stored, XRAY_FINGERPRINT, XRAY_SERVER_HOST};
use crate::store::{Key, Store};
use crate::xray::link::{FINGERPRINT, LinkKey, LinkServer, ServerHost, vless_url};
use crate::xray::qr;
use crate::xray::subscription::{self, SubscriptionToken};
use crate::xray::wanted::WantedInbound;

/// The rules for links.
#[derive(Clone)]
pub struct LinkService {
    store: Arc<Store>,
    reconciler: Reconciler,
    reader: Arc<dyn CounterReader>,
    network: NetworkReader,
    /// Where the name or address is configured that counts while none is set.
    live: Live,
}

/// A key with its link.
#[derive(Debug, Clone)]
pub struct KeyLink {
    /// The key.
    pub key: Arc<Key>,
    /// The VLESS URL.
    pub vless_url: String,
    /// The short id in it.
    pub short_id: String,
}

/// How a QR code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QrFormat {
    /// A PNG picture.
    Png,
    /// An SVG picture.
    Svg,
    /// Block characters.
    Text,
}

/// A QR code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    /// What it is.
    pub content_type: &'static str,
    /// The picture.
    pub image: Vec<u8>,
}

/// What a client fetches by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What the body is.
    pub content_type: &'static str,
    /// The document.
    pub body: String,
    /// The value of `subscription-userinfo`.
    pub user_info: String,
    /// The key's name.
    pub title: String,
}

impl LinkService {
    /// The service over the store, what keeps the core at it, the counters and the configuration.
    pub fn new(
        store: Arc<Store>,
        reconciler: Reconciler,
        reader: Arc<dyn CounterReader>,
        network: NetworkReader,
        live: Live,
    ) -> Self {
        Self {
            store,
            reconciler,
            reader,
            network,
            live,
        }
    }

    /// A key's link, enabled or not; the same until the key, its port, its REALITY settings or the settings of links change.
    pub async fn link(&self, key_id: &str) -> Result<KeyLink, ServiceError> {
        let key = find(&self.store, key_id)?.key;
        let inbound = self.inbound(&key)?;
        let server = self.server().await?;
        Ok(KeyLink {
            vless_url: vless_url(&server.borrow(), &link_key(&key, &inbound), &inbound.reality),
            short_id: inbound
                .reality
                .short_ids
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            key,
        })
    }

    /// A key's link as a QR code.
    pub async fn qr_code(&self, key_id: &str, format: QrFormat) -> Result<QrCode, ServiceError> {
        let link = self.link(key_id).await?.vless_url;
        let drawn = match format {
            QrFormat::Png => qr::png(&link).map(|image| ("image/png", image)),
            QrFormat::Svg => qr::svg(&link).map(|image| ("image/svg+xml", image.into_bytes())),
            QrFormat::Text => qr::text(&link).map(|image| ("text/plain; charset=utf-8", image.into_bytes())),
        };
        let (content_type, image) =
            drawn.map_err(|error| ServiceError::new(Reason::InvalidArgument, error.to_string()))?;
        Ok(QrCode { content_type, image })
    }

    /// What the holder of a token gets. A token that is no key's, and one whose key has no port, is not found.
    pub async fn subscription(&self, token: &str, as_json: bool) -> Result<Subscription, ServiceError> {
        let not_found = || ServiceError::new(Reason::SubscriptionNotFound, "Not Found");
        let token: SubscriptionToken = token.parse().map_err(|_| not_found())?;
        let snapshot = self.store.snapshot();
        let entry = snapshot.find_subscription(&token).ok_or_else(not_found)?;
        let inbound = self.inbound(&entry.key).map_err(|_| not_found())?;
        let (key, server) = (link_key(&entry.key, &inbound), self.server().await?);
        let (content_type, body) = if as_json {
            let body = subscription::client_configurations(&server.borrow(), &key, &inbound.reality);
            ("application/json", body)
        } else {
            let link = vless_url(&server.borrow(), &key, &inbound.reality);
            ("text/plain; charset=utf-8", subscription::base64_list(&link))
        };
        let shown = entry.shown(&*self.reader);
        Ok(Subscription {
            content_type,
            body,
            user_info: subscription::user_info(shown.rx_bytes, shown.tx_bytes),
            title: entry.key.name.clone(),
        })
    }

    /// The name or address in links.
    pub async fn host(&self) -> Result<ServerHost, ServiceError> {
        match self.set(XRAY_SERVER_HOST).and_then(|host| host.parse().ok()) {
            Some(host) => Ok(host),
            None => self.unset_host().await,
        }
    }

    /// The TLS handshake that links have clients imitate.
    pub fn fingerprint(&self) -> String {
        self.set(XRAY_FINGERPRINT).unwrap_or_else(|| FINGERPRINT.to_owned())
    }

    /// The name or address in links where none is set: the configured one, or this host's.
    pub(super) async fn unset_host(&self) -> Result<ServerHost, ServiceError> {
        // Checked with the configuration.
        let configured = self
            .live
            .now()
            .xray
            .server_host
            .as_ref()
            .and_then(|host| host.parse().ok());
        if let Some(host) = configured {
            return Ok(host);
        }
        let address = own_address(&self.network).await;
        let address =
            address.map_err(|error| ServiceError::internal("This host's addresses cannot be read", &error))?;
        // On a host without a network its own address is at least good for itself.
        Ok(ServerHost::from(address.unwrap_or(Ipv4Addr::LOCALHOST.into())))
    }

    fn inbound(&self, key: &Key) -> Result<WantedInbound, ServiceError> {
        let inbound = self.reconciler.wanted_inbound(key);
        inbound.ok_or_else(|| ServiceError::new(Reason::KeyHasNoPort, "Key has no port"))
    }

    /// A text that is set.
    fn set(&self, path: &str) -> Option<String> {
        Stored::text(&self.store.snapshot().settings, path).map(str::to_owned)
    }

    async fn server(&self) -> Result<Server, ServiceError> {
        Ok(Server {
            host: self.host().await?,
            fingerprint: self.fingerprint(),
            flow: self.reconciler.settings().core.flow,
        })
    }
}

/// What all links say of the server.
struct Server {
    host: ServerHost,
    fingerprint: String,
    flow: String,
}

impl Server {
    fn borrow(&self) -> LinkServer<'_> {
        LinkServer {
            host: self.host.as_str(),
            fingerprint: &self.fingerprint,
            flow: &self.flow,
        }
    }
}

fn link_key<'a>(key: &'a Key, inbound: &WantedInbound) -> LinkKey<'a> {
    LinkKey {
        uuid: key.uuid,
        name: &key.name,
        port: inbound.port,
    }
}
