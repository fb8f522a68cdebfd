/// Why bytes were refused. Every case is the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message is larger than any of its kind may be.
    #[error(
        "{message} of {size} bytes is larger than the {limit} allowed; the sender must split it"
    )]
    TooLarge {
        /// The message's name.
        message: &'static str,
        /// Its size in bytes, or what its frame announced.
        size: u64,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// A repeated field has more elements than it may.
    #[error(
        "{field} has more than the {limit} elements allowed; the sender must split the message"
    )]
    TooMany {
        /// The field, as `Message.field`.
        field: &'static str,
        /// The most elements that it may have.
        limit: usize,
    },
    /// A field is longer than it may be.
    #[error("{field} of {size} bytes is longer than the {limit} allowed")]
    FieldTooLong {
        /// The field, as `Message.field`.
        field: &'static str,
        /// Its length in bytes.
        size: usize,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// A field that always has the same length has another one, or is not there.
    #[error("{field} has {size} bytes where it must have {expected}")]
    FieldLength {
        /// The field, as `Message.field`.
        field: &'static str,
        /// Its length in bytes; 0 where it is not there.
        size: usize,
        /// The bytes that it must have.
        expected: usize,
    },
    /// Messages or groups lie deeper inside each other than they may.
    #[error("{message} is nested deeper than the {limit} levels allowed")]
    TooDeep {
        /// The outermost message's name.
        message: &'static str,
        /// The most levels that it may have.
        limit: u32,
    },
    /// The length before a frame is no varint, or longer than any length can be.
    #[error(
        "the length before a {message} is no varint of at most {limit} bytes; the other end speaks another protocol or is out of step"
    )]
    BadFrameLength {
        /// The message's name.
        message: &'static str,
        /// The most bytes that a length may take.
        limit: usize,
    },
    /// The bytes are no protobuf message of this kind.
    #[error("malformed {message}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// What prost says about it.
        source: prost::DecodeError,
    },
}

impl DecodeError {
    /// A short name of the case, the same in every release: for metrics, logs and the bad golden vectors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::TooMany { .. } => "too_many",
            Self::FieldTooLong { .. } => "field_too_long",
            Self::FieldLength { .. } => "field_length",
            Self::TooDeep { .. } => "too_deep",
            Self::BadFrameLength { .. } => "bad_frame_length",
            Self::Malformed { .. } => "malformed",
        }
    }
}
