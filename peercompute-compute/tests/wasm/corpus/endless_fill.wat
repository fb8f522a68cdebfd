;; Never ends, and does much for each unit of fuel: it fills a megabyte again and again.
(module
  (memory (export "memory") 16)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64)
    (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 1048576))
      (br $again))
    unreachable))
