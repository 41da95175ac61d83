//! The running core's own API: inbounds are added, removed and listed while it runs, so that no key's connections are
//! interrupted for another key's sake. What is told to the core here is in its memory only.
//!
//! Messages are written by hand: it is a dozen of them, and where a field is depends on the core's version.

mod encode;
mod error;
mod live;
mod messages;
mod mismatch;
pub mod plan;
#[cfg(test)]
mod test_support;
mod version;
mod vless;

use std::net::SocketAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::wanted::{CoreSettings, WantedInbound};
use error::Asked;
use messages::{AddInboundRequest, Empty, ListInboundsResponse, RemoveInboundRequest, SysStatsResponse};

pub use error::ApiError;
pub use live::{Listen, LiveClient, LiveInbound, LiveReality, LiveVless, Protocol, Security};
pub use mismatch::Mismatch;
pub use version::{CoreVersion, NotXray, Numbering};

/// The core is on this host: it answers at once or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a call may take, connecting included.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Others may have inbounds with very many clients; the library's 4 MB are 20,000 of them.
const ANSWER_BYTES_MAX: usize = 256 << 20;

const ADD_INBOUND: Method = Method::handler("/xray.app.proxyman.command.HandlerService/AddInbound");
const REMOVE_INBOUND: Method = Method::handler("/xray.app.proxyman.command.HandlerService/RemoveInbound");
const LIST_INBOUNDS: Method = Method::handler("/xray.app.proxyman.command.HandlerService/ListInbounds");
const GET_SYS_STATS: Method = Method {
    path: "/xray.app.stats.command.StatsService/GetSysStats",
    service: "StatsService",
};

struct Method {
    path: &'static str,
    service: &'static str,
}

impl Method {
    const fn handler(path: &'static str) -> Self {
        Self {
            path,
            service: "HandlerService",
        }
    }
}

/// A client of one core's API. Cheap to clone.
///
/// It connects when it is first used and again whenever the connection is gone, so it outlives the core; but a core of
/// another version may number its fields otherwise and needs a client of its own.
#[derive(Debug, Clone)]
pub struct CoreApi {
    channel: Channel,
    api_listen: SocketAddr,
    numbering: Numbering,
}

impl CoreApi {
    /// A client of the core whose API listens at `api_listen`, whether or not it is there yet. Needs a tokio runtime
    /// around it.
    pub fn new(api_listen: SocketAddr, version: CoreVersion) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{api_listen}")).expect("an address and port make a URI");
        Self {
            channel: endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy(),
            api_listen,
            numbering: version.numbering(),
        }
    }

    /// Adds the inbound. Whether the core has it as it is wanted, only [`Self::live`] can say.
    ///
    /// The core keeps an inbound that it could not start, for example on an address that is not this host's. So what is
    /// there of it after a refusal is removed; an inbound of the same tag that was there before stays.
    pub async fn add(&self, settings: &CoreSettings, inbound: &WantedInbound) -> Result<(), ApiError> {
        let tag = inbound.tag();
        let request = AddInboundRequest {
            inbound: Some(encode::inbound_config(settings, inbound, self.numbering)),
        };
        let asked = Asked {
            tag: &tag,
            private_key: Some(&inbound.reality.private_key),
            ..self.asked(&ADD_INBOUND)
        };
        let answer = self.call::<_, Empty>(&ADD_INBOUND, request, asked).await;
        if let Err(ApiError::Refused(_)) = answer
            && let Some(left) = self.live(&tag).await?
            && left.matches(settings, inbound).is_ok()
        {
            self.remove(&tag).await?;
        }
        answer.map(drop)
    }

    /// Removes the inbound of this tag; one that is not there is removed already. Connections that it has go on.
    pub async fn remove(&self, tag: &str) -> Result<(), ApiError> {
        let request = RemoveInboundRequest { tag: tag.to_owned() };
        let asked = Asked {
            tag,
            ..self.asked(&REMOVE_INBOUND)
        };
        match self.call::<_, Empty>(&REMOVE_INBOUND, request, asked).await {
            Err(error) if error::is_unknown_tag(&error) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// All inbounds that the core has, other people's too, in no order.
    pub async fn list(&self) -> Result<Vec<LiveInbound>, ApiError> {
        let asked = self.asked(&LIST_INBOUNDS);
        let answer: ListInboundsResponse = self.call(&LIST_INBOUNDS, Empty {}, asked).await?;
        let inbounds = answer.inbounds.into_iter();
        Ok(inbounds.map(|config| live::read(config, self.numbering)).collect())
    }

    /// The inbound of this tag, if the core has it.
    pub async fn live(&self, tag: &str) -> Result<Option<LiveInbound>, ApiError> {
        Ok(self.list().await?.into_iter().find(|inbound| inbound.tag == tag))
    }

    /// For how long the core has been running, in whole seconds. This before now is when it was started: where that
    /// moves by more than a second, it was started anew and has forgotten what it was told.
    pub async fn uptime_seconds(&self) -> Result<u32, ApiError> {
        let asked = self.asked(&GET_SYS_STATS);
        let answer: SysStatsResponse = self.call(&GET_SYS_STATS, Empty {}, asked).await?;
        Ok(answer.uptime_seconds)
    }

    fn asked(&self, method: &Method) -> Asked<'static> {
        Asked {
            api_listen: self.api_listen,
            service: method.service,
            tag: "",
            private_key: None,
        }
    }

    async fn call<Q, A>(&self, method: &Method, request: Q, asked: Asked<'_>) -> Result<A, ApiError>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let path = PathAndQuery::from_static(method.path);
        let call = async {
            client
                .ready()
                .await
                .map_err(|_| ApiError::Unreachable(self.api_listen))?;
            let answer = client
                .unary(Request::new(request), path, ProstCodec::<Q, A>::default())
                .await;
            answer.map_err(|status| error::classify(&status, asked))
        };
        let answer = timeout(CALL_TIMEOUT, call).await;
        Ok(answer
            .map_err(|_| ApiError::Unreachable(self.api_listen))??
            .into_inner())
    }
}
