//! `peercompute run --op matmul A.npy B.npy`: the product of two matrices.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use peercompute_compute::{Matmul, MatmulError, MatmulShape, MatmulTile, MatmulTiles};
use peercompute_kernel::{Host, JobResults, JobSender, NewTask, NodeKernel};
use serde::Serialize;

use super::{
    CHUNK, Done, mend,
    npy::{self, Matrix},
    program::{STANDARD_INPUT, Target, WorkError, check_directory, ids, is_one_of, job_failure},
    shares::{JsonShares, Shares},
    spec,
};
use crate::{cli::RunArgs, failure::Failure, output};

/// What the product is called in a directory.
const NAME: &str = "product.npy";

/// Two matrices, and into what their product is cut.
pub(super) struct Product {
    shape: MatmulShape,
    a: Arc<Matrix>,
    b: Arc<Matrix>,
    tiles: RefCell<MatmulTiles>,
    /// Who gave each tile.
    givers: RefCell<Vec<Option<Host>>>,
    out: Option<PathBuf>,
    verify: bool,
}

/// The product as programs are told of it.
#[derive(Serialize)]
struct ProductReport {
    output: Option<String>,
    rows: usize,
    inner: usize,
    columns: usize,
    tasks: usize,
    seconds: f64,
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    wrong_by_node: BTreeMap<String, u64>,
    #[serde(flatten)]
    shares: JsonShares,
}

impl Product {
    /// The product that the arguments ask for, if they ask for one.
    pub(super) fn new(args: &RunArgs, json: bool) -> Result<Option<Self>, Failure> {
        if args.operations.iter().all(|name| name != Matmul::NAME) {
            return Ok(None);
        }
        let ([_], [first, second]) = (args.operations.as_slice(), args.files.as_slice()) else {
            return Err(Failure::usage(
                "--op matmul takes two files, A.npy B.npy, and goes with no other --op",
            ));
        };
        if args.events {
            return Err(Failure::usage(
                "--events: matmul tells no progress; leave it out",
            ));
        }
        if args
            .files
            .iter()
            .any(|file| file.as_os_str() == STANDARD_INPUT)
        {
            return Err(Failure::usage(
                "matmul reads files, not standard input; write it to a file first",
            ));
        }
        if args.imm.is_some() {
            return Err(Failure::usage(
                "--imm: matmul takes no immediate; leave it out",
            ));
        }
        if json && args.out.is_none() {
            return Err(Failure::usage(
                "--json and task output cannot share standard output; add --out DIR",
            ));
        }
        if let Some(out) = args.out.as_deref() {
            check_directory(out)?;
            let target = out.join(NAME);
            if is_one_of(&target, &ids(&args.files)) {
                return Err(Failure::usage(format!(
                    "the product would go to {}, which is an input and would be lost; choose another --out",
                    output::name(&target)
                ))
                .about(&target, "out"));
            }
        }
        let (a, b) = (load(first)?, load(second)?);
        if a.columns != b.rows {
            return Err(Failure::usage(format!(
                "{} has {} columns and {} has {} rows; for a product these are equal",
                output::name(first),
                a.columns,
                output::name(second),
                b.rows
            ))
            .about(second, "file"));
        }
        let shape = MatmulShape::new(a.rows, a.columns, b.columns);
        let tiles = tiles(shape, args.chunk).map_err(Failure::usage)?;
        Ok(Some(Self {
            shape,
            a: a.into(),
            b: b.into(),
            givers: vec![None; tiles.len()].into(),
            tiles: tiles.into(),
            out: args.out.clone(),
            verify: !args.no_verify,
        }))
    }

    /// Computes and writes it.
    pub(super) async fn run(self, node: &NodeKernel, json: bool) -> Result<Done, WorkError> {
        let tasks = self.tiles.borrow().len();
        let begun = Instant::now();
        let mut shares = Shares::default();
        if tasks > 0 {
            let largest = self.tiles.borrow().tile(0).map_err(Failure::run)?;
            let numbers = largest.rows.len() * largest.columns.len();
            let spec = spec(Matmul.into(), (numbers * size_of::<f32>()) as u64);
            let job = node.submit(spec).map_err(Failure::run)?;
            let (sender, results) = job.split();
            ((), shares) =
                futures::future::try_join(self.feed(sender), self.collect(results)).await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let tiles = self.tiles.into_inner();
        let places: Result<Vec<_>, _> = (0..tasks).map(|index| tiles.tile(index)).collect();
        let tiles_given = places.map_err(Failure::run)?.into_iter();
        let given = tiles_given.zip(self.givers.into_inner()).collect();
        let product = Matrix {
            rows: self.shape.rows,
            columns: self.shape.columns,
            numbers: tiles.finish().map_err(Failure::run)?,
        };
        let (product, wrong) = match self.verify {
            true => verify(self.a, self.b, product, given).await?,
            false => (product, None),
        };
        let verified = self.verify.then_some(true);
        if let (Some(wrong), false) = (&wrong, json) {
            output::note(&format!(
                "the product: {}{}",
                mend::MENDED,
                mend::liars(wrong)
            ));
        }
        let MatmulShape {
            rows,
            inner,
            columns,
        } = self.shape;
        let target = Target::new(self.out.as_deref(), NAME.as_ref()).await?;
        let write = move |file: &mut dyn io::Write| npy::write(&product, file);
        let written = target.write_all(write).await?;
        if json {
            output::json(&ProductReport {
                output: written.map(|path| output::json_name(&path).into_owned()),
                rows,
                inner,
                columns,
                tasks,
                seconds: output::seconds(seconds),
                verified,
                mended: wrong.is_some().then_some(true),
                wrong_by_node: mend::by_name(&wrong.unwrap_or_default()),
                shares: shares.to_json(),
            })?;
        } else if let Some(path) = written {
            let place = output::name(&path);
            output::line(&format!("{place}  {rows} x {columns}"))?;
        }
        Ok(Done {
            shares,
            seconds,
            verified,
            failed: 0,
            unusable: 0,
        })
    }

    async fn feed(&self, mut sender: JobSender) -> Result<(), WorkError> {
        let tasks = self.tiles.borrow().len();
        for index in 0..tasks {
            let input = self
                .tiles
                .borrow()
                .input(index, &self.a.numbers, &self.b.numbers);
            let input = input.map_err(Failure::run)?;
            // The kernel counts tasks as tiles are counted: from 0.
            let task = NewTask { state: None, input };
            if sender.push(vec![task]).await.is_err() {
                // The job's results say why it has ended.
                return Ok(());
            }
        }
        sender.finish();
        Ok(())
    }

    async fn collect(&self, mut results: JobResults) -> Result<Shares, WorkError> {
        let mut batch = Vec::new();
        while results.next_batch(&mut batch).await.map_err(job_failure)? {
            for outcome in batch.drain(..) {
                let value = match outcome.result {
                    // A lie, which the check finds: products suit every input, and keep to the limit that they are given.
                    Err(failure) if self.verify && failure.reason.is_same_everywhere() => {
                        Bytes::new()
                    }
                    result => result.map_err(|failure| Failure::run(failure.message))?,
                };
                let index = usize::try_from(outcome.task.as_u64()).unwrap_or(usize::MAX);
                let mut tiles = self.tiles.borrow_mut();
                let put = match tiles.put(index, &value) {
                    // The check does it again.
                    Err(MatmulError::WrongLength { .. }) if self.verify => {
                        let MatmulTile { rows, columns } =
                            tiles.tile(index).map_err(Failure::run)?;
                        let numbers = rows.len() * columns.len();
                        tiles.put(index, &f32::NAN.to_le_bytes().repeat(numbers))
                    }
                    put => put,
                };
                put.map_err(Failure::run)?;
                self.givers.borrow_mut()[index] = outcome.host;
            }
        }
        Ok(Shares::of(&results))
    }
}

fn load(path: &Path) -> Result<Matrix, Failure> {
    npy::load(path).map_err(|error| {
        Failure::usage(error)
            .at(output::name(path))
            .about(path, "file")
    })
}

/// Tasks of the size that was asked for, or else of the usual one, or of any if that is too small for the inner dimension.
fn tiles(shape: MatmulShape, chunk: Option<usize>) -> Result<MatmulTiles, MatmulError> {
    match chunk {
        Some(chunk) => MatmulTiles::within(shape, chunk),
        None => MatmulTiles::within(shape, CHUNK).or_else(|_| MatmulTiles::new(shape)),
    }
}

/// Tiles with a number that is wrong, by who gave them.
type Wrong = BTreeMap<Host, u64>;

/// The check: the whole product once more on this machine, which shares neither tiles nor code with the tasks, and has the same bits because each sum runs in the same order. Gives the right product,
/// and what was wrong if something was.
async fn verify(
    a: Arc<Matrix>,
    b: Arc<Matrix>,
    product: Matrix,
    given: Vec<(MatmulTile, Option<Host>)>,
) -> Result<(Matrix, Option<Wrong>), WorkError> {
    let pass = tokio::task::spawn_blocking(move || {
        if is_product(&a, &b, &product) {
            return (product, None);
        }
        let right = multiply(&a, &b);
        let mut wrong = Wrong::new();
        for (tile, host) in given {
            let mut rows = tile.rows.map(|row| row * right.columns);
            let is_right = rows.all(|start| {
                let places = start + tile.columns.start..start + tile.columns.end;
                let (right, there) = (&right.numbers[places.clone()], &product.numbers[places]);
                right.iter().zip(there).all(is_same)
            });
            if let (false, Some(host)) = (is_right, host) {
                *wrong.entry(host).or_default() += 1;
            }
        }
        (right, Some(wrong))
    });
    Ok(pass.await.map_err(Failure::run)?)
}

fn is_product(a: &Matrix, b: &Matrix, product: &Matrix) -> bool {
    if a.rows == 0 {
        // However many columns there are of nothing.
        return true;
    }
    let mut sums = vec![0.0; b.columns];
    (0..a.rows).all(|row| {
        multiply_row(a, b, row, &mut sums);
        let there = &product.numbers[row * b.columns..(row + 1) * b.columns];
        sums.iter().zip(there).all(is_same)
    })
}

fn is_same((a, b): (&f32, &f32)) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    let (rows, columns) = (a.rows, b.columns);
    let mut numbers = vec![0.0; rows * columns];
    for row in 0..rows {
        let sums = &mut numbers[row * columns..(row + 1) * columns];
        multiply_row(a, b, row, sums);
    }
    Matrix {
        rows,
        columns,
        numbers,
    }
}

fn multiply_row(a: &Matrix, b: &Matrix, row: usize, sums: &mut [f32]) {
    sums.fill(0.0);
    for at in 0..a.columns {
        let x = a.numbers[row * a.columns + at];
        let terms = &b.numbers[at * b.columns..(at + 1) * b.columns];
        for (sum, y) in sums.iter_mut().zip(terms) {
            *sum += x * y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_finds_one_wrong_bit() {
        let matrix = |rows, columns, numbers: &[f32]| Matrix {
            rows,
            columns,
            numbers: numbers.to_vec(),
        };
        let a = matrix(2, 2, &[1.0, 2.0, 3.0, 4.0]);
        let b = matrix(2, 1, &[5.0, f32::NAN]);
        assert!(is_product(&a, &b, &matrix(2, 1, &[f32::NAN, -f32::NAN])));
        let b = matrix(2, 1, &[5.0, 6.0]);
        assert!(is_product(&a, &b, &matrix(2, 1, &[17.0, 39.0])));
        let wrong = f32::from_bits(39.0_f32.to_bits() + 1);
        assert!(!is_product(&a, &b, &matrix(2, 1, &[17.0, wrong])));
    }
}
