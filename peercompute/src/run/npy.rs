//! Matrices in files, as NumPy writes them (`numpy.save`, the format NPY of versions 1 to 3).

use std::{
    io::{self, Read, Write},
    path::Path,
};

use crate::{output, run::program};

/// What every such file begins with; two bytes of version follow.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Bytes of a header that are read: NumPy refuses longer ones, too.
const MAX_HEADER: usize = 64 << 10;

/// Headers are filled up so that the numbers begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// The type of number that is read and written: 32 bits, floating point, little endian.
const TYPE: &str = "<f4";

/// Numbers that are read and written at a time.
const BLOCK: usize = 64 << 10;

/// A matrix, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) numbers: Vec<f32>,
}

/// Reads a file of one matrix.
pub(super) fn load(path: &Path) -> Result<Matrix, String> {
    let (file, metadata) = program::regular_file(path)?;
    read(io::BufReader::new(file), metadata.len())
}

/// Reads a matrix from what is `size` bytes long.
fn read(mut source: impl Read, size: u64) -> Result<Matrix, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "ends in the middle; save it again".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let mut start = [0; 8];
    let began = match source.read_exact(&mut start) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(cannot(error)),
        began => began,
    };
    if began.is_err() || !start.starts_with(MAGIC) {
        return Err("is no .npy file; write one with numpy.save".to_owned());
    }
    let mut length = [0; 4];
    let wide = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(format!("is of version {version} of .npy; 1 to 3 are known")),
    };
    source.read_exact(&mut length[..wide]).map_err(cannot)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(format!(
            "has a header of {length} bytes; {MAX_HEADER} are the most"
        ));
    }
    let mut header = vec![0; length];
    source.read_exact(&mut header).map_err(cannot)?;
    let header = String::from_utf8_lossy(&header);
    let (rows, columns) = shape(&header)?;
    let expected = rows
        .checked_mul(columns)
        .and_then(|numbers| numbers.checked_mul(size_of::<f32>()))
        .filter(|bytes| *bytes as u64 == size.saturating_sub((start.len() + wide + length) as u64))
        .ok_or_else(|| {
            format!("is not as long as a matrix of {rows} x {columns}; save it again")
        })?;
    let mut numbers = Vec::new();
    let reserved = numbers.try_reserve_exact(expected / size_of::<f32>());
    reserved.map_err(|_| {
        format!(
            "has {}, more than this machine has room for",
            output::bytes(expected as u64)
        )
    })?;
    let mut block = vec![0; BLOCK * size_of::<f32>()];
    let mut missing = expected;
    while missing > 0 {
        let some = missing.min(block.len());
        source.read_exact(&mut block[..some]).map_err(cannot)?;
        let (some_numbers, _) = block[..some].as_chunks();
        numbers.extend(some_numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        missing -= some;
    }
    Ok(Matrix {
        rows,
        columns,
        numbers,
    })
}

/// Rows and columns, if the header is that of a matrix that can be read: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn shape(header: &str) -> Result<(usize, usize), String> {
    let value = |key: &str| {
        let (_, behind) = header.split_once(&format!("'{key}'"))?;
        Some(behind.trim_start().strip_prefix(':')?.trim_start())
    };
    let torn = || "has a header that is none of .npy; save it again".to_owned();
    let descr = value("descr").ok_or_else(torn)?;
    let of_type = descr.strip_prefix('\'').and_then(|it| it.split_once('\''));
    match of_type {
        Some((TYPE, _)) => {}
        Some((other, _)) => {
            let other = output::name(other.as_ref());
            return Err(format!(
                "has numbers of the type {other}; save it with .astype('{TYPE}')"
            ));
        }
        None => return Err(format!("has records; save a matrix of '{TYPE}'")),
    }
    if !value("fortran_order")
        .ok_or_else(torn)?
        .starts_with("False")
    {
        return Err(
            "has its columns behind each other; save it with numpy.ascontiguousarray".to_owned(),
        );
    }
    let shape = value("shape").and_then(|it| it.strip_prefix('('));
    let (shape, _) = shape.and_then(|it| it.split_once(')')).ok_or_else(torn)?;
    let dimensions: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|dimension| !dimension.is_empty())
        .map(|dimension| dimension.parse().map_err(|_| torn()))
        .collect::<Result<_, _>>()?;
    match *dimensions.as_slice() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!(
            "has {}, not 2; save it with .reshape(rows, columns)",
            output::count(dimensions.len() as u64, "dimension")
        )),
    }
}

/// Writes a matrix as NumPy does.
pub(super) fn write(matrix: &Matrix, mut target: impl Write) -> io::Result<()> {
    let Matrix { rows, columns, .. } = matrix;
    let mut header =
        format!("{{'descr': '{TYPE}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Before it are magic, version and its length; its last byte is the end of a line.
    let begun = MAGIC.len() + 4;
    let length = (begun + header.len() + 1).next_multiple_of(ALIGNMENT) - begun;
    while header.len() + 1 < length {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(length).expect("a header of two numbers is short");
    target.write_all(MAGIC)?;
    target.write_all(&[1, 0])?;
    target.write_all(&length.to_le_bytes())?;
    target.write_all(header.as_bytes())?;
    let mut block = Vec::with_capacity(BLOCK * size_of::<f32>());
    for numbers in matrix.numbers.chunks(BLOCK) {
        block.clear();
        block.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        target.write_all(&block)?;
    }
    target.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Matrix, String> {
        read(bytes, bytes.len() as u64)
    }

    /// What `numpy.save(file, numpy.array([[1, 2, 3], [4, 5, 6]], '<f4'))` writes.
    fn of_numpy() -> Vec<u8> {
        let mut file =
            b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
                .to_vec();
        file.resize(127, b' ');
        file.push(b'\n');
        file.extend((1..=6).flat_map(|n| (n as f32).to_le_bytes()));
        file
    }

    #[test]
    fn a_file_of_numpy_is_read_and_written_to_the_byte() {
        let matrix = parsed(&of_numpy()).unwrap();
        assert_eq!((matrix.rows, matrix.columns), (2, 3));
        assert_eq!(matrix.numbers, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut written = Vec::new();
        write(&matrix, &mut written).unwrap();
        assert_eq!(written, of_numpy());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_remedy() {
        let with = |from: &str, to: &str| {
            let text = of_numpy();
            let at = text
                .windows(from.len())
                .position(|it| it == from.as_bytes())
                .unwrap();
            let mut file = text.clone();
            file.splice(at..at + from.len(), to.bytes());
            // The header stays as long as it was.
            file[8] = (i32::from(text[8]) + to.len() as i32 - from.len() as i32) as u8;
            parsed(&file).unwrap_err()
        };
        assert!(with("<f4", "<f8").contains("astype('<f4')"));
        assert!(with("False", "True").contains("ascontiguousarray"));
        assert!(with("(2, 3)", "(6,)").contains("reshape"));
        assert!(with("(2, 3)", "(2, 4)").contains("not as long"));
        assert!(with("(2, 3)", "(9223372036854775807, 9)").contains("not as long"));
        assert!(with("(2, 3)", "(2, x)").contains("save it again"));
        assert!(with("NUMPY\x01", "NUMPY\x04").contains("version 4"));
        assert!(parsed(b"1 2 3").unwrap_err().contains("numpy.save"));
    }

    proptest! {
        #[test]
        fn matrices_come_back_as_they_were(rows in 0..20_usize, columns in 0..20_usize, seed in any::<u32>()) {
            let numbers = (0..rows * columns).map(|at| (at as u32 ^ seed) as f32).collect();
            let matrix = Matrix { rows, columns, numbers };
            let mut file = Vec::new();
            write(&matrix, &mut file).unwrap();
            prop_assert_eq!(parsed(&file), Ok(matrix));
        }

        #[test]
        fn no_bytes_make_reading_panic_or_take_memory(
            at in 0..150_usize,
            with in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut file = of_numpy();
            let end = (at + with.len()).min(file.len());
            file.splice(at.min(end)..end, with);
            let _ = parsed(&file);
        }
    }
}
