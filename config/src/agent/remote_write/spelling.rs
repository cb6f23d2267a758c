//! `protocol` and `histograms`: how requests are spelt.

use crate::spelling::not_one_of;
use crate::value::{InvalidValue, Parsed};

/// How requests to an endpoint are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// Remote-Write 1.0, which every receiver stores; nothing is asked.
    V1,
    /// Remote-Write 2.0 where the receiver shows that it stores it, else 1.0.
    V2,
    /// Remote-Write 1.0 compressed by zstd where the receiver says that it reads it, else by snappy.
    Zstd,
    /// The smallest that the receiver shows to take.
    Auto,
}

impl ProtocolChoice {
    const ALL: [Self; 4] = [Self::V1, Self::V2, Self::Zstd, Self::Auto];

    /// Spells the choice as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "rw1",
            Self::V2 => "rw2",
            Self::Zstd => "zstd",
            Self::Auto => "auto",
        }
    }
}

/// How histograms are sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistogramForm {
    /// One series per bucket; the only form that every receiver understands.
    Classic,
    /// One exponential histogram per series.
    Native,
    /// Both, for the time of a change.
    Both,
}

impl HistogramForm {
    const ALL: [Self; 3] = [Self::Classic, Self::Native, Self::Both];

    /// Spells the form as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Native => "native",
            Self::Both => "both",
        }
    }
}

pub(super) fn protocol(text: &str) -> Parsed<ProtocolChoice> {
    one_of(text, ProtocolChoice::ALL, ProtocolChoice::as_str)
}

pub(super) fn histograms(text: &str) -> Parsed<HistogramForm> {
    one_of(text, HistogramForm::ALL, HistogramForm::as_str)
}

fn one_of<T: Copy, const N: usize>(text: &str, all: [T; N], spell: fn(T) -> &'static str) -> Parsed<T> {
    all.into_iter()
        .find(|one| spell(*one) == text)
        .ok_or_else(|| InvalidValue::new(not_one_of(text, &all.map(spell))))
}
