//! A program on the machine reaches what the lab offers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Runtime;
use xprober_lab::enter::{self, Place};
use xprober_lab::servers::http::Behaviour;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

const LIMIT: Duration = Duration::from_mins(1);

/// Not a test of its own: a lab with a page until it is told to stop.
#[test]
#[ignore = "started by the other test of this file"]
fn lab_with_a_page() {
    let inside = match enter::enter(&["page"]).unwrap() {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return assert_eq!(finished.code, 0),
    };
    Runtime::new().unwrap().block_on(async {
        let lab = Lab::start(&inside, Topology::demo(), 1).await.unwrap();
        let page = lab.http_target("web1", Behaviour::default()).unwrap();
        let url = lab.forwards().offer("page", page.address()).unwrap();
        assert!(lab.forwards().offer("other", page.address()).is_err());
        std::fs::write(inside.work().join("url"), url).unwrap();
        lab.stop_requested().await;
        page.stop().await;
        lab.stop().await;
    });
}

#[test]
fn page_inside_the_lab_opens_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "lab_with_a_page",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    let mut outside = command
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let url = loop {
        if let Some(url) = read_url(folder.path()) {
            break url;
        }
        assert!(
            start.elapsed() < LIMIT && outside.try_wait().unwrap().is_none(),
            "the lab did not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.ends_with("xxx"), "{page}");
    kill(Pid::from_raw(outside.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(outside.wait().unwrap().success());
}

fn read_url(folder: &Path) -> Option<String> {
    let work = std::fs::read_dir(folder).ok()?.next()?.ok()?.path();
    std::fs::read_to_string(work.join("url"))
        .ok()
        .filter(|url| !url.is_empty())
}
