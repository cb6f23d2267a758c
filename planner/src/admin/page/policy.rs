//! The Content-Security-Policy of the page: it may run its own script, use its own style, ask the planner again, and
//! nothing else. Both texts are inside the page and allowed by their hash (CSP level 3, section 2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// Style of the page.
pub(super) const STYLE: &str = include_str!("style.css");
/// Script of the page: asks for the page again and puts the new content in place.
pub(super) const SCRIPT: &str = include_str!("script.js");

/// The header's value.
pub(crate) fn policy() -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    )
}

fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_named_by_its_hash() {
        // The example of CSP level 2, section 7.17.3.
        assert_eq!(
            source("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }

    #[test]
    fn what_is_inside_the_page_needs_no_escaping() {
        for text in [SCRIPT, STYLE] {
            assert!(
                !text.contains("</") && !text.contains("<!--"),
                "the parser would end the element early"
            );
        }
    }
}
