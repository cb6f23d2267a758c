//! The cloud's metadata endpoint at 169.254.169.254, in the dialect of AWS.
//!
//! Version 2 (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>): `PUT
//! /latest/api/token` with `X-aws-ec2-metadata-token-ttl-seconds` gives a token, which every `GET` shows in
//! `X-aws-ec2-metadata-token`. Version 1: `GET` without a token, and `PUT` is answered with 404.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Mutex;

use super::{Body, Tasks, answer, listen, serve_http};
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::topology::HostPlan;

/// Where clouds answer.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

const TOKEN: &str = "lab-metadata-token";

/// How a host's metadata endpoint behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataMode {
    /// `IMDSv2`: a token is demanded (401 without).
    #[default]
    Version2,
    /// `IMDSv1` only: no token is known.
    Version1,
    /// Nobody listens: connections are refused, as outside a cloud.
    Absent,
    /// Everything is answered, but only after this time.
    Slow(Duration),
}

/// A host's metadata endpoint.
#[derive(Debug)]
pub struct Metadata {
    namespace: Namespace,
    plan: HostPlan,
    running: Mutex<Option<Tasks>>,
}

impl Metadata {
    /// Makes an endpoint that answers nothing yet; the host must have [`METADATA_ADDRESS`].
    #[must_use]
    pub fn new(namespace: Namespace, plan: HostPlan) -> Self {
        Self {
            namespace,
            plan,
            running: Mutex::new(None),
        }
    }

    /// Changes how the endpoint behaves; in force when this returns.
    ///
    /// # Errors
    /// [`LabError::Io`] when the port cannot be opened.
    pub async fn set_mode(&self, mode: MetadataMode) -> Result<(), LabError> {
        let mut running = self.running.lock().await;
        if let Some(tasks) = running.take() {
            tasks.stop().await;
        }
        if mode != MetadataMode::Absent {
            let tasks = Tasks::default();
            let listener = listen(&self.namespace, SocketAddr::from((METADATA_ADDRESS, 80)))?;
            let plan = self.plan.clone();
            serve_http(&tasks, listener, move |request| {
                let response = respond(mode, &plan, &request);
                async move {
                    if let MetadataMode::Slow(delay) = mode {
                        tokio::time::sleep(delay).await;
                    }
                    Some(response)
                }
            });
            *running = Some(tasks);
        }
        Ok(())
    }

    /// Ends the endpoint's tasks.
    pub async fn stop(&self) {
        if let Some(tasks) = self.running.lock().await.take() {
            tasks.stop().await;
        }
    }
}

fn respond<B>(mode: MetadataMode, plan: &HostPlan, request: &Request<B>) -> Response<Body> {
    let with_tokens = mode != MetadataMode::Version1;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let path = request.uri().path();
    if request.method() == Method::PUT {
        return match path {
            "/latest/api/token" if with_tokens => match header("x-aws-ec2-metadata-token-ttl-seconds") {
                Some(seconds)
                    if seconds
                        .parse::<u32>()
                        .is_ok_and(|seconds| (1..=21_600).contains(&seconds)) =>
                {
                    answer(StatusCode::OK, TOKEN)
                }
                _ => answer(StatusCode::BAD_REQUEST, ""),
            },
            _ => answer(StatusCode::NOT_FOUND, ""),
        };
    }
    if request.method() != Method::GET {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    if with_tokens && header("x-aws-ec2-metadata-token") != Some(TOKEN) {
        return answer(StatusCode::UNAUTHORIZED, "");
    }
    match path {
        "/latest/meta-data/placement/region" => answer(StatusCode::OK, plan.region.clone()),
        "/latest/meta-data/placement/availability-zone" => answer(StatusCode::OK, plan.zone.clone()),
        "/latest/meta-data/instance-id" => answer(StatusCode::OK, format!("i-{}", plan.name)),
        "/latest/meta-data/local-ipv4" => answer(StatusCode::OK, plan.address.to_string()),
        _ => answer(StatusCode::NOT_FOUND, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn each_version_demands_and_grants_what_aws_does() {
        use MetadataMode::{Version1, Version2};
        let token = ("x-aws-ec2-metadata-token", TOKEN);
        let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let region = "/latest/meta-data/placement/region";
        let plan = Topology::demo().hosts()[1].clone();
        for (mode, method, path, header, status) in [
            (Version2, Method::PUT, "/latest/api/token", Some(lifetime), 200),
            (Version2, Method::PUT, "/latest/api/token", None, 400),
            (Version2, Method::GET, region, Some(token), 200),
            (Version2, Method::GET, region, Some((token.0, "wrong")), 401),
            (Version2, Method::GET, region, None, 401),
            (Version2, Method::GET, "/latest/meta-data/nothing", Some(token), 404),
            (Version1, Method::PUT, "/latest/api/token", Some(lifetime), 404),
            (Version1, Method::GET, region, None, 200),
        ] {
            let mut request = Request::builder().method(&method).uri(path);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let response = respond(mode, &plan, &request.body(()).unwrap());
            assert_eq!(response.status(), status, "{mode:?} {method} {path} {header:?}");
        }
    }
}
