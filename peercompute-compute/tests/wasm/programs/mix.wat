;; Mixes its input with whole numbers of every kind, and gives 8 bytes for each 8 of the input.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param $length i32) (result i32)
    (drop (memory.grow (i32.add (i32.shr_u (local.get $length) (i32.const 16)) (i32.const 1))))
    i32.const 65536)
  (func $step (param $x i64) (param $y i64) (result i64)
    (local.set $x (i64.xor (local.get $x) (i64.rotl (local.get $y) (i64.clz (local.get $x)))))
    (local.set $x (i64.mul (local.get $x) (i64.const 0x9e3779b97f4a7c15)))
    (local.set $x
      (i64.add (local.get $x) (i64.rem_u (local.get $y) (i64.or (local.get $x) (i64.const 1)))))
    (i64.sub
      (i64.shr_s (local.get $x) (i64.popcnt (local.get $y)))
      (i64.extend32_s (i64.extend_i32_s (i32.wrap_i64 (local.get $y))))))
  (func (export "run") (param $in i32) (param $length i32) (result i64)
    (local $at i32)
    (local $x i64)
    (local.set $length (i32.and (local.get $length) (i32.const -8)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (local.set $x
          (call $step (local.get $x) (i64.load (i32.add (local.get $in) (local.get $at)))))
        (i64.store (i32.add (local.get $in) (local.get $at)) (local.get $x))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $in)) (i64.const 32))
      (i64.extend_i32_u (local.get $length)))))
