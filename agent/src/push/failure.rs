//! Why requests do not arrive: the answer to "why is there no data?".

use http::StatusCode;

/// Why an attempt failed; the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureReason {
    /// The host name does not resolve.
    Dns,
    /// Nobody listens at the port.
    Refused,
    /// No route leads to the host.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// TLS failed: a certificate that is not trusted, expired or for another name, or ours was not taken.
    Tls,
    /// The connection was cut.
    Closed,
    /// What came back is not HTTP.
    Protocol,
    /// The URL leads elsewhere (3xx, or 1xx).
    Redirect,
    /// Credentials are missing or wrong (401, 403).
    Unauthorized,
    /// No receiver behind the URL's path (404, 405).
    NotFound,
    /// Samples older than what the receiver has or takes.
    OutOfOrder,
    /// Another value for a timestamp that the receiver has.
    DuplicateTimestamp,
    /// Samples that the receiver holds to be from the future.
    Clock,
    /// The request was refused for what is in it (other 4xx).
    BadRequest,
    /// The request is larger than the receiver takes (413).
    TooLarge,
    /// The receiver does not read this spelling (415), or read it and stored nothing.
    Unsupported,
    /// Too many requests (429).
    RateLimited,
    /// The receiver, or the one behind the proxy, is not there now (502, 503, 504).
    Unavailable,
    /// The receiver fails (other 5xx).
    ServerError,
}

impl FailureReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::Tls,
        Self::Closed,
        Self::Protocol,
        Self::Redirect,
        Self::Unauthorized,
        Self::NotFound,
        Self::OutOfOrder,
        Self::DuplicateTimestamp,
        Self::Clock,
        Self::BadRequest,
        Self::TooLarge,
        Self::Unsupported,
        Self::RateLimited,
        Self::Unavailable,
        Self::ServerError,
    ];

    /// Spells the reason as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::OutOfOrder => "out_of_order",
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::Clock => "clock",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// Says what it means and what to do, for the log.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Dns => "the host of the URL does not resolve: check its spelling and the resolver of this host",
            Self::Refused => "nobody listens at host and port of the URL: check both, and whether the database runs",
            Self::Unreachable => "no route leads to the host of the URL: check the network and firewalls",
            Self::Timeout => "no answer in time: check firewalls, the load of the database, and the key timeout",
            Self::Tls => "TLS failed: check tls.ca_file, tls.server_name, the dates of the certificates, tls.cert_file",
            Self::Closed => "the connection was cut: check the database, and proxies between it and this host",
            Self::Protocol => "what answers does not speak HTTP: check scheme and port of the URL",
            Self::Redirect => "the URL leads elsewhere, and redirects are not followed: use the URL that it leads to",
            Self::Unauthorized => {
                "credentials are missing, wrong or not enough: check basic_auth, authorization, sigv4, headers"
            }
            Self::NotFound => {
                "no receiver at the path of the URL: Prometheus needs --web.enable-remote-write-receiver and /api/v1/write"
            }
            Self::OutOfOrder => {
                "samples are older than what the database has or takes: check for a second agent of the same name, \
                 the clock of this host, and out_of_order_time_window of the database"
            }
            Self::DuplicateTimestamp => {
                "another value is stored for the same time: check for a second agent of the same name"
            }
            Self::Clock => {
                "samples are ahead of the database's clock: check the clocks of this host and of the database"
            }
            Self::BadRequest => "the database refuses what is in the request: see the error",
            Self::TooLarge => "the request is too large: lower push.max_samples_per_request",
            Self::Unsupported => "the database does not take this spelling: check protocol and histograms",
            Self::RateLimited => "the database asks for less: raise its limits or push.interval",
            Self::Unavailable => "the database, or the one behind the proxy, is not available now",
            Self::ServerError => "the database fails: see its log",
        }
    }

    /// Tells whether a receiver looked into the request and did not like what it saw.
    #[must_use]
    pub const fn is_about_data(self) -> bool {
        match self {
            Self::OutOfOrder | Self::DuplicateTimestamp | Self::Clock | Self::BadRequest => true,
            Self::Dns
            | Self::Refused
            | Self::Unreachable
            | Self::Timeout
            | Self::Tls
            | Self::Closed
            | Self::Protocol
            | Self::Redirect
            | Self::Unauthorized
            | Self::NotFound
            | Self::TooLarge
            | Self::Unsupported
            | Self::RateLimited
            | Self::Unavailable
            | Self::ServerError => false,
        }
    }

    /// Classifies a status that is no success, with the beginning of its body.
    ///
    /// The words are those of Prometheus (`storage/interface.go`) and Mimir; `VictoriaMetrics` refuses nothing of the kind.
    #[must_use]
    pub fn of_response(status: StatusCode, body: &str) -> Self {
        match status.as_u16() {
            ..400 => Self::Redirect,
            401 | 403 => Self::Unauthorized,
            404 | 405 => Self::NotFound,
            413 => Self::TooLarge,
            415 => Self::Unsupported,
            429 => Self::RateLimited,
            400..500 => Self::of_refusal(&body.to_ascii_lowercase()),
            502..=504 => Self::Unavailable,
            500.. => Self::ServerError,
        }
    }

    fn of_refusal(body: &str) -> Self {
        const WORDS: [(&str, FailureReason); 9] = [
            ("far in the future", FailureReason::Clock),
            ("too-far-in-future", FailureReason::Clock),
            ("duplicate sample", FailureReason::DuplicateTimestamp),
            ("duplicate-timestamp", FailureReason::DuplicateTimestamp),
            ("out of order", FailureReason::OutOfOrder),
            ("out-of-order", FailureReason::OutOfOrder),
            ("out of bounds", FailureReason::OutOfOrder),
            ("too old", FailureReason::OutOfOrder),
            ("too-old", FailureReason::OutOfOrder),
        ];
        let said = WORDS.into_iter().find(|(words, _)| body.contains(words));
        said.map_or(Self::BadRequest, |(_, reason)| reason)
    }
}

/// Failed attempts, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures([u64; FailureReason::ALL.len()]);

impl Failures {
    /// Attempts that failed for `reason`.
    #[must_use]
    pub const fn get(&self, reason: FailureReason) -> u64 {
        self.0[reason as usize]
    }

    /// Counts one more.
    pub const fn count(&mut self, reason: FailureReason) {
        self.0[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_number_and_name() {
        for (number, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        let mut names = FailureReason::ALL.map(FailureReason::as_str);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn an_answer_says_why() {
        use FailureReason as R;
        for (status, body, reason) in [
            (101, "", R::Redirect),
            (301, "", R::Redirect),
            (400, "", R::BadRequest),
            (400, "snappy: corrupt input", R::BadRequest),
            (400, "out of order sample", R::OutOfOrder),
            (400, "Out of bounds", R::OutOfOrder),
            (400, "too old sample", R::OutOfOrder),
            (400, "err-mimir-sample-out-of-order", R::OutOfOrder),
            (400, "duplicate sample for timestamp", R::DuplicateTimestamp),
            (400, "out of bounds: timestamp is too far in the future", R::Clock),
            (400, "err-mimir-too-far-in-future", R::Clock),
            (401, "", R::Unauthorized),
            (403, "out of order", R::Unauthorized),
            (404, "", R::NotFound),
            (405, "", R::NotFound),
            (413, "", R::TooLarge),
            (415, "", R::Unsupported),
            (422, "", R::BadRequest),
            (429, "", R::RateLimited),
            (500, "out of order sample", R::ServerError),
            (502, "", R::Unavailable),
            (503, "", R::Unavailable),
            (504, "", R::Unavailable),
            (599, "", R::ServerError),
            (999, "", R::ServerError),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(R::of_response(status, body), reason, "{status} {body}");
        }
    }
}
