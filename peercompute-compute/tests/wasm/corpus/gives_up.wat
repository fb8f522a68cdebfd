;; Gives up and says why.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (data (i32.const 16) "the input has no bodies")
  (func (export "run") (param i32 i32) (result i64) i64.const 0x00000010_80000017))
