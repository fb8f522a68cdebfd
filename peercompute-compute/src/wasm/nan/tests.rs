//! What comes of a rewritten module, against the engine's own way of making NaNs canonical.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*};
use wasmtime::{Config, Engine, Instance, Module, Store, Val};

use super::*;
use crate::wasm::features;

/// One that makes NaNs canonical after each operation, and one that does not.
static ENGINES: LazyLock<[Engine; 2]> = LazyLock::new(|| [true, false].map(engine));

/// An engine that makes NaNs canonical after each operation, or not at all.
fn engine(canonical: bool) -> Engine {
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(canonical)
        .cranelift_opt_level(wasmtime::OptLevel::None)
        .consume_fuel(true);
    Engine::new(&config).expect("an engine starts")
}

/// What a module does: its results, its memory and its globals, all as bits.
fn outcome(engine: &Engine, module: &[u8], arguments: &[Val]) -> Option<Vec<u128>> {
    let module = Module::new(engine, module).expect("it is valid");
    let mut store = Store::new(engine, ());
    store.set_fuel(2_000_000).expect("fuel is on");
    let instance = Instance::new(&mut store, &module, &[]).expect("it starts");
    let run = instance.get_func(&mut store, "run").expect("it is there");
    let mut results = vec![Val::I32(0); run.ty(&store).results().len()];
    run.call(&mut store, arguments, &mut results).ok()?;
    let memory = instance
        .get_memory(&mut store, "memory")
        .expect("it is there");
    let global = instance
        .get_global(&mut store, "global")
        .expect("it is there");
    let values: Vec<Val> = results
        .into_iter()
        .chain([global.get(&mut store)])
        .collect();
    let bits = values.iter().map(|value| match value {
        Val::I32(number) => *number as u32 as u128,
        Val::I64(number) => *number as u64 as u128,
        Val::F32(bits) => u128::from(*bits),
        Val::F64(bits) => u128::from(*bits),
        Val::V128(vector) => vector.as_u128(),
        _ => 0,
    });
    let memory = memory.data(&store)[..256].as_chunks::<16>().0;
    Some(
        bits.chain(memory.iter().map(|bytes| u128::from_le_bytes(*bytes)))
            .collect(),
    )
}

/// Compares both ways for the body of a function `(f64, f32, i32) -> f64`.
fn same(body: &str, arguments: [u64; 2]) -> Result<(), TestCaseError> {
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $g (export "global") (mut f64) (f64.const 1))
            (table 1 funcref)
            (elem (i32.const 0) $two)
            (type $two (func (param f64 f32 f64) (result f64)))
            (func $two (type $two)
                (f64.store (i32.const 240) (local.get 2))
                (f32.store (i32.const 248) (local.get 1))
                (local.get 0))
            (func $many (param f64 f32) (result f32 f64) (local.get 1) (local.get 0))
            (func (export "run") (param $x f64) (param $y f32) (param $i i32) (result f64)
                (local $a f64) (local $b f64) (local $c f32) (local $d f64) (local $e f32) (local $n i32)
                {body}))"#
    );
    let module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let rewritten = canonicalise(&module, features()).expect("it is valid");
    let [x, y] = arguments;
    let arguments = [Val::F64(x), Val::F32(y as u32), Val::I32(y as i32)];
    let [each, none] = &*ENGINES;
    let there = outcome(each, &module, &arguments);
    let here = outcome(none, &rewritten, &arguments);
    prop_assert_eq!(here, there, "{}", text);
    Ok(())
}

/// Bits that are a NaN as often as not.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<f64>().prop_map(f64::to_bits),
        any::<u64>().prop_map(|bits| bits | 0x7ff0_0000_0000_0000),
        any::<u64>().prop_map(|bits| bits & 0xffff_ffff | 0x7f80_0000),
        Just(f64::INFINITY.to_bits()),
        Just(0),
    ]
}

/// An expression of type f64, made of those of f32 and of statements.
fn wide() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("(local.get $x)".to_owned()),
        prop::sample::select(vec!["$a", "$b", "$d"]).prop_map(|name| format!("(local.get {name})")),
        prop::sample::select(vec![
            "0",
            "-0",
            "1.5",
            "inf",
            "nan",
            "-nan:0x4000000000001",
            "nan:0x1"
        ])
        .prop_map(|number| format!("(f64.const {number})")),
        (0..30_u32).prop_map(|at| format!("(f64.load (i32.const {}))", at * 8)),
        Just("(global.get $g)".to_owned()),
    ];
    leaf.prop_recursive(6, 60, 3, |inner| {
        let two = prop::sample::select(vec!["add", "sub", "mul", "div", "min", "max", "copysign"]);
        let one = prop::sample::select(vec!["sqrt", "ceil", "floor", "trunc", "nearest", "neg", "abs"]);
        let local = prop::sample::select(vec!["$a", "$b", "$d", "$x"]);
        let narrow = inner.clone().prop_map(|x| format!("(f32.demote_f64 {x})"));
        let statement = (inner.clone(), local.clone(), 0..4_u8, 0..30_u32).prop_map(
            |(value, local, which, at)| match which {
                0 => format!("(local.set {local} {value})"),
                1 => format!("(f64.store (i32.const {}) {value})", at * 8),
                2 => format!("(global.set $g {value})"),
                _ => format!("(drop {value})"),
            },
        );
        prop_oneof![
            4 => (two.clone(), inner.clone(), inner.clone())
                .prop_map(|(op, a, b)| format!("(f64.{op} {a} {b})")),
            3 => (one, inner.clone()).prop_map(|(op, a)| format!("(f64.{op} {a})")),
            2 => (local, inner.clone()).prop_map(|(name, a)| format!("(local.tee {name} {a})")),
            1 => (two, narrow.clone(), narrow.clone())
                .prop_map(|(op, a, b)| format!("(f64.promote_f32 (f32.{op} {a} (local.tee $c {b})))")),
            1 => inner.clone().prop_map(|a| format!("(f64.reinterpret_i64 (i64.reinterpret_f64 {a}))")),
            1 => inner.clone().prop_map(|a| format!("(f64.convert_i64_s (i64.trunc_sat_f64_s {a}))")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(select {a} {b} (f64.lt {c} (local.get $x)))")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| {
                format!("(if (result f64) (f64.eq {a} {a}) (then {b}) (else {c}))")
            }),
            1 => (inner.clone(), narrow.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(call $two {a} {b} {c})")),
            1 => (inner.clone(), narrow.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(call_indirect (type $two) {a} {b} {c} (i32.const 0))")),
            1 => (inner.clone(), narrow.clone())
                .prop_map(|(a, b)| format!("(f64.add (block (result f64) (call $many {a} {b}) (local.set $b) (drop) (local.get $b)) {a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| {
                format!("(block $out (result f64) (drop (br_if $out {a} (f64.gt {b} {c}))) {b})")
            }),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                format!("(block $out (result f64) {a} (br_if $out (i32.const 1)) (br $out (f64.mul {b})))")
            }),
            1 => (statement.clone(), statement.clone(), inner.clone()).prop_map(|(s, t, a)| {
                format!("(block (result f64) (local.set $n (i32.const 3)) (loop $l {s} {t} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) {a})")
            }),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                format!("(f64x2.extract_lane 1 (f64x2.max (f64x2.splat {a}) (f64x2.sqrt (f64x2.replace_lane 0 (f64x2.splat {b}) {a}))))")
            }),
            1 => (narrow.clone(), narrow.clone()).prop_map(|(a, b)| {
                format!("(f64.promote_f32 (f32x4.extract_lane 2 (f32x4.div (f32x4.splat {a}) (f32x4.splat (local.tee $e {b})))))")
            }),
            1 => narrow.prop_map(|a| format!("(block (result f64) (f32.store (i32.const 200) {a}) (f64.promote_f32 (f32.neg {a})))")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("(if (result f64) (local.get $i) (then (return {a})) (else {b}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn nobody_can_tell_it_from_making_every_result_canonical(
        steps in vec((wide(), 0..6_u8), 1..6),
        end in wide(),
        arguments in any::<[u8; 2]>().prop_flat_map(|_| vec(bits(), 2)),
    ) {
        let steps: Vec<_> = steps
            .into_iter()
            .map(|(value, place)| match place {
                0 => format!("(f64.store (i32.const 8) {value})"),
                1 => format!("(local.set $c (f32.demote_f64 {value}))"),
                2 => format!("(global.set $g {value})"),
                3 => format!("(local.set $x {value})"),
                4 => format!("(local.set $a {value})"),
                _ => format!("(local.set $b {value})"),
            })
            .collect();
        // In the end all variables are looked at.
        let look = "(f64.store (i32.const 16) (local.get $a)) (f64.store (i32.const 32) (local.get $b))
            (f64.store (i32.const 48) (local.get $d)) (f64.store (i32.const 64) (local.get $x))
            (f32.store (i32.const 80) (local.get $c)) (f32.store (i32.const 96) (local.get $e))";
        let body = format!("{} (local.set $d {end}) {look} (local.get $d)", steps.join(" "));
        same(&body, [arguments[0], arguments[1]])?;
    }
}

#[test]
fn bits_that_are_only_handed_on_stay_as_they_are() {
    // Signalling NaNs, through a variable that has nothing else in it.
    let body = "(f64.store (i32.const 0) (local.get $x))
        (local.set $a (f64.load (i32.const 0)))
        (f64.store (i32.const 8) (local.get $a))
        (local.set $b (f64.sqrt (local.get $a)))
        (f64.store (i32.const 16) (local.get $b))
        (f32.store (i32.const 24) (local.get $y))
        (local.get $a)";
    for bits in [
        0x7ff0_0000_0000_0001,
        0xfff8_1234_5678_9abc,
        0x3ff8_0000_0000_0000,
    ] {
        same(body, [bits, 0x7f80_0001]).expect("it is the same");
    }
}

/// How many places look at a number in this code of a function of one `f64` with forty variables.
fn looks(code: &str) -> usize {
    let text = format!(
        r#"(module (memory 1) (func (export "run") (param f64) (local {} i32) {code}))"#,
        "f64 ".repeat(40)
    );
    let module = wat::parse_str(&text).expect("it is a module");
    let rewritten = canonicalise(&module, features()).expect("it is valid");
    let nan = [0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
    rewritten
        .windows(nan.len())
        .filter(|window| *window == nan)
        .count()
}

#[test]
fn a_chain_of_arithmetic_is_looked_at_once() {
    let code = "(local.set 1 (f64.mul (f64.add (local.get 0) (f64.const 1)) (local.get 0)))
        (f64.store (i32.const 0) (f64.sqrt (f64.div (local.get 1) (f64.sub (local.get 1) (local.get 0)))))";
    assert_eq!(looks(code), 1);
}

#[test]
fn numbers_may_be_handed_through_as_many_variables_as_there_are() {
    // Against the order in which the code is read, so that only a loop brings them through.
    let chain = |first: &str| {
        let hands = (1..40).map(|to| format!("(local.set {to} (local.get {}))", to + 1));
        let hands: String = hands.collect();
        format!(
            "(loop {hands} (local.set 40 {first}) (br_if 0 (local.get 41)))
            (f64.store (i32.const 0) (local.get 1))"
        )
    };
    assert_eq!(looks(&chain("(f64.sqrt (local.get 0))")), 1);
    // One that was loaded keeps its bits all the way.
    assert_eq!(looks(&chain("(f64.load (i32.const 0))")), 0);
    let either = "(select (f64.sqrt (local.get 0)) (local.get 40) (local.get 41))";
    assert_eq!(looks(&chain(either)), 1);
}

#[test]
fn code_that_is_never_reached_is_no_trouble() {
    for body in [
        "(return (f64.add (local.get $x) (local.get $x))) (f64.add) (f64.store) unreachable",
        "(block (result f64) (br 0 (f64.sqrt (local.get $x))) (f64.add) (drop) (f64.const 1))",
        "(f64.add (local.get $x) (loop (result f64) (br 0) (local.set $a) (f64.mul (f64.const 1))))",
        "(f64.sqrt (local.get $x)) (block (br 0) (select) (drop)) (f64.ceil)",
    ] {
        same(body, [f64::NAN.to_bits(), 0]).expect("it is the same");
    }
}

#[test]
fn what_lies_above_a_computed_number_is_put_aside_once_however_much_it_is() {
    let kinds = "f32 ".repeat(1000);
    let above = "local.get 0 ".repeat(999);
    let call = format!("(f32.add (local.get 0) (local.get 0)) {above} call $many ");
    let calling = format!("(func (param f32) {})", call.repeat(125));
    let text = format!(
        "(module (func $many (param {kinds})) {})",
        calling.repeat(5)
    );
    let module = wat::parse_str(text).expect("it is well formed");
    let rewritten = canonicalise(&module, features()).expect("it is valid");
    let mut validator = Validator::new_with_features(features());
    validator.validate_all(&rewritten).expect("it is valid");
    // A variable for the number itself, and one for each of those above it.
    let added = |payload: Result<Payload<'_>, _>| match payload.expect("it is valid") {
        Payload::CodeSectionEntry(body) => {
            let groups = body.get_locals_reader().expect("it is valid");
            Some(
                groups
                    .into_iter()
                    .map(|group| group.expect("it is valid").0)
                    .sum::<u32>(),
            )
        }
        _ => None,
    };
    let added: Vec<_> = Parser::new(0)
        .parse_all(&rewritten)
        .filter_map(added)
        .collect();
    assert_eq!(added[0], 0);
    assert_eq!(added[1..], [1000; 5]);
}
