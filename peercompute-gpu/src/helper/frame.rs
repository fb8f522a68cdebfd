//! What a node and its helper say to each other: frames of a length (4 bytes, little-endian) and that many bytes, of which the first is the kind.

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::{BackendChoice, GpuOptions, Power, wgsl::MAX_SOURCE};

/// Bytes of an input at most: 64 MiB.
pub const MAX_INPUT: usize = 64 << 20;

/// Bytes of an output at most: 64 MiB.
pub const MAX_OUTPUT: usize = 64 << 20;

/// Bytes of the uniforms at most: 64 KiB, which is what every device has.
pub const MAX_UNIFORMS: usize = 64 << 10;

/// Bytes of an entry point's name at most.
pub const MAX_ENTRY: usize = 256;

/// Bytes of an error's text at most.
pub const MAX_MESSAGE: usize = 8192;

/// Bytes of a frame at most; whoever announces more has failed.
pub const MAX_FRAME: usize = MAX_INPUT + MAX_SOURCE + MAX_UNIFORMS + 4096;

/// A shader, and what it is to be run with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Its text in WGSL.
    pub source: String,
    /// The entry point.
    pub entry: String,
    /// Workgroups along each axis.
    pub workgroups: [u32; 3],
    /// Bytes of the result.
    pub output_bytes: u64,
    /// What binding 2 holds.
    pub uniforms: Vec<u8>,
    /// What binding 0 holds.
    pub input: Vec<u8>,
}

impl Request {
    /// A shader to be run with no input and no uniforms.
    pub fn new(
        source: impl Into<String>,
        entry: impl Into<String>,
        workgroups: [u32; 3],
        output_bytes: u64,
    ) -> Self {
        Self {
            source: source.into(),
            entry: entry.into(),
            workgroups,
            output_bytes,
            uniforms: Vec::new(),
            input: Vec::new(),
        }
    }

    /// With this input.
    #[must_use]
    pub fn with_input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// With these uniforms.
    #[must_use]
    pub fn with_uniforms(mut self, uniforms: Vec<u8>) -> Self {
        self.uniforms = uniforms;
        self
    }

    /// Fails if a part is too large for the helper.
    pub(super) fn check(&self) -> Result<(), FrameError> {
        for (what, bytes, limit) in [
            ("source", self.source.len() as u64, MAX_SOURCE),
            ("entry point's name", self.entry.len() as u64, MAX_ENTRY),
            ("input", self.input.len() as u64, MAX_INPUT),
            ("uniforms", self.uniforms.len() as u64, MAX_UNIFORMS),
            ("output", self.output_bytes, MAX_OUTPUT),
        ] {
            if bytes > limit as u64 {
                return Err(FrameError::TooLarge { what, bytes, limit });
            }
        }
        Ok(())
    }
}

/// One thing that is said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Frame {
    /// To the helper, first: open this device.
    Open(Choice),
    /// From the helper: the device is open; its name.
    Ready(String),
    /// From the helper: there is no device; why not.
    NoDevice(String),
    /// To the helper: run this.
    Run(Request),
    /// From the helper: the result.
    Done(Vec<u8>),
    /// From the helper: the shader or its request is refused; why.
    Refused(String),
    /// From the helper: the device failed; why.
    Failed(String),
}

/// Which device the helper opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    backend: u8,
    power: u8,
    software: bool,
    index: Option<u32>,
    name: Option<String>,
}

impl Choice {
    /// The device that these options choose; their bounds are the helper's own.
    pub fn of(options: &GpuOptions) -> Self {
        let (backend, power, software, index, name) = options.choice();
        Self {
            backend: match backend {
                BackendChoice::Any => 0,
                BackendChoice::Vulkan => 1,
                BackendChoice::Metal => 2,
                BackendChoice::Dx12 => 3,
                BackendChoice::Browser => 4,
            },
            power: (power == Power::Low).into(),
            software,
            index: index.and_then(|index| u32::try_from(index).ok()),
            name: name.map(|name| name.chars().take(MAX_ENTRY / 4).collect()),
        }
    }

    pub(super) fn options(&self) -> GpuOptions {
        let backend = match self.backend {
            1 => BackendChoice::Vulkan,
            2 => BackendChoice::Metal,
            3 => BackendChoice::Dx12,
            4 => BackendChoice::Browser,
            _ => BackendChoice::Any,
        };
        let power = if self.power == 1 {
            Power::Low
        } else {
            Power::High
        };
        let mut options = GpuOptions::new()
            .with_backend(backend)
            .with_power(power)
            .with_software(self.software);
        if let Some(index) = self.index {
            options = options.with_index(index as usize);
        }
        if let Some(name) = &self.name {
            options = options.with_name(name);
        }
        options
    }
}

/// Why bytes are no frame, or a request does not fit into one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A part is too large.
    #[error("{bytes} bytes of {what}; at most {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// The bytes end too soon, or go on too long, or are no text where text must be.
    #[error("a frame of {bytes} bytes that is none of the protocol's")]
    Malformed {
        /// Its size.
        bytes: usize,
    },
    /// A frame longer than any is.
    #[error("a frame of {bytes} bytes is announced; at most {MAX_FRAME}")]
    TooLong {
        /// What is announced.
        bytes: u32,
    },
    /// The pipe.
    #[error("the pipe to the other process: {message}")]
    Pipe {
        /// What the system says.
        message: String,
    },
}

/// What begins the first frame of each side, so that a program that is no helper is found out.
const MAGIC: &[u8; 8] = b"pcgpu\x00\x01\n";

impl Frame {
    /// The frame's bytes, without their length.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Open(choice) => {
                out.push(0);
                out.extend_from_slice(MAGIC);
                out.extend([choice.backend, choice.power, choice.software.into()]);
                out.extend(choice.index.unwrap_or(u32::MAX).to_le_bytes());
                out.push(choice.name.is_some().into());
                put(&mut out, choice.name.as_deref().unwrap_or("").as_bytes());
            }
            Self::Ready(name) => {
                out.push(1);
                out.extend_from_slice(MAGIC);
                put(&mut out, short(name).as_bytes());
            }
            Self::NoDevice(why) => {
                out.push(2);
                put(&mut out, short(why).as_bytes());
            }
            Self::Run(request) => {
                out.reserve(
                    request.input.len() + request.source.len() + request.uniforms.len() + 512,
                );
                out.push(3);
                for side in request.workgroups {
                    out.extend(side.to_le_bytes());
                }
                out.extend(request.output_bytes.to_le_bytes());
                put(&mut out, request.source.as_bytes());
                put(&mut out, request.entry.as_bytes());
                put(&mut out, &request.uniforms);
                put(&mut out, &request.input);
            }
            Self::Done(output) => {
                out.reserve(output.len() + 8);
                out.push(4);
                put(&mut out, output);
            }
            Self::Refused(why) => {
                out.push(5);
                put(&mut out, short(why).as_bytes());
            }
            Self::Failed(why) => {
                out.push(6);
                put(&mut out, short(why).as_bytes());
            }
        }
        out
    }

    /// Reads a frame from its bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError::Malformed`] or [`FrameError::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let malformed = || FrameError::Malformed { bytes: bytes.len() };
        let mut rest = Rest(bytes);
        let frame = (|| {
            Some(match rest.byte()? {
                0 => {
                    rest.magic()?;
                    let choice = Choice {
                        backend: rest.byte()?,
                        power: rest.byte()?,
                        software: rest.byte()? == 1,
                        index: Some(rest.u32()?).filter(|index| *index != u32::MAX),
                        name: None,
                    };
                    let named = rest.byte()? == 1;
                    let name = rest.text(MAX_ENTRY)?;
                    Self::Open(Choice {
                        name: named.then_some(name),
                        ..choice
                    })
                }
                1 => {
                    rest.magic()?;
                    Self::Ready(rest.text(MAX_MESSAGE)?)
                }
                2 => Self::NoDevice(rest.text(MAX_MESSAGE)?),
                3 => Self::Run(Request {
                    workgroups: [rest.u32()?, rest.u32()?, rest.u32()?],
                    output_bytes: rest.u64()?,
                    source: rest.text(MAX_SOURCE)?,
                    entry: rest.text(MAX_ENTRY)?,
                    uniforms: rest.part(MAX_UNIFORMS)?.to_vec(),
                    input: rest.part(MAX_INPUT)?.to_vec(),
                }),
                4 => Self::Done(rest.part(MAX_OUTPUT)?.to_vec()),
                5 => Self::Refused(rest.text(MAX_MESSAGE)?),
                6 => Self::Failed(rest.text(MAX_MESSAGE)?),
                _ => return None,
            })
        })()
        .filter(|_| rest.0.is_empty())
        .ok_or_else(malformed)?;
        if let Self::Run(request) = &frame {
            request.check()?;
        }
        Ok(frame)
    }

    /// Writes the frame with its length.
    ///
    /// # Errors
    ///
    /// [`FrameError::Pipe`].
    pub(super) fn write(&self, to: &mut impl Write) -> Result<(), FrameError> {
        let bytes = self.encode();
        let length = u32::try_from(bytes.len()).expect("the parts of a frame are bounded");
        to.write_all(&length.to_le_bytes())
            .and_then(|()| to.write_all(&bytes))
            .and_then(|()| to.flush())
            .map_err(|error| pipe(&error))
    }

    /// Reads a frame with its length; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub(super) fn read(from: &mut impl Read) -> Result<Option<Self>, FrameError> {
        let mut length = [0; 4];
        if let Err(error) = from.read_exact(&mut length) {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(None),
                _ => Err(pipe(&error)),
            };
        }
        let length = u32::from_le_bytes(length);
        if length as usize > MAX_FRAME {
            return Err(FrameError::TooLong { bytes: length });
        }
        // Memory grows with what comes, not with what is announced.
        let mut bytes = Vec::new();
        from.take(length.into())
            .read_to_end(&mut bytes)
            .map_err(|error| pipe(&error))?;
        if bytes.len() < length as usize {
            return Ok(None);
        }
        Self::decode(&bytes).map(Some)
    }
}

fn pipe(error: &io::Error) -> FrameError {
    FrameError::Pipe {
        message: error.to_string(),
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("the parts of a frame are bounded");
    out.extend(length.to_le_bytes());
    out.extend_from_slice(part);
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE)]
}

/// What is left of a frame.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn magic(&mut self) -> Option<()> {
        (self.take(MAGIC.len())? == MAGIC).then_some(())
    }

    fn part(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        (length <= limit).then(|| self.take(length)).flatten()
    }

    fn text(&mut self, limit: usize) -> Option<String> {
        let part = self.part(limit)?;
        std::str::from_utf8(part).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        Request::new("source", "main", [3, 2, 1], 77)
            .with_input(vec![1; 9])
            .with_uniforms(vec![2; 5])
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let choice = Choice::of(&GpuOptions::new().with_name("llvm").with_software(true));
        for frame in [
            Frame::Open(choice),
            Frame::Open(Choice::default()),
            Frame::Ready("a device".to_owned()),
            Frame::NoDevice("none".to_owned()),
            Frame::Run(request()),
            Frame::Done(vec![5; 100]),
            Frame::Refused("no".to_owned()),
            Frame::Failed("it broke".to_owned()),
        ] {
            let mut bytes = Vec::new();
            frame.write(&mut bytes).expect("memory");
            let again = Frame::read(&mut bytes.as_slice())
                .expect("it is one")
                .expect("it is whole");
            assert_eq!(again.encode(), frame.encode());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut bytes: &[u8] = &[0xff; 8];
        let error = Frame::read(&mut bytes).expect_err("4 GiB");
        assert_eq!(error, FrameError::TooLong { bytes: u32::MAX });
    }

    #[test]
    fn a_stream_that_ends_in_a_frame_has_ended() {
        let mut bytes = Vec::new();
        Frame::Run(request()).write(&mut bytes).expect("memory");
        bytes.pop();
        assert!(matches!(Frame::read(&mut bytes.as_slice()), Ok(None)));
    }

    #[test]
    fn an_output_that_is_too_large_is_refused_by_name() {
        let frame = Frame::Run(Request::new("", "", [1; 3], u64::MAX));
        assert!(matches!(
            Frame::decode(&frame.encode()),
            Err(FrameError::TooLarge { what: "output", .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if let Ok(frame) = Frame::decode(&bytes) {
                // What is accepted means the same the next time.
                prop_assert_eq!(Frame::decode(&frame.encode()).expect("again").encode(), frame.encode());
            }
        }
    }
}
