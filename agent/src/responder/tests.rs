use super::*;

use std::io::Read as _;
use std::net::TcpStream;

use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn every_connection_is_accepted_closed_without_a_byte_and_counted() {
    let responder = Responder::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let (port, mut accepted) = (responder.local_port(), responder.accepted());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(responder.run(shutdown.clone()));
    let clients = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let mut said = Vec::new();
            assert_eq!(connection.read_to_end(&mut said).unwrap(), 0, "the end of the stream");
        }
    });
    clients.await.unwrap();
    accepted.wait_for(|count| *count == 3).await.unwrap();
    shutdown.cancel();
    task.await.unwrap();
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(
        refused.kind(),
        io::ErrorKind::ConnectionRefused,
        "the port is closed again"
    );
}

#[tokio::test]
async fn the_unspecified_address_takes_both_families() {
    let responder = Responder::bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    let port = responder.local_port();
    // The kernel answers; nobody has to accept for that.
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let first = Responder::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = Responder::bind((Ipv4Addr::LOCALHOST, first.local_port()).into()).unwrap_err();
    let text = crate::chain(&error);
    let start = format!("open the TCP responder on 127.0.0.1:{}: ", first.local_port());
    assert!(text.starts_with(&start) && text.len() > start.len(), "{text}");
}
