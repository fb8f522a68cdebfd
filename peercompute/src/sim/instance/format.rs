//! The file as it is written: JSON, read as it comes, with everything that has a number bounded before it is kept.

use std::{fmt, io::Read, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{InstanceError, MAX_EVENTS, MAX_LINKS, MAX_NODES};

/// What is missing is found later, where the field can be named.
#[derive(Deserialize)]
pub(super) struct RawInstance {
    pub(super) name: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) task: Option<Object<RawTask>>,
    pub(super) nodes: Option<List<Object<RawNode>, MAX_NODES>>,
    pub(super) links: Option<List<RawLink, MAX_LINKS>>,
    pub(super) events: Option<List<RawEvent, MAX_EVENTS>>,
    #[serde(default, deserialize_with = "number")]
    pub(super) duration_s: Option<f64>,
    pub(super) max_degree: Option<u32>,
    #[serde(default, deserialize_with = "number")]
    pub(super) optimum_tasks: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) optimum_tasks_per_s: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct RawTask {
    #[serde(default, deserialize_with = "number")]
    pub(super) input_bytes: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) output_bytes: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct RawNode {
    #[serde(default, deserialize_with = "number")]
    pub(super) compute: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) up: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) down: Option<f64>,
    #[serde(default)]
    pub(super) source: bool,
}

pub(super) struct RawLink {
    pub(super) ends: [usize; 2],
    pub(super) rates: [f64; 2],
    pub(super) latency_ms: f64,
}

pub(super) struct RawEvent {
    pub(super) at: f64,
    pub(super) node: usize,
    pub(super) leaves: bool,
}

/// What is written as an object, and only so: by themselves derived structures take lists of their fields, too.
pub(super) struct Object<T>(pub(super) T);

/// The words for it.
trait Described {
    /// What is expected.
    const WHAT: &'static str;
    /// What to do about a list in its place.
    const REMEDY: &'static str;
}

impl Described for RawInstance {
    const WHAT: &'static str = "an object with \"mode\", \"task\", \"nodes\" and \"links\"";
    const REMEDY: &'static str = "write each network into a file of its own";
}

impl Described for RawTask {
    const WHAT: &'static str = "an object with \"input_bytes\" and \"output_bytes\"";
    const REMEDY: &'static str = "name its fields";
}

impl Described for RawNode {
    const WHAT: &'static str = "an object with \"compute\", \"up\" and \"down\"";
    const REMEDY: &'static str = "name its fields";
}

/// A list that is not read on beyond its bound.
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

/// Reads one instance, and nothing after it.
pub(super) fn read(reader: impl Read) -> Result<RawInstance, InstanceError> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    let Object(raw) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        // What ends in the middle of a name has a question mark for it.
        let path = path.trim_end_matches('?').trim_end_matches('.');
        if path.is_empty() || inner.is_io() {
            InstanceError::file(inner.to_string())
        } else {
            InstanceError {
                message: format!("{path}: {inner}"),
                field: path.to_owned(),
            }
        }
    })?;
    json.end()
        .map_err(|error| InstanceError::file(format!("goes on after its end: {error}")))?;
    Ok(raw)
}

/// A number of any kind; serde's own words for it are those of Rust.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
        }

        deserializer.deserialize_f64(Any)
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| number.0))
}

/// The index of a node.
struct Index(usize);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Index;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the index of a node, counted from 0")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Index, E> {
                // What does not fit is no node's index either.
                Ok(Index(usize::try_from(value).unwrap_or(usize::MAX)))
            }
        }

        deserializer.deserialize_u64(Whole)
    }
}

/// Whether a node leaves, or comes back.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawPresence {
    Leave,
    Join,
}

/// The next element of a list that has to have one.
fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    list: &mut A,
    place: usize,
    visitor: &impl Visitor<'de>,
) -> Result<T, A::Error> {
    list.next_element()?
        .ok_or_else(|| A::Error::invalid_length(place, visitor))
}

/// What a later version may have added.
fn skip_rest<'de, A: SeqAccess<'de>>(list: &mut A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> Deserialize<'de> for RawLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = RawLink;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list [a, b, bytes a second from a to b, from b to a, latency in ms]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawLink, A::Error> {
                let ends = [
                    next::<_, Index>(&mut list, 0, &self)?.0,
                    next::<_, Index>(&mut list, 1, &self)?.0,
                ];
                let rates = [
                    next::<_, Number>(&mut list, 2, &self)?.0,
                    next::<_, Number>(&mut list, 3, &self)?.0,
                ];
                let latency_ms = next::<_, Number>(&mut list, 4, &self)?.0;
                skip_rest(&mut list)?;
                Ok(RawLink {
                    ends,
                    rates,
                    latency_ms,
                })
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = RawEvent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list [seconds, node, \"leave\" or \"join\"]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawEvent, A::Error> {
                let at = next::<_, Number>(&mut list, 0, &self)?.0;
                let node = next::<_, Index>(&mut list, 1, &self)?.0;
                let presence = next::<_, RawPresence>(&mut list, 2, &self)?;
                skip_rest(&mut list)?;
                let leaves = matches!(presence, RawPresence::Leave);
                Ok(RawEvent { at, node, leaves })
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

impl<'de, T: Deserialize<'de> + Described> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Described> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WHAT)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Object<T>, A::Error> {
                let (what, remedy) = (T::WHAT, T::REMEDY);
                Err(A::Error::custom(format_args!(
                    "{remedy}: expected {what}, found an array"
                )))
            }
        }

        // As a structure: what is no map is shown to the visitor then.
        deserializer.deserialize_struct("object", &[], Fields(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX {
                        return Err(A::Error::custom(format_args!(
                            "has more than {MAX} elements, which is the most"
                        )));
                    }
                    elements.push(element);
                }
                Ok(List(elements))
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_not_read_on_beyond_its_bound() {
        let read = |text| serde_json::from_str::<List<u8, 2>>(text).map(|list| list.0);
        assert_eq!(read("[1,2]").unwrap(), [1, 2]);
        let refused = read("[1,2,3,4").unwrap_err().to_string();
        assert!(refused.contains("more than 2"), "{refused}");
    }
}
