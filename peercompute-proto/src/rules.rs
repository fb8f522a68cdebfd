//! The cheap look at the wire bytes that comes before prost allocates anything.
//!
//! prost alone would turn two bytes (an empty element of a repeated message) into the size of the element's struct, and copy a string before anybody can ask how
//! long it may be. So each message has a table of its counts and lengths, and [`Rules::check`] walks the bytes by it first. It reads them with prost's own
//! functions, so that the two can never disagree about where a field ends, and it refuses what does not fit into its parent, which prost would only notice
//! after it has decoded it.

use prost::encoding::{
    DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field,
};

use crate::{DecodeError, limits::MAX_DEPTH};

/// The counts and lengths that a decoder checks before it allocates: those of the schema's comments. Opaque; [`Rules::NONE`] is for messages that have none.
#[derive(Debug)]
pub struct Rules {
    pub(crate) fields: &'static [Field],
    /// No message or repeated field inside.
    flat: bool,
    /// A flat message of at most so many bytes cannot break a rule.
    harmless: usize,
}

/// One field that has a rule.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) tag: u32,
    /// As `Message.field`.
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) enum Rule {
    /// A string or bytes of at most so many bytes.
    Length(usize),
    /// Bytes of exactly this length, which must be there.
    Exactly(usize),
    /// A message.
    One(&'static Rules),
    /// At most so many messages (or entries of a map).
    Many(usize, &'static Rules),
    /// At most so many strings, each of at most so many bytes.
    Texts(usize, usize),
    /// At most so many varints, packed or not.
    Numbers(usize),
}

impl Rules {
    /// No rules.
    pub const NONE: Self = Self::new(&[]);

    pub(crate) const fn new(fields: &'static [Field]) -> Self {
        let mut flat = true;
        let mut harmless = usize::MAX;
        let mut at = 0;
        while at < fields.len() {
            // A path is a chain of tags of a byte each, see `Counts`.
            assert!(fields[at].tag < 256);
            match fields[at].rule {
                Rule::Length(limit) => {
                    if limit < harmless {
                        harmless = limit;
                    }
                }
                // It breaks its rule by not being there, so nothing is too short to be looked into.
                Rule::Exactly(_)
                | Rule::One(_)
                | Rule::Many(..)
                | Rule::Texts(..)
                | Rule::Numbers(_) => flat = false,
            }
            at += 1;
        }
        Self {
            fields,
            flat,
            harmless,
        }
    }

    /// Looks whether `bytes` keep the rules.
    pub(crate) fn check(
        &'static self,
        message: &'static str,
        bytes: &[u8],
    ) -> Result<(), DecodeError> {
        Scan {
            message,
            thorough: false,
        }
        .message(self, bytes, 0, &mut Counts::default(), 0)
    }

    /// Names the reason better, if it can, for which prost refused `bytes` that [`check`](Self::check) let through: it had skipped what can break no rule.
    #[cold]
    pub(crate) fn blame(
        &'static self,
        message: &'static str,
        bytes: &[u8],
        source: prost::DecodeError,
    ) -> DecodeError {
        match (Scan {
            message,
            thorough: true,
        })
        .message(self, bytes, 0, &mut Counts::default(), 0)
        {
            Err(deep @ DecodeError::TooDeep { .. }) => deep,
            _ => DecodeError::Malformed { message, source },
        }
    }
}

/// How many elements the repeated fields of one message have so far, and of the messages in it that are there once. Such a message may come in several
/// parts, which the decoder merges, so what is counted is the path of tags and not the occurrence.
#[derive(Default)]
struct Counts {
    paths: [(u64, usize); MAX_COUNTED],
    used: usize,
}

/// Repeated fields that one message reaches without going through another repeated field. A test holds the tables to it.
pub(crate) const MAX_COUNTED: usize = 8;

impl Counts {
    /// Adds to a path's count and returns the sum.
    fn add(&mut self, path: u64, more: usize) -> usize {
        for (known, count) in &mut self.paths[..self.used] {
            if *known == path {
                *count += more;
                return *count;
            }
        }
        let slot = self
            .paths
            .get_mut(self.used)
            .expect("no table has more counted paths than MAX_COUNTED");
        *slot = (path, more);
        self.used += 1;
        more
    }
}

struct Scan {
    message: &'static str,
    /// Also looks into messages that are too small to break a rule.
    thorough: bool,
}

impl Scan {
    fn message(
        &self,
        rules: &'static Rules,
        mut bytes: &[u8],
        depth: u32,
        counts: &mut Counts,
        path: u64,
    ) -> Result<(), DecodeError> {
        // Bit n: the nth field with a rule has been seen.
        let mut seen = 0_u32;
        while !bytes.is_empty() {
            let (tag, wire_type) =
                decode_key(&mut bytes).map_err(|source| self.malformed(source))?;
            let Some(index) = rules.fields.iter().position(|field| field.tag == tag) else {
                self.skip(wire_type, tag, &mut bytes, depth)?;
                continue;
            };
            let field = &rules.fields[index];
            seen |= 1 << index;
            let path = path << 8 | u64::from(tag);
            if let (Rule::Numbers(limit), WireType::Varint) = (&field.rule, wire_type) {
                self.count(counts, path, 1, field, *limit)?;
                self.skip(wire_type, tag, &mut bytes, depth)?;
                continue;
            }
            // prost says so too, but not of the entries of a map: those it would read as if they were length-delimited whatever their type.
            check_wire_type(WireType::LengthDelimited, wire_type)
                .map_err(|source| self.malformed(source))?;
            let value = self.value(&mut bytes)?;
            match field.rule {
                Rule::Length(limit) => too_long(field, value, limit)?,
                Rule::Exactly(expected) if value.len() == expected => {}
                Rule::Exactly(expected) => {
                    return Err(DecodeError::FieldLength {
                        field: field.name,
                        size: value.len(),
                        expected,
                    });
                }
                Rule::One(inner) => self.inner(inner, value, depth, counts, path)?,
                Rule::Many(limit, inner) => {
                    self.count(counts, path, 1, field, limit)?;
                    self.inner(inner, value, depth, &mut Counts::default(), 0)?;
                }
                Rule::Texts(limit, length) => {
                    self.count(counts, path, 1, field, limit)?;
                    too_long(field, value, length)?;
                }
                // The last byte of each varint, and no other, is below 0x80.
                Rule::Numbers(limit) => {
                    let ends = value.iter().filter(|byte| **byte < 0x80).count();
                    self.count(counts, path, ends, field, limit)?;
                }
            }
        }
        for (index, field) in rules.fields.iter().enumerate() {
            if let (Rule::Exactly(expected), 0) = (&field.rule, seen & 1 << index) {
                return Err(DecodeError::FieldLength {
                    field: field.name,
                    size: 0,
                    expected: *expected,
                });
            }
        }
        Ok(())
    }

    fn inner(
        &self,
        rules: &'static Rules,
        value: &[u8],
        depth: u32,
        counts: &mut Counts,
        path: u64,
    ) -> Result<(), DecodeError> {
        if rules.flat && value.len() <= rules.harmless && !self.thorough {
            return Ok(());
        }
        self.deeper(depth)?;
        self.message(rules, value, depth + 1, counts, path)
    }

    fn count(
        &self,
        counts: &mut Counts,
        path: u64,
        more: usize,
        field: &Field,
        limit: usize,
    ) -> Result<(), DecodeError> {
        if counts.add(path, more) > limit {
            return Err(DecodeError::TooMany {
                field: field.name,
                limit,
            });
        }
        Ok(())
    }

    /// The bytes of a length-delimited field, which must lie inside what encloses it.
    fn value<'a>(&self, bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let size = decode_varint(bytes).map_err(|source| self.malformed(source))?;
        let Some((value, rest)) = usize::try_from(size)
            .ok()
            .and_then(|size| bytes.split_at_checked(size))
        else {
            // prost's error for a value that ends too early, which it lets nobody else make.
            let source = skip_field(
                WireType::ThirtyTwoBit,
                1,
                &mut [].as_slice(),
                DecodeContext::default(),
            )
            .expect_err("four bytes are not in none");
            return Err(self.malformed(source));
        };
        *bytes = rest;
        Ok(value)
    }

    fn skip(
        &self,
        wire_type: WireType,
        tag: u32,
        bytes: &mut &[u8],
        depth: u32,
    ) -> Result<(), DecodeError> {
        self.deeper(depth)?;
        if wire_type != WireType::StartGroup {
            return skip_field(wire_type, tag, bytes, DecodeContext::default())
                .map_err(|source| self.malformed(source));
        }
        loop {
            let (inner_tag, inner_type) =
                decode_key(bytes).map_err(|source| self.malformed(source))?;
            if inner_type == WireType::EndGroup && inner_tag == tag {
                return Ok(());
            }
            self.skip(inner_type, inner_tag, bytes, depth + 1)?;
        }
    }

    fn deeper(&self, depth: u32) -> Result<(), DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::TooDeep {
                message: self.message,
                limit: MAX_DEPTH,
            });
        }
        Ok(())
    }

    fn malformed(&self, source: prost::DecodeError) -> DecodeError {
        DecodeError::Malformed {
            message: self.message,
            source,
        }
    }
}

fn too_long(field: &Field, value: &[u8], limit: usize) -> Result<(), DecodeError> {
    if value.len() > limit {
        return Err(DecodeError::FieldTooLong {
            field: field.name,
            size: value.len(),
            limit,
        });
    }
    Ok(())
}
