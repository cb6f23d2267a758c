//! Real agents' ends of real streams on loopback.

use std::time::Duration;

use crate::support::{Agent, hello, hello_at, http, join, metric, open, start, start_with};
use crate::undisturbed::undisturbed;
use tonic::Code;
use xprober_proto::wire::{self, agent_message::Body};
use xprober_proto::{PlanUpdate, Revision};

/// Acknowledges nothing: the first plan of an agent that is alone is empty, the next one a delta.
async fn first_plan(agent: &mut Agent) -> xprober_proto::Plan {
    match agent.plan().await {
        PlanUpdate::Full(plan) => plan,
        other => panic!("a full plan was expected, got {other:?}"),
    }
}

#[tokio::test]
async fn the_first_plan_is_full_and_a_second_join_is_a_delta() {
    let planner = start("agents: {lease: 30s}\n").await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    let plan = first_plan(&mut vm1).await;
    assert_eq!(
        (plan.revision, plan.targets.len(), plan.lease),
        (Revision(1), 0, Duration::from_secs(30))
    );
    let mut vm3 = join(planner.rpc, hello("region-b", "vm3")).await;
    let plan = first_plan(&mut vm3).await;
    assert_eq!(plan.targets[0].id.as_str(), "icmp:region-a/vm1");
    match vm1.plan().await {
        PlanUpdate::Delta {
            revision,
            base,
            upserts,
            removals,
        } => {
            assert_eq!((revision, base), (Revision(2), Revision(1)));
            assert_eq!(upserts[0].name, "vm3");
            assert!(removals.is_empty());
        }
        other => panic!("a delta was expected, got {other:?}"),
    }
    planner.end().await;
}

#[tokio::test]
async fn four_regions_with_two_agents_each_get_six_targets_each() {
    let planner = start("").await;
    let mut agents = Vec::new();
    for (index, region) in (1..=8).zip("aabbccdd".chars()) {
        agents.push(join(planner.rpc, hello(&format!("region-{region}"), &format!("vm{index}"))).await);
    }
    let ids = |own: std::ops::RangeInclusive<usize>| -> Vec<String> {
        let others = (1..=8_usize).filter(|index| !own.contains(index));
        others
            .map(|index| format!("icmp:region-{}/vm{index}", ["a", "b", "c", "d"][(index - 1) / 2]))
            .collect()
    };
    for (index, agent) in agents.iter_mut().enumerate() {
        let first = index / 2 * 2 + 1;
        let wanted = ids(first..=first + 1);
        agent
            .until(&wanted.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    }
    let (_, json) = http(planner.web, "GET", "/api/v1/plan").await;
    assert_eq!(json.matches("\"reason\":\"mesh\"").count(), 48, "{json}");
    planner.end().await;
}

#[test]
fn an_agent_that_is_lost_leaves_every_plan_after_its_lease_and_not_before() {
    undisturbed(|| async {
        let planner = start("agents: {lease: 2s}\n").await;
        let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
        let vm3 = join(planner.rpc, hello("region-b", "vm3")).await;
        vm1.until(&["icmp:region-b/vm3"]).await;
        let lost = tokio::time::Instant::now();
        drop(vm3);
        loop {
            match vm1.next().await.unwrap() {
                PlanUpdate::KeepAlive => vm1.say(Body::Heartbeat(wire::Heartbeat { revision: 2 })).await,
                PlanUpdate::Delta { removals, .. } => {
                    assert_eq!(removals[0].as_str(), "icmp:region-b/vm3");
                    break;
                }
                PlanUpdate::Full(plan) => panic!("a delta was expected, got {plan:?}"),
            }
        }
        assert!(
            lost.elapsed() >= Duration::from_secs(2),
            "evicted after {:?}",
            lost.elapsed()
        );
        assert_eq!(metric(planner.web, "xprober_planner_evictions_total").await, Some(1.0));
        assert_eq!(
            metric(planner.web, "xprober_planner_members{region=\"region-b\"}").await,
            None
        );
        planner.end().await;
    });
}

#[tokio::test]
async fn a_silent_stream_is_ended_with_its_lease() {
    let planner = start("agents: {lease: 1s}\n").await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    let status = vm1.end().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "nothing was heard for a whole lease")
    );
    planner.end().await;
}

#[test]
fn the_planner_is_heard_before_a_lease_ends() {
    undisturbed(|| async {
        let planner = start("agents: {lease: 3s}\n").await;
        let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
        first_plan(&mut vm1).await;
        assert_eq!(vm1.next().await.unwrap(), PlanUpdate::KeepAlive);
        planner.end().await;
    });
}

#[tokio::test]
async fn a_newer_stream_of_the_same_agent_ends_the_older_one() {
    let planner = start("").await;
    let mut older = join(planner.rpc, hello("region-a", "vm1")).await;
    first_plan(&mut older).await;
    let mut newer = join(planner.rpc, hello("region-a", "vm1")).await;
    assert_eq!(older.end().await.code(), Code::Aborted);
    first_plan(&mut newer).await;
    planner.end().await;
}

#[tokio::test]
async fn a_foreign_address_is_refused_and_an_allowed_one_is_not() {
    let planner = start("agents: {allowed_networks: [10.0.0.0/8]}\n").await;
    let mut foreign = join(planner.rpc, hello_at("region-a", "vm1", [192, 0, 2, 1].into())).await;
    let status = foreign.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "address 192.0.2.1 is neither that of the connection (127.0.0.1) nor inside agents.allowed_networks"
    );
    let rejected = "xprober_planner_hellos_rejected_total{reason=\"address\"}";
    assert_eq!(metric(planner.web, rejected).await, Some(1.0));
    let mut allowed = join(planner.rpc, hello_at("region-a", "vm1", [10, 1, 1, 1].into())).await;
    first_plan(&mut allowed).await;
    planner.end().await;
}

#[tokio::test]
async fn a_malformed_hello_is_refused_with_the_field() {
    let planner = start("").await;
    let mut bad = hello("region-a", "vm1");
    bad.addresses = vec!["127.0.0.1; reboot".to_owned()];
    let status = join(planner.rpc, bad).await.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().starts_with("address \"127.0.0.1; reboot\""),
        "{status}"
    );
    let mut agent = open(planner.rpc).await;
    agent.say(Body::Heartbeat(wire::Heartbeat { revision: 0 })).await;
    assert_eq!(agent.end().await.code(), Code::InvalidArgument);
    let rejected = |reason: &str| format!("xprober_planner_hellos_rejected_total{{reason=\"{reason}\"}}");
    assert_eq!(metric(planner.web, &rejected("malformed")).await, Some(1.0));
    assert_eq!(metric(planner.web, &rejected("missing")).await, Some(1.0));
    planner.end().await;
}

#[tokio::test]
async fn a_refused_delta_is_answered_with_a_full_plan() {
    let planner = start("").await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    first_plan(&mut vm1).await;
    let _vm3 = join(planner.rpc, hello("region-b", "vm3")).await;
    assert!(matches!(vm1.plan().await, PlanUpdate::Delta { .. }));
    let reason = "unknown base <b>2</b>".to_owned();
    vm1.say(Body::Nack(wire::Nack { revision: 2, reason })).await;
    let plan = first_plan(&mut vm1).await;
    assert_eq!((plan.revision, plan.targets.len()), (Revision(3), 1));
    assert_eq!(metric(planner.web, "xprober_planner_nacks_total").await, Some(1.0));
    let (_, page) = http(planner.web, "GET", "/").await;
    assert!(page.contains("unknown base &lt;b&gt;2&lt;/b&gt;"), "{page}");
    planner.end().await;
}

#[test]
fn after_a_restart_an_agent_with_a_plan_waits_for_the_others_and_a_new_one_does_not() {
    undisturbed(|| async {
        let planner = start_with("agents: {lease: 1s}\n", Duration::from_secs(2), None).await;
        let mut fresh = join(planner.rpc, hello("region-b", "vm3")).await;
        fresh.say(Body::Heartbeat(wire::Heartbeat { revision: 0 })).await;
        let mut back = join(planner.rpc, hello("region-a", "vm1")).await;
        back.say(Body::Heartbeat(wire::Heartbeat { revision: 17 })).await;
        first_plan(&mut fresh).await;
        let mut alive = 0;
        let plan = loop {
            match back.next().await.unwrap() {
                PlanUpdate::KeepAlive => {
                    alive += 1;
                    back.say(Body::Heartbeat(wire::Heartbeat { revision: 17 })).await;
                    fresh.say(Body::Heartbeat(wire::Heartbeat { revision: 1 })).await;
                }
                PlanUpdate::Full(plan) => break plan,
                delta @ PlanUpdate::Delta { .. } => panic!("a full plan was expected, got {delta:?}"),
            }
        };
        assert!(alive >= 3, "its plan TTL was fed {alive} times while it waited");
        assert_eq!(plan.targets[0].name, "vm3");
        planner.end().await;
    });
}

#[tokio::test]
async fn an_agent_that_does_not_read_stops_nobody_else() {
    let planner = start("").await;
    // Its messages pile up unread; its queue is bounded.
    let hanging = join(planner.rpc, hello("region-a", "hangs")).await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    let mut others = Vec::new();
    let mut wanted = Vec::new();
    for index in 0..20 {
        let id = format!("vm{index:02}");
        wanted.push(format!("icmp:region-b/{id}"));
        others.push(join(planner.rpc, hello("region-b", &id)).await);
    }
    vm1.until(&wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
    drop(hanging);
    planner.end().await;
}

#[tokio::test]
async fn a_planner_that_stops_tells_its_agents_unavailable() {
    let planner = start("").await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    first_plan(&mut vm1).await;
    planner.stop.cancel();
    assert_eq!(vm1.end().await.code(), Code::Unavailable);
    planner.end().await;
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let planner = start("").await;
    let url = format!("http://{}", planner.rpc);
    let channel = tonic::transport::Endpoint::from_shared(url)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "xprober.planner.v1.Planner"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        assert_eq!(
            health.check(request).await.unwrap().into_inner().status,
            1,
            "{service:?}"
        );
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("a list was expected, got {answer:?}")
    };
    let planner_service = ServiceResponse {
        name: "xprober.planner.v1.Planner".to_owned(),
    };
    assert!(list.service.contains(&planner_service), "{list:?}");
    drop((answers, reflection, health));
    planner.end().await;
}
