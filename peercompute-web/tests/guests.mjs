// Modules that keep to the task ABI, or nearly, assembled by hand.

const I32 = 0x7f;
const I64 = 0x7e;

/** An unsigned number in LEB128. */
const leb = (number) => (number < 0x80 ? [number] : [(number & 0x7f) | 0x80, ...leb(number >>> 7)]);
const section = (id, ...items) => {
  const body = [...leb(items.length), ...items.flat()];
  return [id, ...leb(body.length), ...body];
};
const text = (name) => [name.length, ...Buffer.from(name)];
const body = (...code) => declaring([0], ...code);
const declaring = (locals, ...code) => [...leb(locals.length + code.length + 1), ...locals, ...code, 0x0b];

/** `run` is the code of its function; it may read local 0, the input's address, and local 1, its length, and count in local 2. `alloc` is the code of that one, `more` that of functions which nobody calls. */
function guest(run, { imports = [], pages = 1, alloc = [0x41, 0x80, 0x08], more = [] } = {}) {
  const first = imports.length;
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [0x60, 0, 1, I32], [0x60, 1, I32, 1, I32], [0x60, 2, I32, I32, 1, I64]),
    ...(first > 0 ? section(2, ...imports.map((name) => [...text("env"), ...text(name), 0, 0])) : []),
    ...section(3, [0], [1], [2], ...more.map(() => [0])),
    ...section(5, [0, pages]),
    ...section(7, [...text("memory"), 2, 0], [...text("abi_version"), 0, first], [...text("alloc"), 0, first + 1], [...text("run"), 0, first + 2]),
    ...section(10, body(0x41, 1), body(...alloc), declaring([1, 1, I32], ...run), ...more.map((code) => body(...code))),
  ]);
}

const ECHO = [0x20, 0, 0xad, 0x42, 32, 0x86, 0x20, 1, 0xad, 0x84];

/** Gives its input back. */
export const echo = guest(ECHO);

/** Gives back inputs up to some 2 MB. */
export const roomy = guest(ECHO, { pages: 32 });

/** Never ends to look for room. */
export const seeks = guest(ECHO, { alloc: [0x03, 0x40, 0x0c, 0, 0x0b, 0x00] });

/** Breaks off where it looks for room. */
export const roomless = guest(ECHO, { alloc: [0x00] });

/** Counts to forty million first. */
export const slow = guest([0x03, 0x40, 0x20, 2, 0x41, 1, 0x6a, 0x22, 2, 0x41, ...[0x80, 0xb4, 0x89, 0x13], 0x49, 0x0d, 0, 0x0b, ...ECHO]);

/** Says its input as why it gives up. */
export const givesUp = guest([...ECHO, 0x42, 0x80, 0x80, 0x80, 0x80, 0x08, 0x84]);

/** Never ends. */
export const hangs = guest([0x03, 0x40, 0x0c, 0, 0x0b, 0x00]);

/** Takes memory, page by page, until it gets none, and breaks off. */
export const bomb = guest([0x02, 0x40, 0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x46, 0x0d, 1, 0x0c, 0, 0x0b, 0x0b, 0x00]);

/** Breaks off. */
export const traps = guest([0x00]);

/** Wants something of the host. */
export const wants = guest(ECHO, { imports: ["clock"] });

/** Says that its answer lies far outside its memory. */
export const outside = guest([0x42, 0x7f, 0x42, 33, 0x86]);

/** Gives its input back, and has 3.6 MB of additions in it; its first function ends with `end`. */
export const long = (imports = [], end = []) => {
  const sum = [0x41, 1, ...Array.from({ length: 20_000 }, () => [0x41, 1, 0x6a]).flat()];
  return guest(ECHO, { imports, more: Array.from({ length: 60 }, (_, index) => (index === 0 ? [...sum, ...end] : sum)) });
};
