//! Whether the core's API can be reached: the sign that the core is up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a core may take until its API accepts connections: thousands of keys take it less than a second.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often it is tried meanwhile, and how long one attempt may take.
const POLL: Duration = Duration::from_millis(10);
const ATTEMPT: Duration = Duration::from_secs(1);

/// Waits until the API accepts connections, for as long as a core may take; otherwise the reason.
pub(super) async fn wait(api: SocketAddr) -> Result<(), String> {
    let too_slow = |_| {
        let seconds = DEADLINE.as_secs();
        format!("its API at {api} (`xray.api_listen`) does not accept connections within {seconds} s")
    };
    timeout(DEADLINE, accepts(api)).await.map_err(too_slow)
}

/// Waits until an address accepts a connection.
async fn accepts(address: SocketAddr) {
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    loop {
        if let Ok(Ok(stream)) = timeout(ATTEMPT, TcpStream::connect(address)).await
            // Of a free port in the range of clients' ports, TCP can make a connection to itself.
            && stream.local_addr().ok() != Some(address)
        {
            return;
        }
        sleep(POLL).await;
    }
}

/// Where one that listens on all addresses is reached.
const fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_on_all_addresses_is_reached() {
        for all in ["0.0.0.0:0", "[::]:0"] {
            let listener = std::net::TcpListener::bind(all).unwrap();
            wait(listener.local_addr().unwrap()).await.unwrap();
        }
    }
}
