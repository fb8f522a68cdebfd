;; Calls what is not in its table.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (table 4 funcref)
  (type $nothing (func))
  (func (export "run") (param i32 i32) (result i64)
    (call_indirect (type $nothing) (i32.const 77))
    i64.const 0))
