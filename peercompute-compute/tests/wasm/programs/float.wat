;; Reckons with its input as floating-point numbers, with whatever these bytes are: infinities, subnormal numbers and NaNs. Makes NaNs canonical before it gives them away.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param $length i32) (result i32)
    (drop (memory.grow (i32.add (i32.shr_u (local.get $length) (i32.const 16)) (i32.const 1))))
    i32.const 65536)
  (func $canonical (param $x f64) (result f64)
    (select
      (local.get $x)
      (f64.const nan)
      (f64.eq (local.get $x) (local.get $x))))
  (func $step (param $x f64) (param $y f64) (result f64)
    (f64.add
      (f64.mul (f64.sqrt (f64.abs (local.get $x))) (f64.nearest (local.get $y)))
      (f64.div
        (f64.copysign (f64.floor (local.get $x)) (local.get $y))
        (f64.promote_f32 (f32.demote_f64 (f64.max (local.get $x) (local.get $y)))))))
  (func (export "run") (param $in i32) (param $length i32) (result i64)
    (local $at i32)
    (local $x f64)
    (local.set $x (f64.const 1.5))
    (local.set $length (i32.and (local.get $length) (i32.const -8)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (local.set $x
          (call $canonical
            (call $step
              (local.get $x)
              (call $canonical (f64.load (i32.add (local.get $in) (local.get $at)))))))
        (f64.store (i32.add (local.get $in) (local.get $at)) (local.get $x))
        (local.set $x
          (select (f64.const 1.5) (local.get $x) (f64.ne (local.get $x) (local.get $x))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $in)) (i64.const 32))
      (i64.extend_i32_u (local.get $length)))))
