;; Asks for more memory than it can have, is refused, and gives the size that it has got, in pages.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 65535)))
    (i32.store (i32.const 0) (memory.size))
    i64.const 4))
