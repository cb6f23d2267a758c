//! The document as a tree: what YAML says, with the line of everything, before any key has a meaning.

/// One value of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// 1-based line on which it starts, where known.
    pub(crate) line: Option<usize>,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing, `~` or `null`: the same as a key that is not there.
    Null,
    /// Text, number, `true` or `false`, as written: every scalar of ours has its own parser, and `circuit: 0010` keeps
    /// its zeros.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file, duplicates included.
    Mapping(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// 1-based line of the key, where known.
    pub(crate) line: Option<usize>,
    pub(crate) value: Node,
}

impl Content {
    /// Names the type for a message.
    pub(crate) const fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}
