/* Counts the lines, words and bytes of its input, like wc: a task in C, without any library.

   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,-z,stack-size=65536 -o word-count.wasm word-count.c

   The result is three numbers of 8 bytes, little endian. An input with a byte 0 in it is no text, and refused. */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))
#define PAGE 65536u
#define GAVE_UP 0x80000000u

/* Where the linker has put the end of data and stack. */
extern u8 __heap_base;

EXPORT("abi_version") int abi_version(void) { return 1; }

/* There is one input in the life of an instance: it goes behind everything else. */
EXPORT("alloc") u32 alloc_input(u32 length) {
  u64 start = ((u32)&__heap_base + 15) & ~15u;
  u64 end = start + length;
  u64 size = (u64)__builtin_wasm_memory_size(0) * PAGE;
  if (end > size) {
    u32 missing = (u32)((end - size + PAGE - 1) / PAGE);
    if (__builtin_wasm_memory_grow(0, missing) == (__SIZE_TYPE__)-1) return 0;
  }
  return (u32)start;
}

static u64 answer(const void *bytes, u32 length) { return (u64)(u32)bytes << 32 | length; }

static const char no_text[] = "the input has a byte 0 in it, so it is no text";

static u64 counts[3];

static int is_space(u8 byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

EXPORT("run") u64 run(const u8 *input, u32 length) {
  int inside = 0;
  for (u32 at = 0; at < length; at++) {
    u8 byte = input[at];
    if (byte == 0) return answer(no_text, (sizeof no_text - 1) | GAVE_UP);
    counts[0] += byte == '\n';
    counts[1] += !inside && !is_space(byte);
    inside = !is_space(byte);
  }
  counts[2] = length;
  return answer(counts, sizeof counts);
}
