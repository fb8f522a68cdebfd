"""How fast NumPy's OpenBLAS multiplies matrices; the same figures as the example `cpu-matmul`. `cargo xtask blas-bench` runs both."""

import sys
import time

import numpy

side, repeats = int(sys.argv[1]), int(sys.argv[2])
noise = lambda seed: ((numpy.arange(side * side) + seed) * 7919 % 1009 / 1009 - 0.5).astype(numpy.float32).reshape(side, side)
left, right = noise(0), noise(1)
rates = []
for _ in range(repeats + 1):
    begun = time.perf_counter()
    left @ right
    rates.append(2 * side**3 / (time.perf_counter() - begun) / 1e9)
rates = sorted(rates[1:])
print(f"{rates[-1]:.1f} {rates[repeats // 2]:.1f}")
