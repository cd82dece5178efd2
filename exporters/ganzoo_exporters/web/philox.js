// The numbers of a seed, one by one those of numpy.random.Generator(numpy.random.Philox(seed)):
// Philox4x64-10 (Salmon et al. 2011), keyed by NumPy's SeedSequence, and for normal ones a ziggurat of 256 layers
// (Marsaglia and Tsang 2000) in float32. Exact but for the tail beyond 3.654, one number in four thousand: there NumPy
// asks the C library for a logarithm, and the last bit of a float32 may differ, as it does between C libraries.

const LOW = (1n << 64n) - 1n;

export class Philox {
  /** seed: a whole number of at least 0, as a number, a BigInt or digits; jumps: how often 2^128 draws are skipped. */
  constructor(seed, jumps = 0) {
    this.key = keyOf(BigInt(seed));
    this.counter = [0n, 0n, BigInt(jumps), 0n];
    this.block = new BigUint64Array(4);
    this.words = new Uint32Array(this.block.buffer); // each 64-bit number is handed out as two words, the low one first
    this.position = 8;
  }

  /** The next 32 random bits. */
  word() {
    if (this.position === 8) {
      this.refill();
      this.position = 0;
    }
    return this.words[this.position++];
  }

  /** A number in [0, 1) with 24 random bits. */
  uniform() {
    return (this.word() >>> 8) / 16777216;
  }

  /** A standard normal number that a float32 holds. */
  normal() {
    for (;;) {
      const word = this.word();
      const layer = word & 255;
      const magnitude = word >>> 9;
      const inside = Math.fround(magnitude * WIDTH[layer]);
      const x = word & 256 ? -inside : inside;
      if (magnitude < ACCEPT[layer]) return x;
      if (layer === 0) return this.tail(magnitude & 256 ? -1 : 1);
      const step = Math.fround(HEIGHT[layer - 1] - HEIGHT[layer]);
      const height = Math.fround(Math.fround(step * this.uniform()) + HEIGHT[layer]);
      if (height < Math.exp(-0.5 * x * x)) return x;
    }
  }

  tail(sign) {
    for (;;) {
      const x = Math.fround(-INVERSE_EDGE * Math.fround(Math.log1p(-this.uniform())));
      const y = -Math.fround(Math.log1p(-this.uniform()));
      if (Math.fround(y + y) > Math.fround(x * x)) return sign * Math.fround(Math.fround(EDGE) + x);
    }
  }

  refill() {
    const counter = this.counter;
    for (let i = 0; i < 4 && (counter[i] = (counter[i] + 1n) & LOW) === 0n; i++); // carries to the next word
    let [a, b, c, d] = counter;
    let [k, l] = this.key;
    for (let round = 0; round < 10; round++) {
      const p = 0xd2e7470ee14c6c93n * a;
      const q = 0xca5a826395121157n * c;
      [a, b, c, d] = [(q >> 64n) ^ b ^ k, q & LOW, (p >> 64n) ^ d ^ l, p & LOW];
      k = (k + 0x9e3779b97f4a7c15n) & LOW;
      l = (l + 0xbb67ae8584caa73bn) & LOW;
    }
    this.block.set([a, b, c, d]);
  }
}

// The ziggurat: EDGE is where the tail begins, AREA that of each layer. WIDTH is a layer's width over 2^23, HEIGHT the
// density at its edge, ACCEPT the share of 2^23 that is inside whatever the height.
const EDGE = 3.6541528853610088;
const INVERSE_EDGE = Math.fround(0.27366123732975828);
const AREA = 0.00492867323399;
const [WIDTH, HEIGHT, ACCEPT] = ziggurat();

function ziggurat() {
  const scale = 2 ** 23;
  const [width, height, accept] = [new Float64Array(256), new Float64Array(256), new Uint32Array(256)];
  let x = EDGE;
  width[255] = x / scale;
  height[255] = Math.exp(-0.5 * x * x);
  accept[0] = Math.round(((x * height[255]) / AREA) * scale);
  width[0] = AREA / height[255] / scale;
  height[0] = 1;
  for (let layer = 254; layer > 0; layer--) {
    const next = Math.sqrt(-2 * Math.log(AREA / x + height[layer + 1]));
    accept[layer + 1] = Math.round((next / x) * scale);
    width[layer] = next / scale;
    height[layer] = Math.exp(-0.5 * next * next);
    x = next;
  }
  return [Float32Array.from(width), Float32Array.from(height), accept];
}

/** NumPy's SeedSequence(seed).generate_state(2, uint64). */
function keyOf(seed) {
  if (seed < 0n) throw new RangeError("a seed is a whole number of at least 0");
  const entropy = [];
  for (let rest = seed; entropy.length < 4 || rest > 0n; rest >>= 32n) entropy.push(Number(rest & 0xffffffffn));
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = entropy.slice(0, 4).map(hash);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (to !== from) pool[to] = mix(pool[to], hash(pool[from]));
  }
  for (const word of entropy.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));
  const [a, b, c, d] = pool.map(hasher(0x8b51f9dd, 0x58f38ded)).map(BigInt);
  return [(b << 32n) | a, (d << 32n) | c];
}

function hasher(constant, factor) {
  return (value) => {
    const mixed = value ^ constant;
    constant = Math.imul(constant, factor);
    return fold(Math.imul(mixed, constant));
  };
}

function mix(a, b) {
  return fold(Math.imul(0xca01f9dd, a) - Math.imul(0x4973f715, b));
}

function fold(value) {
  return (value ^ (value >>> 16)) >>> 0;
}
