//! Where others reach this machine: the source address of the route towards the planner.
//!
//! Not the first interface: a machine with several has no first one, and the address that reaches the planner is the one
//! the planner sees.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use xprober_proto::Addresses;

/// Says why the route gives no address.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// There is no route.
    #[error("no route towards the planner at {planner}")]
    NoRoute {
        /// Where to.
        planner: SocketAddr,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// The route starts at an address nobody else can reach.
    #[error(
        "the route towards the planner at {planner} starts at {address}, where nobody reaches this agent; set --probe.address=ADDRESS"
    )]
    Unusable {
        /// Where to.
        planner: SocketAddr,
        /// From where.
        address: IpAddr,
    },
}

/// Asks the kernel from which address it would send to `planner`; nothing is sent.
///
/// # Errors
///
/// There is no route, or it starts at loopback although the planner is elsewhere.
pub async fn source_towards(planner: SocketAddr) -> Result<Addresses, RouteError> {
    let address = ask_kernel(planner)
        .await
        .map_err(|source| RouteError::NoRoute { planner, source })?;
    let usable = !address.is_loopback() || planner.ip().to_canonical().is_loopback();
    Addresses::of(address)
        .filter(|_| usable)
        .ok_or(RouteError::Unusable { planner, address })
}

async fn ask_kernel(planner: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match planner {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(planner).await?;
    Ok(socket.local_addr()?.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn towards_loopback_the_source_is_loopback() {
        let addresses = source_towards("127.0.0.1:6001".parse().unwrap()).await.unwrap();
        assert_eq!(addresses.v4(), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(addresses.v6(), None);
    }
}
