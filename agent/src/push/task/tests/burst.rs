//! Several requests of one snapshot on their way together.

use super::super::burst::MAX_IN_FLIGHT;
use super::*;

fn contents(receiver: &Receiver) -> Vec<String> {
    bodies(receiver).into_iter().map(|(body, _)| body).collect()
}

/// Requests after which as many as ever are on their way together.
const CALM: usize = 4;

/// A receiver that takes these and then goes by the script.
async fn receiver(script: impl IntoIterator<Item = Reply>) -> Receiver {
    Receiver::start(std::iter::repeat_n(OK, CALM).chain(script)).await
}

/// A push that has seen the receiver take some snapshots.
async fn start_with(receiver: &Receiver, timeout: Duration) -> Running {
    let running = Running::start_with(receiver, timeout, Duration::from_mins(10));
    for _ in 0..CALM {
        running.queue.push(request("calm"));
    }
    let mut status = running.status.clone();
    status
        .wait_for(|status| status.counters.ok == CALM as u64)
        .await
        .unwrap();
    running
}

/// Later than what [`request`] makes.
const SNAPSHOT: i64 = 1_000_000;

#[tokio::test]
async fn requests_of_a_snapshot_travel_together_and_the_next_snapshot_waits_for_all_of_them() {
    let mut receiver = receiver([Reply::Hang]).await;
    let running = start_with(&receiver, LIMIT).await;
    for content in ["a", "b", "c"] {
        running.queue.push(request_of(SNAPSHOT, content));
    }
    running.queue.push(request_of(SNAPSHOT + 1, "next"));
    let requests = receiver.wait_for(CALM + 5).await;
    let (counters, _) = running.end().await;
    let sent = &contents(&receiver)[CALM..];
    let hung = sent[0].clone();
    let mut together = sent[..3].to_vec();
    together.sort();
    assert_eq!(together, ["a", "b", "c"], "two pass the one that hangs");
    assert_eq!(sent[3..], [hung, "next".to_owned()], "it is sent again first");
    assert_eq!((counters.ok, counters.retry), (4 + CALM as u64, 1));
    let again = &requests[CALM + 3].head;
    assert!(again.contains("retry-attempt: 1"), "{again}");
}

#[tokio::test]
async fn no_more_than_so_many_are_under_way_and_after_a_failure_one_at_a_time() {
    let contents_of = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut receiver = receiver(std::iter::repeat_n(Reply::Hang, MAX_IN_FLIGHT + 1)).await;
    let running = start_with(&receiver, LIMIT).await;
    for content in contents_of {
        running.queue.push(request_of(SNAPSHOT, content));
    }
    receiver.wait_for(CALM + MAX_IN_FLIGHT + 2).await;
    let sent = &contents(&receiver)[CALM..];
    let mut first = sent[..MAX_IN_FLIGHT].to_vec();
    first.sort();
    assert_eq!(first, contents_of[..MAX_IN_FLIGHT]);
    assert_eq!(sent[MAX_IN_FLIGHT..][..2], ["a", "a"], "the oldest, until it is taken");
    let (counters, _) = running.end().await;
    assert_eq!(counters.ok, (CALM + contents_of.len()) as u64);
}

#[tokio::test]
async fn one_that_is_poisoned_holds_up_nothing_but_the_next_snapshot_for_a_while() {
    let receiver = receiver([]).await;
    let running = start_with(&receiver, Duration::from_secs(10)).await;
    for content in ["a", "poison", "b"] {
        running.queue.push(request_of(SNAPSHOT, content));
    }
    for content in ["next", "last"] {
        running.queue.push(request(content));
    }
    let mut status = running.status.clone();
    let all = 4 + CALM as u64;
    status.wait_for(|status| status.counters.ok == all).await.unwrap();
    let (counters, left) = running.end().await;
    let sent = &contents(&receiver)[CALM..];
    let others: Vec<&String> = sent.iter().filter(|content| *content != "poison").collect();
    assert_eq!(others[2..], ["next", "last"], "{sent:?}");
    assert_eq!((counters.ok, counters.drop, left.samples), (all, 0, 6));
}

#[tokio::test]
async fn one_that_is_refused_goes_and_the_others_of_its_snapshot_arrive() {
    let receiver = receiver([Reply::Status(400, "", "no")]).await;
    let running = start_with(&receiver, Duration::from_secs(10)).await;
    for content in ["aa", "bb", "cc"] {
        running.queue.push(request_of(SNAPSHOT, content));
    }
    let (counters, left) = running.end().await;
    let expected = (2 + CALM as u64, 1, [0, 0, 2, 0, 0]);
    assert_eq!((counters.ok, counters.drop, dropped(&left)), expected);
}
