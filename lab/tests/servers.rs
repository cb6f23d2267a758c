//! The servers around the hosts: metadata, DNS and HTTP targets, as a client inside a host's namespace sees them.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use xprober_lab::judge::task::Judge;
use xprober_lab::judge::{Disturbance, Fault};
use xprober_lab::namespace::Namespace;
use xprober_lab::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use xprober_lab::remote_write::{self, Spelling};
use xprober_lab::servers::http::Behaviour;
use xprober_lab::servers::metadata::MetadataMode;
use xprober_lab::servers::receiver::{Answer, Receiver};
use xprober_lab::servers::sink::Sink;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

const MS: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(500);
/// How late a busy machine may let the client notice that a stage began.
const LATE: Duration = Duration::from_millis(100);
/// What a stage without a delay may take on a busy machine.
const QUICK: Duration = Duration::from_millis(400);
/// Times are taken so often, and the middle one counts: the machine may stand still during one of them.
const MEASUREMENTS: usize = 3;

/// The middle one of each place.
fn medians<const PLACES: usize>(measured: [[Duration; PLACES]; MEASUREMENTS]) -> [Duration; PLACES] {
    std::array::from_fn(|place| {
        let mut times = measured.map(|one| one[place]);
        times.sort_unstable();
        times[MEASUREMENTS / 2]
    })
}

fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn metadata(namespace: &Namespace, request: &str) -> std::io::Result<String> {
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    namespace
        .run(|| TcpStream::connect("169.254.169.254:80").map(|stream| exchange(stream, &(request + "\r\n"))))
        .unwrap()
}

#[test]
fn metadata_tells_each_host_its_own_region() {
    in_lab(
        "metadata_tells_each_host_its_own_region",
        Topology::demo(),
        async |lab| {
            for (host, region) in [("vm1", "region-a"), ("vm8", "region-d")] {
                let host = lab.host(host).unwrap();
                let ask = |request: &str| metadata(host.namespace(), request);
                let get = "GET /latest/meta-data/placement/region";
                assert!(ask(get).unwrap().starts_with("HTTP/1.1 401"));
                host.edge().metadata.set_mode(MetadataMode::Version1).await.unwrap();
                assert!(ask(get).unwrap().ends_with(region));
                host.edge().metadata.set_mode(MetadataMode::Absent).await.unwrap();
                assert_eq!(ask(get).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
                host.edge().metadata.set_mode(MetadataMode::Slow(DELAY)).await.unwrap();
                let start = Instant::now();
                ask(get).unwrap();
                assert!(start.elapsed() >= DELAY);
            }
        },
    );
}

#[test]
fn names_resolve_through_the_system_resolver_after_the_set_delay() {
    in_lab(
        "names_resolve_through_the_system_resolver_after_the_set_delay",
        Topology::demo(),
        async |lab| {
            let host = lab.host("vm5").unwrap();
            let resolve = |name: &str| {
                host.namespace()
                    .run(|| (name, 80).to_socket_addrs().map(Iterator::collect::<Vec<_>>))
                    .unwrap()
            };
            let web = SocketAddr::from((lab.host("web1").unwrap().plan().address, 80));
            let times = |name: &str| {
                [(); MEASUREMENTS].map(|()| {
                    let start = Instant::now();
                    assert_eq!(resolve(name).unwrap(), [web]);
                    [start.elapsed()]
                })
            };
            let [quick] = medians(times("web1.lab"));
            assert!(quick < QUICK, "{quick:?}");
            host.edge().dns.change(|settings| settings.delay = DELAY);
            let slow = times("web1");
            assert!(slow.iter().all(|[time]| *time >= DELAY), "{slow:?}");
            assert!(medians(slow) < [DELAY + QUICK], "{slow:?}");
            assert!(resolve("nobody.lab").is_err());
            host.edge().dns.change(|settings| settings.broken = true);
            assert!(resolve("web1").is_err());
        },
    );
}

/// Times of connect, TLS, processing, transfer.
fn stages(namespace: &Namespace, address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> [Duration; 4] {
    let body = |stream: &mut dyn ReadWrite, times: &mut Vec<Instant>| {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        times.push(Instant::now());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(
            rest.ends_with(b"xxx") && rest.len() > 1_000,
            "{}",
            String::from_utf8_lossy(&rest)
        );
        times.push(Instant::now());
    };
    namespace
        .run(|| {
            let mut times = vec![Instant::now()];
            let mut stream = TcpStream::connect(address).unwrap();
            times.push(Instant::now());
            match tls {
                None => {
                    times.push(Instant::now());
                    body(&mut stream, &mut times);
                }
                Some(config) => {
                    let name = ServerName::try_from("web2.lab").unwrap();
                    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
                    while client.is_handshaking() {
                        client.complete_io(&mut stream).unwrap();
                    }
                    times.push(Instant::now());
                    body(&mut StreamOwned::new(client, stream), &mut times);
                }
            }
            std::array::from_fn(|index| times[index + 1] - times[index])
        })
        .unwrap()
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn each_stage_is_slowed_alone() {
    in_lab("each_stage_is_slowed_alone", Topology::demo(), async |lab| {
        let http = lab.http_target("web1", Behaviour::default()).unwrap();
        let https = lab.https_target("web2", Behaviour::default()).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(lab.authority().file()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let tls = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let namespace = lab.host("vm1").unwrap().namespace();
        let address =
            |target: &str, port| SocketAddr::from((IpAddr::from(lab.host(target).unwrap().plan().address), port));
        for slowed in 0..4 {
            let delay = |stage| if stage == slowed { DELAY } else { Duration::ZERO };
            for (target, name) in [(&http, "web1"), (&https, "web2")] {
                lab.wan().set_syn_delay(name, delay(0)).unwrap();
                target.change(|behaviour| {
                    behaviour.tls_delay = delay(1);
                    behaviour.processing_delay = delay(2);
                    behaviour.transfer_delay = delay(3);
                });
            }
            for (address, tls) in [(address("web1", 80), None), (address("web2", 443), Some(&tls))] {
                let measured = [(); MEASUREMENTS].map(|()| stages(namespace, address, tls));
                for (stage, time) in medians(measured).into_iter().enumerate() {
                    let is_slow = stage == slowed && (stage != 1 || tls.is_some());
                    let expected = if is_slow {
                        DELAY.saturating_sub(LATE)..DELAY + QUICK
                    } else {
                        Duration::ZERO..QUICK
                    };
                    assert!(
                        expected.contains(&time),
                        "stage {stage} while {slowed} is slowed: {measured:?}"
                    );
                }
            }
        }
        http.stop().await;
        https.stop().await;
    });
}

#[test]
fn large_transfers_survive_the_wan() {
    in_lab("large_transfers_survive_the_wan", Topology::demo(), async |lab| {
        const BYTES: usize = 5_000_000;
        let behaviour = Behaviour {
            body_bytes: BYTES,
            ..Behaviour::default()
        };
        let target = lab.http_target("web1", behaviour).unwrap();
        let address = SocketAddr::from((lab.host("web1").unwrap().plan().address, 80));
        let answer = lab.host("vm7").unwrap().namespace().run(|| {
            exchange(
                TcpStream::connect(address).unwrap(),
                "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
            )
        });
        assert!(answer.unwrap().len() > BYTES);
        target.stop().await;
    });
}

#[test]
fn webhook_keeps_what_it_was_sent() {
    in_lab("webhook_keeps_what_it_was_sent", Topology::new(), async |lab| {
        let sink = Sink::start(lab.hub().namespace(), 0).unwrap();
        let address: SocketAddr = sink.url()["http://".len()..].trim_end_matches('/').parse().unwrap();
        let body = r#"{"alerts":[{"labels":{"line":"l"}}]}"#;
        let request = format!(
            "POST /hook?key=1 HTTP/1.1\r\nHost: x\r\nX-Number: 7\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = tokio::task::spawn_blocking(move || exchange(TcpStream::connect(address).unwrap(), &request));
        let one = sink.wait_for(20 * QUICK, |one| one.path == "/hook").await.unwrap();
        assert_eq!(one.alerts().next().unwrap()["labels"]["line"], "l");
        assert_eq!((one.method.as_str(), one.query.as_str()), ("POST", "key=1"));
        assert_eq!(one.headers["x-number"], "7");
        assert_eq!(one.bytes, body);
        assert!(sent.await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(sink.wait_for(MS, |one| one.path == "/other").await.is_err());
        sink.stop().await;
    });
}

#[test]
fn receiver_answers_as_told_and_keeps_the_requests() {
    in_lab(
        "receiver_answers_as_told_and_keeps_the_requests",
        Topology::new(),
        async |lab| {
            let receiver = Receiver::start(lab.hub().namespace()).unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], receiver.port()));
            let post = async || {
                let request = "POST /write HTTP/1.1\r\nHost: x\r\nX-Number: 7\r\nContent-Length: 3\r\n\r\nabc";
                tokio::task::spawn_blocking(move || exchange(TcpStream::connect(address).unwrap(), request))
                    .await
                    .unwrap()
            };
            for (answer, beginning) in [
                (Answer::status(204), "HTTP/1.1 204"),
                (Answer::status(500), "HTTP/1.1 500"),
                (Answer::Garbage, "\0"),
                (Answer::Close, ""),
                (Answer::Late(MS), "HTTP/1.1 204"),
            ] {
                receiver.set(answer.clone());
                let got = post().await;
                assert!(
                    got.starts_with(beginning) && got.is_empty() == beginning.is_empty(),
                    "{answer:?}: {got:?}"
                );
            }
            receiver.set(Answer::retry_after(429, 3));
            assert!(post().await.contains("retry-after: 3"));
            let recorded = receiver.wait_for(5, 20 * QUICK).await.unwrap();
            assert_eq!(recorded[0].line, "POST /write");
            assert_eq!(recorded[0].headers["x-number"], "7");
            assert_eq!(&recorded[0].body[..], b"abc");
            receiver.stop().await;
        },
    );
}

/// A request of one sample.
fn written(seconds: i64) -> WriteRequest {
    WriteRequest {
        timeseries: vec![TimeSeries {
            labels: vec![Label {
                name: "__name__".to_owned(),
                value: "up".to_owned(),
            }],
            samples: vec![Sample {
                value: 1.0,
                timestamp: seconds * 1000,
            }],
            histograms: Vec::new(),
        }],
    }
}

/// A receiver, a judge before it, and the URL to write to.
fn judged_receiver(lab: &Lab) -> (Receiver, Judge, String) {
    let receiver = Receiver::start(lab.hub().namespace()).unwrap();
    let behind = format!("http://127.0.0.1:{}", receiver.port());
    let judge = Judge::start(lab.hub().namespace(), 0, &behind, 1).unwrap();
    let url = format!("http://127.0.0.1:{}/api/v1/write", judge.port());
    (receiver, judge, url)
}

/// Where the tests' own requests come from.
const SENDER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn closed_judge_has_entered_what_was_on_its_way() {
    in_lab(
        "closed_judge_has_entered_what_was_on_its_way",
        Topology::new(),
        async |lab| {
            let (receiver, judge, url) = judged_receiver(lab);
            receiver.set(Answer::Late(2 * QUICK));
            let request = written(10);
            let sent = async {
                let sent = remote_write::send(&url, Spelling::V1Snappy, &request, 10 * QUICK).await;
                (sent.is_ok(), judge.account(|account| account.taken))
            };
            let closed = async {
                receiver.wait_for(1, 10 * QUICK).await.unwrap();
                judge.close().await.unwrap();
                judge.account(|account| account.taken)
            };
            // The sender is cut off at once, and what it sent is waited for.
            assert_eq!(tokio::join!(sent, closed), ((false, 0), 1));
            let address = ("127.0.0.1", judge.port());
            let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            judge.stop().await;
            receiver.stop().await;
        },
    );
}

#[test]
fn judge_keeps_what_a_sender_gave_up_before_what_it_sends_next() {
    in_lab(
        "judge_keeps_what_a_sender_gave_up_before_what_it_sends_next",
        Topology::new(),
        async |lab| {
            let (receiver, judge, url) = judged_receiver(lab);
            let (given_up, next) = (written(10), written(20));
            let send = |request| remote_write::send(&url, Spelling::V1Snappy, request, 40 * QUICK);
            receiver.set(Answer::Late(4 * QUICK));
            tokio::select! {
                _ = send(&given_up) => panic!("answered before it was given up"),
                came = receiver.wait_for(1, 40 * QUICK) => came.unwrap(),
            };
            receiver.set(Answer::status(204));
            judge.gone(SENDER).await.unwrap();
            assert_eq!(send(&next).await.unwrap().status.as_u16(), 204);
            let seen = judge.account(|account| (account.taken, account.breaches.clone()));
            assert_eq!(seen, (2, Vec::new()), "the first was entered first");
            judge.stop().await;
            receiver.stop().await;
        },
    );
}

#[test]
fn sender_is_gone_when_its_last_connection_is() {
    in_lab(
        "sender_is_gone_when_its_last_connection_is",
        Topology::new(),
        async |lab| {
            let (receiver, judge, url) = judged_receiver(lab);
            receiver.set(Answer::Late(1000 * QUICK));
            judge.gone(SENDER).await.unwrap();
            let request = written(10);
            let mut sent = Box::pin(remote_write::send(&url, Spelling::V1Snappy, &request, 1000 * QUICK));
            tokio::select! {
                _ = &mut sent => panic!("nobody answers"),
                came = receiver.wait_for(1, 40 * QUICK) => came.unwrap(),
            };
            let mut gone = Box::pin(judge.gone(SENDER));
            assert!(futures_util::poll!(&mut gone).is_pending());
            drop(sent);
            gone.await.unwrap();
            judge.stop().await;
            receiver.stop().await;
        },
    );
}

#[test]
fn judge_passes_on_what_it_does_not_disturb_and_enters_what_was_taken() {
    in_lab(
        "judge_passes_on_what_it_does_not_disturb_and_enters_what_was_taken",
        Topology::new(),
        async |lab| {
            let (receiver, judge, url) = judged_receiver(lab);
            let send = async |seconds| {
                // Each is a request of its own here, none an attempt that came again.
                judge.forget(SENDER);
                let sent = remote_write::send(&url, Spelling::V1Snappy, &written(seconds), 10 * QUICK).await;
                sent.map(|fetched| fetched.status.as_u16()).ok()
            };
            let count = || judge.account(|account| (account.book.samples(), account.breach_count));
            assert_eq!((send(10).await, count()), (Some(204), (1, 0)));
            // (fault, what the sender sees, samples that the receiver has then)
            for (fault, seen, samples) in [
                (Fault::Status(429, Some(1)), Some(429), 1),
                (Fault::CutBody, None, 1),
                (Fault::Hang, None, 1),
                (Fault::Refuse, None, 1),
                (Fault::CutAnswer, None, 2),
            ] {
                judge.disturb(Some(Disturbance { fault, share: 1.0 }));
                if fault != Fault::Refuse {
                    // A port that was closed opens a moment later.
                    let open = async {
                        while tokio::net::TcpStream::connect(("127.0.0.1", judge.port()))
                            .await
                            .is_err()
                        {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::time::timeout(200 * QUICK, open).await.unwrap();
                }
                assert_eq!((send(20).await, count()), (seen, (samples, 0)), "{fault:?}");
            }
            judge.disturb(None);
            assert_eq!((send(20).await, count()), (Some(204), (2, 0)), "a replay");
            assert_eq!((send(15).await, count()), (Some(204), (3, 1)), "an old sample");
            receiver.set(Answer::status(500));
            assert_eq!(
                (send(30).await, count()),
                (Some(500), (3, 1)),
                "the receiver's own answer"
            );
            receiver.set(Answer::status(400));
            assert_eq!((send(30).await, count()), (Some(400), (3, 2)), "a refusal for good");
            assert!(judge.account(|account| account.breaches[0].contains("15000 came after 20000")));
            judge.stop().await;
            receiver.stop().await;
        },
    );
}
