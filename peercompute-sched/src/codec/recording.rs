use super::quantise::{Value, ValueError};
use super::schema::{Field, FieldKind, Schema, SchemaError};

/// The most cubes that a [`Recording`] may have.
pub const MAX_RECORDING_CUBES: u32 = super::MAX_ENTITIES as u32;

/// The most frames that a [`Recording`] may have: an hour at 60 Hz.
pub const MAX_RECORDING_FRAMES: u32 = 216_000;

const MAGIC: [u8; 4] = *b"PCQ1";
const HEADER: usize = 16;
/// Position, rotation, and whether it is awake.
const CUBE: usize = 3 * 4 + 4 * 4 + 1;

/// A recorded scene of rigid bodies, to measure codecs on.
///
/// Little endian: `PCQ1`, u32 cubes, u32 frames, f32 hertz; then for each frame and cube f32 x, y, z in metres, f32 x, y, z, w of a unit quaternion, u8 awake.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    cubes: usize,
    frames: usize,
    hertz: f32,
    bytes: &'a [u8],
}

/// Why bytes are no recording.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It begins with something else.
    #[error(
        "a recording begins with PCQ1 and has a header of {HEADER} bytes; this is something else"
    )]
    Magic,
    /// There is nothing in it, or too much.
    #[error(
        "a recording has 1 to {MAX_RECORDING_CUBES} cubes and 1 to {MAX_RECORDING_FRAMES} frames at a rate above 0; this one has {cubes} and {frames} at {hertz} Hz"
    )]
    Size {
        /// Cubes that it says to have.
        cubes: u32,
        /// Frames that it says to have.
        frames: u32,
        /// Its rate.
        hertz: f32,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{cubes} cubes and {frames} frames make {expected} bytes, the file has {bytes}: it was cut or is damaged"
    )]
    Length {
        /// Cubes that it says to have.
        cubes: u32,
        /// Frames that it says to have.
        frames: u32,
        /// What that makes.
        expected: u64,
        /// What there is.
        bytes: usize,
    },
}

impl<'a> Recording<'a> {
    /// Reads the header, and looks whether all is there.
    ///
    /// # Errors
    ///
    /// See [`RecordingError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordingError> {
        if bytes.len() < HEADER || bytes[..4] != MAGIC {
            return Err(RecordingError::Magic);
        }
        let word = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("there are 4 bytes"))
        };
        let (cubes, frames, hertz) = (word(4), word(8), f32::from_bits(word(12)));
        let fits = (1..=MAX_RECORDING_CUBES).contains(&cubes)
            && (1..=MAX_RECORDING_FRAMES).contains(&frames)
            && hertz > 0.0
            && hertz.is_finite();
        if !fits {
            return Err(RecordingError::Size {
                cubes,
                frames,
                hertz,
            });
        }
        let expected = HEADER as u64 + u64::from(cubes) * u64::from(frames) * CUBE as u64;
        if bytes.len() as u64 != expected {
            return Err(RecordingError::Length {
                cubes,
                frames,
                expected,
                bytes: bytes.len(),
            });
        }
        Ok(Self {
            cubes: cubes as usize,
            frames: frames as usize,
            hertz,
            bytes: &bytes[HEADER..],
        })
    }

    /// How many cubes each frame has.
    pub fn cubes(&self) -> usize {
        self.cubes
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Frames a second.
    pub fn hertz(&self) -> f32 {
        self.hertz
    }

    /// What its cubes are made of, at these steps in metres and of the smallest three.
    ///
    /// # Errors
    ///
    /// Where a step is none.
    pub fn schema(position: f64, rotation: f64) -> Result<(Schema, [Field; 3]), SchemaError> {
        let mut schema = Schema::builder();
        let fields = [
            schema.field("awake", FieldKind::Flag),
            schema.field("position", FieldKind::Vector3 { step: position }),
            schema.field("rotation", FieldKind::Rotation { step: rotation }),
        ];
        Ok((schema.build()?, fields))
    }

    /// Quantises one cube at one frame, both of which must be there.
    ///
    /// # Errors
    ///
    /// Where schema, fields and row are not those of [`schema`](Self::schema).
    ///
    /// # Panics
    ///
    /// Where the recording has no such frame or cube.
    pub fn quantise(
        &self,
        frame: usize,
        cube: usize,
        schema: &Schema,
        fields: [Field; 3],
        row: &mut [i32],
    ) -> Result<(), ValueError> {
        assert!(
            frame < self.frames && cube < self.cubes,
            "the recording has {} frames of {} cubes",
            self.frames,
            self.cubes
        );
        let bytes = &self.bytes[(frame * self.cubes + cube) * CUBE..][..CUBE];
        let float = |index: usize| {
            f32::from_le_bytes(
                bytes[4 * index..4 * index + 4]
                    .try_into()
                    .expect("there are 4 bytes"),
            )
        };
        schema.quantise(fields[0], Value::Flag(bytes[CUBE - 1] != 0), row)?;
        schema.quantise(fields[1], Value::Vector3([0, 1, 2].map(float)), row)?;
        schema.quantise(fields[2], Value::Rotation([3, 4, 5, 6].map(float)), row)
    }
}
