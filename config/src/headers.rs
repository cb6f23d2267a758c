//! `headers:` of a request: names and values, the latter possibly secrets.

use http::{HeaderName, HeaderValue};

use crate::reader::Field;
use crate::value::{InvalidValue, header_name, header_value};

/// Reads request headers in the order of the file; a name (lower case) for which `reserved` knows a reason is refused.
pub(crate) fn read(
    field: Field<'_>,
    reserved: impl Fn(&str) -> Option<&'static str>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (written, field) in field.mapping().into_entries() {
        let name = header_name(written).and_then(|name| match reserved(name.as_str()) {
            Some(reason) => Err(InvalidValue::new(format!("cannot be set: {reason}"))),
            // The same spelling twice is told by the mapping.
            None if headers.iter().any(|(other, _)| *other == name) => {
                Err(InvalidValue::new("is given twice in different spellings"))
            }
            None => Ok(name),
        });
        let value = field.clone().required("give it a value").read(header_value);
        match (name, value) {
            (Ok(name), Some(value)) => headers.push((name, value)),
            (Ok(_), None) => {}
            (Err(error), _) => field.problem(error.to_string()),
        }
    }
    headers
}
