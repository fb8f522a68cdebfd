(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 16)
  (func (export "run") (param i32 i32) (result i64)
    (local $a i32) (local $b i32)
    i32.const 1 local.set $a
    (loop $on
      local.get $a i32.const 13 i32.shl local.get $a i32.xor local.set $a
      local.get $a i32.const 17 i32.shr_u local.get $a i32.xor local.set $a
      local.get $a i32.const 5 i32.shl local.get $a i32.xor local.set $a
      local.get $b local.get $a i32.add local.set $b
      br $on)
    unreachable))
