//! What `http` is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;
use xprober_config::duration;

/// Arguments of `http`.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// What to fetch, http or https.
    #[arg(value_name = "URL", value_parser = web_url)]
    pub url: Url,
    /// Limit for the whole probe.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive)]
    pub timeout: Duration,
    /// PEM file with certificate authorities, beside the system's.
    #[arg(long = "ca-file", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print one JSON object instead of the picture.
    #[arg(long)]
    pub json: bool,
}

fn web_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "use an absolute http or https URL, as in https://api.example.com/health".to_owned())
}

fn positive(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).map_err(|error| error.to_string())?;
    if parsed.is_zero() {
        return Err("use a duration above 0s".to_owned());
    }
    Ok(parsed)
}
