;; Works on 16 bytes at a time.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param $length i32) (result i32)
    (drop (memory.grow (i32.add (i32.shr_u (local.get $length) (i32.const 16)) (i32.const 1))))
    i32.const 65536)
  (func (export "run") (param $in i32) (param $length i32) (result i64)
    (local $at i32)
    (local $x v128)
    (local.set $length (i32.and (local.get $length) (i32.const -16)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (local.set $x
          (i8x16.add_sat_u
            (i8x16.swizzle (local.get $x) (v128.load (i32.add (local.get $in) (local.get $at))))
            (i32x4.mul
              (v128.load (i32.add (local.get $in) (local.get $at)))
              (i16x8.avgr_u (local.get $x) (v128.const i32x4 0x01234567 0x89abcdef 7 9)))))
        (v128.store (i32.add (local.get $in) (local.get $at)) (local.get $x))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $next)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $in)) (i64.const 32))
      (i64.extend_i32_u (local.get $length)))))
