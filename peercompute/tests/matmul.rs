//! Products of matrices between real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Running, names, run, save};

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|at| ((at.wrapping_mul(seed) >> 7) % 2001) as f32 / 10.0 - 100.0)
        .collect()
}

/// The definition.
fn product((rows, inner, columns): (usize, usize, usize), a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut product = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let mut sum = 0.0;
            for at in 0..inner {
                sum += a[row * inner + at] * b[at * columns + column];
            }
            product.push(sum);
        }
    }
    product
}

#[test]
fn a_product_has_the_same_bits_here_and_on_other_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let shape = (150, 333, 70);
    let (left, right) = (numbers(150 * 333, 2_654_435_761), numbers(333 * 70, 40_503));
    let a = save(dir.path(), "a.npy", (150, 333), &left);
    let b = save(dir.path(), "b.npy", (333, 70), &right);
    let expected = save(
        dir.path(),
        "expected.npy",
        (150, 70),
        &product(shape, &left, &right),
    );
    let expected = fs::read(expected).unwrap();
    let args = ["run", "--op", "matmul", &a, &b];
    let here = run(&args).expect(0);
    assert_eq!(here.stdout, expected);
    for part in [
        ", all verified",
        "  local  ",
        "no other node took part",
        "nobody was named",
    ] {
        assert!(here.stderr.contains(part), "{part}: {}", here.stderr);
    }

    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let node = Running::node(&[]);
    let there = [
        "--peer",
        node.address(),
        "--no-local",
        "--chunk",
        "32KiB",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let report = run(&[&args[..], &there].concat()).expect(0).json();
    assert!(report["tasks"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["verified"], true);
    assert_eq!(
        fs::read(report["output"].as_str().unwrap()).unwrap(),
        expected
    );
    assert_eq!(names(&out), ["product.npy"]);
    assert_eq!(report["local_fallback"], false);
    assert_eq!(report["by_node"][&node.peer]["tasks"], report["tasks"]);
    assert_eq!(node.interrupt(), 0);
}

#[test]
fn products_without_numbers_and_of_nothing_are_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let a = save(dir.path(), "a.npy", (2, 0), &[]);
    let b = save(dir.path(), "b.npy", (0, 3), &[]);
    let zeros = fs::read(save(dir.path(), "zeros.npy", (2, 3), &[0.0; 6])).unwrap();
    let nothing = fs::read(save(dir.path(), "nothing.npy", (0, 0), &[])).unwrap();
    assert_eq!(
        run(&["run", "--op", "matmul", &a, &b]).expect(0).stdout,
        zeros
    );
    assert_eq!(run(&["run", "--op", "matmul", &b, &a]).expect(2).text(), "");
    let (c, d) = (
        save(dir.path(), "c.npy", (0, 2), &[]),
        save(dir.path(), "d.npy", (2, 0), &[]),
    );
    assert_eq!(
        run(&["run", "--op", "matmul", &c, &d]).expect(0).stdout,
        nothing
    );
}

#[test]
fn what_is_no_product_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let a = save(dir.path(), "a.npy", (1, 2), &[1.0, 2.0]);
    let product = save(dir.path(), "product.npy", (2, 1), &[1.0, 2.0]);
    let text = dir.path().join("text");
    fs::write(&text, "1 2").unwrap();
    let text = text.to_str().unwrap();
    let out = dir.path().to_str().unwrap();
    let refused: [(&[&str], &str); 7] = [
        (&["matmul", &a], "takes two files"),
        (&["matmul", "--op", "crc32c", &a, &product], "no other --op"),
        (&["matmul", "--imm", "1", &a, &product], "no immediate"),
        (&["matmul", &a, text], "numpy.save"),
        (&["matmul", &a, &a], "has 2 columns and"),
        (&["matmul", &a, &product, "--out", out], "which is an input"),
        (
            &["matmul", &a, &product, "--chunk", "16B"],
            "too long for tasks of 16 bytes",
        ),
    ];
    for (args, reason) in refused {
        let ran = run(&[&["run", "--op"], args].concat()).expect(2);
        assert!(ran.stderr.contains(reason), "{args:?}: {}", ran.stderr);
    }
}
