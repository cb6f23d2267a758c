//! A request that the receiver always fails on.

use super::super::super::receiver::POISON;
use super::*;

fn contents(receiver: &Receiver) -> Vec<String> {
    bodies(receiver).into_iter().map(|(body, _)| body).collect()
}

#[tokio::test]
async fn a_request_that_always_gets_500_is_set_aside_and_the_others_pass_it() {
    assert_eq!(POISON, b"poison");
    let mut receiver = Receiver::start([]).await;
    let running = Running::start(&receiver);
    for content in ["poison", "a", "b", "c"] {
        running.queue.push(request(content));
    }
    let began = Instant::now();
    receiver.wait_for(10).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let sent = contents(&receiver);
    assert_eq!(sent[..6], ["poison", "poison", "poison", "poison", "poison", "a"]);
    let others: Vec<&String> = sent.iter().filter(|content| *content != "poison").collect();
    assert_eq!(others, ["a", "b", "c"], "each once, in order");
    let mut status = running.status.clone();
    status.wait_for(|status| status.counters.ok == 3).await.unwrap();
    assert_eq!(
        running.queue.status().requests,
        1,
        "it is kept and tried until it is too old"
    );
    assert!(status.borrow().failures.get(FailureReason::ServerError) >= 4);
    let (counters, left) = running.end().await;
    assert_eq!((counters.ok, counters.drop, left.samples), (3, 0, 6));
}

#[tokio::test]
async fn what_is_set_aside_is_given_up_when_it_is_too_old() {
    let receiver = Receiver::start([]).await;
    let running = Running::start_with(&receiver, Duration::from_secs(10), Duration::from_mins(1));
    let began = Instant::now();
    let mut poison = request("poison");
    poison.sealed_at = began.checked_sub(Duration::from_millis(58_500)).unwrap();
    running.queue.push(poison);
    running.queue.push(request("next"));
    let gone = async {
        while running.queue.status().requests > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let (counters, left) = running.end().await;
    assert_eq!((counters.pushed, dropped(&left)), (4, [0, 6, 0, 0, 0]));
}

#[tokio::test]
async fn a_receiver_that_fails_on_everything_gets_everything_in_order() {
    let script = std::iter::repeat_n(Reply::Status(500, "", ""), 13);
    let mut receiver = Receiver::start(script).await;
    let running = Running::start(&receiver);
    for content in ["a", "b"] {
        running.queue.push(request(content));
    }
    receiver.wait_for(15).await;
    let (counters, left) = running.end().await;
    let sent = contents(&receiver);
    assert_eq!(
        sent[..12],
        ["a", "a", "a", "a", "a", "b", "a", "a", "a", "a", "a", "b"],
        "one look past it after each five"
    );
    assert_eq!(sent[12..], ["a", "a", "b"]);
    assert_eq!((counters.ok, left.requests), (2, 0));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_not_looked_past() {
    let script = std::iter::repeat_n(Reply::Status(503, "", ""), 7);
    let mut receiver = Receiver::start(script).await;
    let running = Running::start(&receiver);
    for content in ["a", "b"] {
        running.queue.push(request(content));
    }
    receiver.wait_for(9).await;
    running.end().await;
    assert_eq!(contents(&receiver), ["a", "a", "a", "a", "a", "a", "a", "a", "b"]);
}

#[tokio::test]
async fn a_refusal_of_what_is_in_the_next_request_shows_that_the_receiver_lives() {
    let fails = Reply::Status(500, "", "");
    let script = [
        fails,
        fails,
        fails,
        fails,
        fails,
        Reply::Status(400, "", "out of order sample"),
    ];
    let mut receiver = Receiver::start(script).await;
    let running = Running::start(&receiver);
    for content in ["first", "b", "c"] {
        running.queue.push(request(content));
    }
    receiver.wait_for(7).await;
    let mut status = running.status.clone();
    status.wait_for(|status| status.counters.ok == 1).await.unwrap();
    assert_eq!(
        contents(&receiver),
        ["first", "first", "first", "first", "first", "b", "c"]
    );
    let (counters, left) = running.end().await;
    assert_eq!(
        (counters.ok, counters.drop, left.requests),
        (2, 1, 0),
        "what was set aside arrives at the end"
    );
    assert_eq!(dropped(&left), [0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn a_poisoned_request_alone_waits_and_ages_out() {
    let mut receiver = Receiver::start([]).await;
    let running = Running::start_with(&receiver, Duration::from_secs(10), Duration::from_secs(5));
    running.queue.push(request("poison"));
    receiver.wait_for(4).await;
    let (counters, left) = running.end().await;
    assert_eq!((counters.ok, dropped(&left)), (0, [0, 6, 0, 0, 0]));
}

#[tokio::test]
async fn a_request_that_is_made_after_the_failure_is_no_witness() {
    let fails = Reply::Status(500, "", "");
    let mut receiver = Receiver::start(std::iter::repeat_n(fails, 5)).await;
    let running = Running::start(&receiver);
    running.queue.push(request("first"));
    receiver.wait_for(5).await;
    let mut status = running.status.clone();
    status.wait_for(|status| status.counters.retry == 5).await.unwrap();
    // From here on the receiver takes everything; the look past the first is over by far when the other is made, also where
    // the machine stood still: the look ends in the turn in which this sleep does.
    tokio::time::sleep(NEXT_PATIENCE * 15).await;
    tokio::task::yield_now().await;
    running.queue.push(request("later"));
    receiver.wait_for(7).await;
    let (counters, _) = running.end().await;
    assert_eq!(counters.ok, 2);
    assert_eq!(contents(&receiver)[5..], ["first", "later"], "in order");
}
