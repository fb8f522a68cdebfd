;; Runs into the maximum that it declares itself, which is none of the host's, and breaks off.
(module
  (memory (export "memory") 1 2)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 5)))
    unreachable))
