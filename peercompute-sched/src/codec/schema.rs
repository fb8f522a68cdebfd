use super::quantise::{self, ROTATION_LIMIT, Value, ValueError};

/// The most fields of a schema.
pub const MAX_FIELDS: usize = 32;

/// The largest quantised value, and with its sign changed the smallest: 268 km at a step of 1 mm.
pub const MAX_QUANTUM: i32 = 1 << 28;

/// The most ticks that [`SchemaBuilder::horizon`] takes.
pub const MAX_HORIZON: u32 = 256;

/// [`SchemaBuilder::horizon`] where none is given: 2.1 s at 60 Hz.
pub const DEFAULT_HORIZON: u32 = 128;

/// What a field of an entity holds, and how precisely.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldKind {
    /// Yes or no.
    Flag,
    /// A whole number from `min` to `max`, both within ±[`MAX_QUANTUM`]; values outside become the nearest one inside.
    Integer {
        /// The smallest.
        min: i32,
        /// The largest.
        max: i32,
    },
    /// A number, kept as the nearest multiple of `step`: off by half a step at most.
    Scalar {
        /// Above 0. Values beyond ±[`MAX_QUANTUM`] steps become the last one.
        step: f64,
    },
    /// Two numbers that change together, such as a position on a map; each like a [`Scalar`](Self::Scalar).
    Vector2 {
        /// As for a scalar.
        step: f64,
    },
    /// Three numbers that change together, such as a position; each like a [`Scalar`](Self::Scalar).
    Vector3 {
        /// As for a scalar.
        step: f64,
    },
    /// A unit quaternion (x, y, z, w), kept as its smallest three components, each as the nearest multiple of `step`; the largest follows from them. What comes
    /// back turns by at most 3.5 × `step` radians from what went in.
    Rotation {
        /// From 0.0001 to 0.1.
        step: f64,
    },
}

impl FieldKind {
    /// How many columns of a row it takes: a rotation has the index of its largest component first.
    pub const fn columns(self) -> usize {
        match self {
            Self::Flag | Self::Integer { .. } | Self::Scalar { .. } => 1,
            Self::Vector2 { .. } => 2,
            Self::Vector3 { .. } => 3,
            Self::Rotation { .. } => 4,
        }
    }
}

/// A field of a [`Schema`], as its builder gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(pub(crate) u8);

/// A field, and where in a row it lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: String,
    pub(crate) kind: FieldKind,
    pub(crate) first: usize,
    pub(crate) len: usize,
}

/// What an entity is made of. Both ends need equal ones; [`fingerprint`](Self::fingerprint) tells.
///
/// An entity is a *row* of as many `i32` as [`columns`](Self::columns) says: its quantised values, which is what both ends agree on bit for bit.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) places: Vec<Place>,
    /// The smallest and largest value of each column.
    ranges: Vec<(i32, i32)>,
    horizon: u32,
    fingerprint: u64,
}

impl Schema {
    /// A schema without fields yet.
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder {
            fields: Vec::new(),
            horizon: DEFAULT_HORIZON,
        }
    }

    /// How many `i32` a row has.
    pub fn columns(&self) -> usize {
        self.ranges.len()
    }

    /// How many ticks back values are still remembered.
    pub fn horizon(&self) -> u32 {
        self.horizon
    }

    /// The same for schemas that understand each other, and most likely for no others: to be compared when two nodes meet. Names do not count.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// A row of zeros, with rotations that do not turn: what a new entity begins with.
    pub fn row(&self) -> Vec<i32> {
        let mut row = vec![0; self.columns()];
        for place in &self.places {
            if matches!(place.kind, FieldKind::Rotation { .. }) {
                row[place.first] = 3;
            }
        }
        for (value, (min, max)) in row.iter_mut().zip(&self.ranges) {
            *value = (*value).clamp(*min, *max);
        }
        row
    }

    /// Puts a value into a row, as near as the field's step allows. Not a number becomes 0, a rotation that is none becomes the one that does not turn, and what
    /// is out of range becomes the end of the range.
    ///
    /// # Errors
    ///
    /// Where the field is another schema's, the value of another kind, or the row of another length; the row is then as it was.
    pub fn quantise(&self, field: Field, value: Value, row: &mut [i32]) -> Result<(), ValueError> {
        let (place, columns) = self.locate(field, row.len())?;
        let row = &mut row[columns];
        quantise::quantise(place.kind, value, row).ok_or_else(|| ValueError::Kind {
            field: place.name.clone(),
            kind: place.kind,
            value,
        })
    }

    /// The value that a row holds.
    ///
    /// # Errors
    ///
    /// Where the field is another schema's, or the row of another length.
    pub fn dequantise(&self, field: Field, row: &[i32]) -> Result<Value, ValueError> {
        let (place, columns) = self.locate(field, row.len())?;
        Ok(quantise::dequantise(place.kind, &row[columns]))
    }

    /// Whether this is a row that the schema's fields can have.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, row: &[i32]) -> Result<(), ValueError> {
        if row.len() != self.columns() {
            return Err(self.wrong_length(row.len()));
        }
        for (column, (value, (min, max))) in row.iter().zip(&self.ranges).enumerate() {
            if value < min || value > max {
                return Err(ValueError::Range {
                    column,
                    value: *value,
                    min: *min,
                    max: *max,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn range(&self, column: usize) -> (i32, i32) {
        self.ranges[column]
    }

    fn locate(
        &self,
        field: Field,
        length: usize,
    ) -> Result<(&Place, std::ops::Range<usize>), ValueError> {
        let Some(place) = self.places.get(usize::from(field.0)) else {
            return Err(ValueError::UnknownField { index: field.0 });
        };
        if length != self.columns() {
            return Err(self.wrong_length(length));
        }
        Ok((place, place.first..place.first + place.len))
    }

    fn wrong_length(&self, length: usize) -> ValueError {
        ValueError::Length {
            length,
            columns: self.columns(),
        }
    }
}

/// Makes a [`Schema`].
#[derive(Clone, Debug)]
pub struct SchemaBuilder {
    fields: Vec<(String, FieldKind)>,
    horizon: u32,
}

impl SchemaBuilder {
    /// Adds a field; the name is for error messages. The order counts: what comes first is coded first and helps to foresee the rest, so put what tells whether an
    /// entity moves before what moves.
    pub fn field(&mut self, name: impl Into<String>, kind: FieldKind) -> Field {
        let field = Field(self.fields.len().min(255) as u8);
        self.fields.push((name.into(), kind));
        field
    }

    /// How many ticks a value is remembered at both ends, 1 to [`MAX_HORIZON`], [`DEFAULT_HORIZON`] at first. An entity that was not sent for longer is sent in full. The
    /// sender keeps that many states of its world.
    pub fn horizon(&mut self, ticks: u32) -> &mut Self {
        self.horizon = ticks;
        self
    }

    /// The schema.
    ///
    /// # Errors
    ///
    /// The first field that cannot be, or too many of them, or none.
    pub fn build(self) -> Result<Schema, SchemaError> {
        if self.fields.is_empty() || self.fields.len() > MAX_FIELDS {
            return Err(SchemaError::FieldCount {
                count: self.fields.len(),
            });
        }
        if !(1..=MAX_HORIZON).contains(&self.horizon) {
            return Err(SchemaError::Horizon {
                ticks: self.horizon,
            });
        }
        let (mut places, mut ranges) = (Vec::new(), Vec::new());
        for (name, kind) in self.fields {
            let (first, len) = (ranges.len(), kind.columns());
            match kind {
                FieldKind::Flag => ranges.push((0, 1)),
                FieldKind::Integer { min, max } => {
                    if min >= max || min < -MAX_QUANTUM || max > MAX_QUANTUM {
                        return Err(SchemaError::Range { name, min, max });
                    }
                    ranges.push((min, max));
                }
                FieldKind::Scalar { step }
                | FieldKind::Vector2 { step }
                | FieldKind::Vector3 { step } => {
                    // Written so that what is not a number is refused, too.
                    if !(step > 0.0 && step.is_finite()) {
                        return Err(SchemaError::Step { name, step });
                    }
                    ranges.extend(std::iter::repeat_n((-MAX_QUANTUM, MAX_QUANTUM), len));
                }
                FieldKind::Rotation { step } => {
                    if !(0.0001..=0.1).contains(&step) {
                        return Err(SchemaError::Step { name, step });
                    }
                    let limit = (ROTATION_LIMIT / step).round() as i32;
                    ranges.push((0, 3));
                    ranges.extend([(-limit, limit); 3]);
                }
            }
            places.push(Place {
                name,
                kind,
                first,
                len,
            });
        }
        let fingerprint = fingerprint(&places, self.horizon);
        Ok(Schema {
            places,
            ranges,
            horizon: self.horizon,
            fingerprint,
        })
    }
}

/// Why there is no such schema.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No field, or too many.
    #[error("a schema has 1 to {MAX_FIELDS} fields, this one {count}")]
    FieldCount {
        /// How many there are.
        count: usize,
    },
    /// The range is empty, or beyond what a column holds.
    #[error(
        "field {name}: the range {min} to {max} must not be empty and lie within ±{MAX_QUANTUM}"
    )]
    Range {
        /// The field.
        name: String,
        /// The smallest value.
        min: i32,
        /// The largest value.
        max: i32,
    },
    /// The step is none.
    #[error("field {name}: the step {step} must be above 0, that of a rotation from 0.0001 to 0.1")]
    Step {
        /// The field.
        name: String,
        /// The step.
        step: f64,
    },
    /// The horizon is out of range.
    #[error("a horizon has 1 to {MAX_HORIZON} ticks, not {ticks}")]
    Horizon {
        /// What was asked for.
        ticks: u32,
    },
}

fn fingerprint(places: &[Place], horizon: u32) -> u64 {
    let mut hash = Fnv::default();
    hash.add(u64::from(horizon));
    for place in places {
        match place.kind {
            FieldKind::Flag => hash.add(1),
            FieldKind::Integer { min, max } => {
                hash.add(2);
                hash.add(u64::from(min.cast_unsigned()) << 32 | u64::from(max.cast_unsigned()));
            }
            FieldKind::Scalar { step } => hash.add_step(3, step),
            FieldKind::Vector2 { step } => hash.add_step(4, step),
            FieldKind::Vector3 { step } => hash.add_step(5, step),
            FieldKind::Rotation { step } => hash.add_step(6, step),
        }
    }
    hash.0
}

/// FNV-1a over whole numbers.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, value: u64) {
        for byte in value.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_step(&mut self, kind: u64, step: f64) {
        self.add(kind);
        self.add(step.to_bits());
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}
