;; Shares its memory.
(module
  (memory (export "memory") 1 2 shared)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64)
    (i64.atomic.rmw.add (i32.const 0) (i64.const 1))))
