;; Grows a table for ever, by much at a time, and breaks off when it cannot.
(module
  (memory (export "memory") 1)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (table $table 1 funcref)
  (func (export "run") (param i32 i32) (result i64)
    (loop $again
      (br_if $again
        (i32.ne (table.grow $table (ref.null func) (i32.const 20000)) (i32.const -1))))
    unreachable))
