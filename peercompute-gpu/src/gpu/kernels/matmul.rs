use std::fmt::Write as _;

use super::{FOLDED, index};
use crate::{Batch, GpuError, HotBuffer};

/// The sizes of a matrix product: `rows × depth` times `depth × columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulShape {
    /// Rows of the left matrix and of the product.
    pub rows: usize,
    /// Columns of the left matrix and rows of the right one.
    pub depth: usize,
    /// Columns of the right matrix and of the product.
    pub columns: usize,
}

/// How a workgroup of 256 invocations shares a tile of the product: 16 × 16 invocations, each `rows × columns` elements of it, in steps of
/// `depth`. The tile's operands lie in workgroup memory, an invocation's share of the product in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
    depth: usize,
}

const LANES: usize = 16;

/// 128 × 128: the operands of 16 steps take 16 KiB, which every device has.
const LARGE: Tile = Tile {
    rows: 8,
    columns: 8,
    depth: 16,
};

/// 64 × 64, for products that would leave most of a device idle otherwise.
const SMALL: Tile = Tile {
    rows: 4,
    columns: 4,
    depth: 16,
};

/// Large tiles from which they are taken.
const ENOUGH: usize = 128;

/// How the matrices lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Rows of any length.
    Scalars,
    /// Rows of a multiple of four numbers.
    Vectors,
    /// Operands of half precision, two in a word.
    Halves,
    /// Operands of half precision, in rows of a multiple of four.
    HalfVectors,
}

impl Layout {
    fn of(half: bool, shape: MatmulShape) -> Self {
        let aligned = shape.depth.is_multiple_of(4) && shape.columns.is_multiple_of(4);
        match (half, aligned) {
            (false, false) => Self::Scalars,
            (false, true) => Self::Vectors,
            (true, false) => Self::Halves,
            (true, true) => Self::HalfVectors,
        }
    }

    const fn operand(self) -> &'static str {
        match self {
            Self::Scalars => "f32",
            Self::Vectors => "vec4<f32>",
            Self::Halves => "u32",
            Self::HalfVectors => "vec2<u32>",
        }
    }

    const fn is_aligned(self) -> bool {
        matches!(self, Self::Vectors | Self::HalfVectors)
    }
}

impl Batch {
    /// Adds a product of matrices of `f32` in row-major order: `left × right` to `product`.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`] if a buffer is smaller than its matrix, [`GpuError::BindingTooLarge`], [`GpuError::Aliased`],
    /// [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn matmul(
        &mut self,
        shape: MatmulShape,
        left: &HotBuffer,
        right: &HotBuffer,
        product: &HotBuffer,
    ) -> Result<(), GpuError> {
        self.multiply(false, shape, left, right, product)
    }

    /// As [`matmul`](Self::matmul) with operands of half precision, which are summed up in single precision. The product is of `f32`.
    ///
    /// # Errors
    ///
    /// As [`matmul`](Self::matmul).
    pub fn matmul_f16(
        &mut self,
        shape: MatmulShape,
        left: &HotBuffer,
        right: &HotBuffer,
        product: &HotBuffer,
    ) -> Result<(), GpuError> {
        self.multiply(true, shape, left, right, product)
    }

    fn multiply(
        &mut self,
        half: bool,
        shape: MatmulShape,
        left: &HotBuffer,
        right: &HotBuffer,
        product: &HotBuffer,
    ) -> Result<(), GpuError> {
        let MatmulShape {
            rows,
            depth,
            columns,
        } = shape;
        if rows == 0 || columns == 0 {
            return Ok(());
        }
        let operand = |count: usize| -> u64 {
            let bytes = count as u64 * if half { 2 } else { 4 };
            bytes.next_multiple_of(4)
        };
        let results = operand_bytes(rows, columns, product)?;
        self.need(product, results)?;
        if depth == 0 {
            self.encoder.clear_buffer(product.raw(), 0, Some(results));
            return Ok(());
        }
        operand_bytes(rows, depth, left)?;
        operand_bytes(depth, columns, right)?;
        let (lefts, rights) = (operand(rows * depth), operand(depth * columns));
        self.need(left, lefts)?;
        self.need(right, rights)?;
        Self::apart(product, &[left, right])?;
        let tiles =
            |tile: Tile| rows.div_ceil(tile.rows * LANES) * columns.div_ceil(tile.columns * LANES);
        let tile = if tiles(LARGE) >= ENOUGH { LARGE } else { SMALL };
        let source = source(tile, Layout::of(half, shape));
        let uniform = [
            index(rows, left)?,
            index(depth, left)?,
            index(columns, right)?,
            columns.div_ceil(tile.columns * LANES) as u32,
        ];
        self.own_pass(
            if half { "matmul_f16" } else { "matmul" },
            &source,
            bytemuck::bytes_of(&uniform),
            &[
                (left.raw(), lefts),
                (right.raw(), rights),
                (product.raw(), results),
            ],
            tiles(tile) as u64,
        )
    }
}

fn operand_bytes(rows: usize, columns: usize, buffer: &HotBuffer) -> Result<u64, GpuError> {
    let count = rows.checked_mul(columns).unwrap_or(usize::MAX / 4);
    Ok(u64::from(index(count, buffer)?) * 4)
}

/// The shader for a tile. The loops over an invocation's elements are written out, so that they stay in registers.
fn source(tile: Tile, layout: Layout) -> String {
    let (rows, columns) = (tile.rows * LANES, tile.columns * LANES);
    let quads = tile.depth / 4;
    let left_quads = rows * quads;
    let right_quads = tile.depth * columns / 4;
    let (left_loads, right_loads) = (left_quads / 256, right_quads / 256);
    let vectors = tile.columns / 4;
    let result = if layout.is_aligned() {
        "vec4<f32>"
    } else {
        "f32"
    };
    let mut text = format!(
        "
struct Shape {{ rows: u32, depth: u32, columns: u32, tiles: u32 }}
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> left: array<{operand}>;
@group(0) @binding(2) var<storage, read> right: array<{operand}>;
@group(0) @binding(3) var<storage, read_write> product: array<{result}>;
var<workgroup> lefts: array<vec4<f32>, {left_quads}>;
var<workgroup> rights: array<vec4<f32>, {right_quads}>;
{FOLDED}",
        operand = layout.operand(),
    );
    text += &loads(layout);
    // Loads of the tile at `depth` into registers, and from there into workgroup memory.
    let mut fetch = String::new();
    let mut keep = String::new();
    let mut declare = String::new();
    for load in 0..left_loads {
        let at = format!("(lane + {}u)", load * 256);
        _ = writeln!(declare, "    var l{load}: vec4<f32>;");
        _ = writeln!(
            fetch,
            "        l{load} = load_left(row + {at} / {quads}u, at + 4u * ({at} % {quads}u));"
        );
        _ = writeln!(keep, "        lefts[{at}] = l{load};");
    }
    let across = columns / 4;
    for load in 0..right_loads {
        let at = format!("(lane + {}u)", load * 256);
        _ = writeln!(declare, "    var r{load}: vec4<f32>;");
        _ = writeln!(
            fetch,
            "        r{load} = load_right(at + {at} / {across}u, column + 4u * ({at} % {across}u));"
        );
        _ = writeln!(keep, "        rights[{at}] = r{load};");
    }
    for row in 0..tile.rows {
        for vector in 0..vectors {
            _ = writeln!(declare, "    var s{row}_{vector} = vec4<f32>();");
        }
    }
    let mut multiply = String::new();
    for row in 0..tile.rows {
        _ = writeln!(
            multiply,
            "            let a{row} = lefts[(y + {}u) * {quads}u + quad];",
            row * LANES
        );
    }
    for (step, part) in ["x", "y", "z", "w"].iter().enumerate() {
        for vector in 0..vectors {
            _ = writeln!(
                multiply,
                "            let b{step}_{vector} = rights[(quad * 4u + {step}u) * {across}u + x + {}u];",
                vector * LANES
            );
        }
        for row in 0..tile.rows {
            for vector in 0..vectors {
                _ = writeln!(
                    multiply,
                    "            s{row}_{vector} = fma(vec4<f32>(a{row}.{part}), b{step}_{vector}, s{row}_{vector});"
                );
            }
        }
    }
    let mut store = String::new();
    for row in 0..tile.rows {
        for vector in 0..vectors {
            _ = writeln!(
                store,
                "    store(row + y + {}u, column + 4u * (x + {}u), s{row}_{vector});",
                row * LANES,
                vector * LANES
            );
        }
    }
    _ = write!(
        text,
        "
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
    let tile = folded(group, groups);
    let row = (tile / shape.tiles) * {rows}u;
    let column = (tile % shape.tiles) * {columns}u;
    let x = lane % {LANES}u;
    let y = lane / {LANES}u;
    var at = 0u;
{declare}
{fetch}
    loop {{
{keep}
        workgroupBarrier();
        at += {depth}u;
        if (at < shape.depth) {{
{fetch}
        }}
        for (var quad = 0u; quad < {quads}u; quad++) {{
{multiply}
        }}
        workgroupBarrier();
        if (at >= shape.depth) {{
            break;
        }}
    }}
{store}
}}
",
        depth = tile.depth,
    );
    text
}

/// The functions that read four neighbours in a row of an operand, zeros beyond the edge, and write four of the product.
fn loads(layout: Layout) -> String {
    let mut text = String::new();
    for (name, rows, columns) in [
        ("left", "shape.rows", "shape.depth"),
        ("right", "shape.depth", "shape.columns"),
    ] {
        let body = match layout {
            Layout::Vectors => format!(
                "    if (row < {rows} && column < {columns}) {{ return {name}[(row * {columns} + column) / 4u]; }}
    return vec4<f32>();"
            ),
            Layout::HalfVectors => format!(
                "    if (row < {rows} && column < {columns}) {{
        let words = {name}[(row * {columns} + column) / 4u];
        return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
    }}
    return vec4<f32>();"
            ),
            Layout::Scalars | Layout::Halves => {
                let one = if layout == Layout::Halves {
                    format!("unpack2x16float({name}[at / 2u])[at % 2u]")
                } else {
                    format!("{name}[at]")
                };
                format!(
                    "    var values = vec4<f32>();
    if (row >= {rows}) {{ return values; }}
    for (var part = 0u; part < 4u; part++) {{
        if (column + part < {columns}) {{
            let at = row * {columns} + column + part;
            values[part] = {one};
        }}
    }}
    return values;"
                )
            }
        };
        _ = write!(
            text,
            "
fn load_{name}(row: u32, column: u32) -> vec4<f32> {{
{body}
}}
"
        );
    }
    text += if layout.is_aligned() {
        "
fn store(row: u32, column: u32, values: vec4<f32>) {
    if (row < shape.rows && column < shape.columns) { product[(row * shape.columns + column) / 4u] = values; }
}
"
    } else {
        "
fn store(row: u32, column: u32, values: vec4<f32>) {
    if (row >= shape.rows) { return; }
    for (var part = 0u; part < 4u; part++) {
        if (column + part < shape.columns) { product[row * shape.columns + column + part] = values[part]; }
    }
}
"
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shader_of_every_tile_and_layout_is_valid() {
        for tile in [LARGE, SMALL] {
            for layout in [
                Layout::Scalars,
                Layout::Vectors,
                Layout::Halves,
                Layout::HalfVectors,
            ] {
                super::super::check_source(&source(tile, layout));
            }
        }
    }
}
