// A generator that ganzoo exported, run by any of onnxruntime's JavaScript packages, with the latents that Python draws
// for the same seed. The file says itself what goes in and what comes out.
//
//     const generator = await Generator.open(ort, bytes);
//     const { width, height, rgba } = generator.image(await generator.sample(16, { seed: 0 }), 3);

import { Philox } from "./philox.js";

const SCHEMA = 1; // the version of the metadata document that is read here
const FAR = 8; // what normal numbers never reach
const DAMAGED = "the model is not an ONNX file, or it is cut short";

export class Generator {
  /** ort: onnxruntime-web or onnxruntime-node; bytes: the file as a Uint8Array; options: those of a session. */
  static async open(ort, bytes, options = {}) {
    const metadata = readMetadata(bytes);
    return new Generator(ort, await ort.InferenceSession.create(bytes, options), metadata);
  }

  constructor(ort, session, metadata) {
    const { inputs, output } = metadata.signature;
    const known = ["latent", "truncation", "styles", "label", "attributes"];
    const foreign = inputs.find((field) => !known.includes(field.kind) && !(isCaption(field) && field.examples?.length));
    if (foreign) throw new Error(`this model cannot be sampled from noise alone: it takes ${foreign.kind} too`);
    // Of a style-based model: shares of the styles that are mapped from latents, and what the rest of them is.
    const [shares, styles] = ["truncation", "styles"].map((name) => inputs.find(({ kind }) => kind === name));
    Object.assign(this, { ort, session, metadata, inputs, output, shares, styles });
  }

  /** The latents of n samples by the input's name, each a Float32Array [n, ...shape]: those of the seed in Python. */
  latents(n, seed) {
    const fields = this.inputs.filter(({ kind }) => kind === "latent");
    return Object.fromEntries(
      fields.map((field, index) => {
        const random = new Philox(seed, index);
        const values = new Float32Array(n * size(field.shape));
        for (let i = 0; i < values.length; i++) {
          values[i] = field.distribution === "normal" ? random.normal() : random.uniform() * 2 - 1;
        }
        return [field.name, values];
      }),
    );
  }

  /**
   * Samples on the way from one seed's first to another's: between latents along a great circle, or a line if uniform;
   * of a style-based model between styles, along a line. The ends are truncated, as Python's interpolate does it.
   */
  async walk(from, to, steps, { given = {}, truncation, strengths = {}, batch = 16 } = {}) {
    const [start, end] = [from, to].map((seed) => this.latents(1, seed));
    if (this.shares) {
      const mapped = (z) => this.mapped(1, this.move(1, z, undefined, strengths), given, truncation, batch);
      const styles = between(await mapped(start), await mapped(end), steps, false);
      return this.drawn(steps, styles, given, strengths, batch);
    }
    const fields = this.inputs.filter(({ kind }) => kind === "latent");
    const [first, last] = [start, end].map((z) => this.move(1, z, truncation, {}));
    const latents = fields.map(({ name, distribution }) => [
      name,
      between(first[name], last[name], steps, distribution === "normal"),
    ]);
    return this.generate(steps, Object.fromEntries(latents), { given, strengths, batch });
  }

  /** n samples of a seed, as one Float32Array (or Uint8Array) [n, ...shape]; see generate. */
  sample(n, { seed = 0, ...rest } = {}) {
    return this.generate(n, this.latents(n, seed), rest);
  }

  /**
   * The samples of n latents. given: a class, attributes or the tokens of a caption by the input's name; see conditions. truncation:
   * what the distance of latents (of styles, where there are any) from their mean is multiplied by, or where latents are
   * to be resampled, the threshold that all numbers are within; none by default. strengths: how much of each named direction
   * is added. mix, of a style-based model: { latents, layer } of which the styles from that layer on are taken.
   */
  async generate(n, latents, { given = {}, truncation, strengths = {}, mix, batch = 16 } = {}) {
    if (!this.shares) return this.compute(n, this.move(n, latents, truncation, strengths), given, batch);
    const { name, shape } = this.styles;
    const [layers, length] = shape;
    const moved = this.move(n, latents, undefined, strengths);
    const edited = Object.keys(strengths).some((each) => strengths[each] && this.metadata.directions[each].latent === name);
    if (!edited && !mix) return this.compute(n, { ...moved, ...this.truncated(n, truncation) }, given, batch);
    const styles = await this.mapped(n, moved, given, truncation, batch);
    if (mix) {
      const others = await this.mapped(n, mix.latents, given, truncation, batch);
      const taken = (i) => Math.floor(i / length) % layers >= mix.layer;
      styles.forEach((_, i) => taken(i) && (styles[i] = others[i]));
    }
    return this.drawn(n, styles, given, strengths, batch);
  }

  /** The styles, [n, layers, length], that latents are mapped to, truncated. */
  mapped(n, latents, given, truncation, batch) {
    return this.compute(n, { ...latents, ...this.truncated(n, truncation) }, given, batch, 1);
  }

  /** The samples of styles, [n, layers, length], moved along the directions of styles. */
  drawn(n, styles, given, strengths, batch) {
    const { shares } = this;
    const moved = this.move(n, { [this.styles.name]: styles }, undefined, strengths);
    const nothing = { [shares.name]: new Float32Array(n * size(shares.shape)) }; // of what any latents are mapped to
    return this.compute(n, { ...this.latents(n, 0), ...nothing, ...moved }, given, batch);
  }

  /** The inputs that truncate styles: shares of what is mapped, and their mean for the rest. */
  truncated(n, truncation = 1) {
    const { shares, styles } = this;
    const mean = this.metadata.latent_mean?.[styles.name];
    const length = styles.shape[1];
    return {
      [shares.name]: new Float32Array(n * size(shares.shape)).fill(truncation),
      [styles.name]: Float32Array.from({ length: n * size(styles.shape) }, (_, i) => mean?.[i % length] ?? 0),
    };
  }

  /** An output of the network for n samples, in batches; inputs that are not there are conditions, see there. */
  async compute(n, inputs, given, batch, output = 0) {
    const rows = Array.from({ length: n }, (_, i) => conditions(this.inputs, i, given));
    let samples;
    for (let start = 0; start < n; start += batch) {
      const stop = Math.min(start + batch, n);
      const feed = {};
      for (const field of this.inputs) {
        const length = size(field.shape);
        const values = inputs[field.name]?.slice(start * length, stop * length);
        const conditions = rows.slice(start, stop).map((row) => row[field.name]);
        feed[field.name] = this.tensor(field, values ?? conditions.flat(), stop - start);
      }
      const name = this.session.outputNames[output];
      const { data } = (await this.session.run(feed, [name]))[name];
      samples ??= new data.constructor((n * data.length) / (stop - start));
      samples.set(data, (start * data.length) / (stop - start));
    }
    return samples;
  }

  move(n, latents, truncation, strengths) {
    const moved = {};
    for (const [name, values] of Object.entries(latents)) {
      const length = values.length / n;
      moved[name] = truncation === undefined ? values : this.truncate(name, values, truncation);
      for (const [direction, strength] of Object.entries(strengths)) {
        const { latent, vector, layers } = this.metadata.directions[direction];
        if (latent !== name) continue;
        const [first, last] = layers ?? [0, Infinity]; // of styles, a vector is for each of these layers
        moved[name] = moved[name].map((value, i) => {
          const layer = Math.floor((i % length) / vector.length);
          return layer >= first && layer <= last ? value + strength * vector[i % vector.length] : value;
        });
      }
    }
    return moved;
  }

  truncate(name, values, truncation) {
    const resampled = this.inputs.find((field) => field.name === name).truncation === "resampled";
    if (resampled) return values.map(truncatedNormal(truncation));
    const [mean, t] = [this.metadata.latent_mean?.[name], Math.fround(truncation)];
    const center = (i) => (mean ? mean[i % mean.length] : 0);
    return values.map((value, i) => center(i) + Math.fround(Math.fround(value - center(i)) * t));
  }

  tensor(field, values, n) {
    const { kind, shape } = field;
    if (!["label", "tokens"].includes(kind)) {
      return new this.ort.Tensor("float32", Float32Array.from(values), [n, ...shape]);
    }
    const [what, count] = kind === "label" ? ["class", field.classes] : ["token", field.vocabulary];
    const wrong = values.find((value) => !(Number.isInteger(value) && value >= 0 && value < count));
    if (wrong !== undefined) throw new RangeError(`there is no ${what} ${wrong}: there are 0 .. ${count - 1}`);
    return new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [n, ...shape]);
  }

  /** Sample i of tokens in one line, as Python's lines() writes it: its text, or numbers where tokens have no texts. */
  line(samples, i) {
    const { kind, dtype, shape, vocabulary, tokens } = this.output;
    if (kind !== "tokens") throw new Error(`this model gives ${kind}, not text`);
    const [length] = shape;
    let numbers = Array.from({ length }, (_, place) => {
      if (dtype === "int64") return Number(samples[i * length + place]);
      const row = samples.subarray((i * length + place) * vocabulary, (i * length + place + 1) * vocabulary);
      return row.reduce((best, value, token) => (value > row[best] ? token : best), 0); // the first of the largest
    });
    if (!tokens.length) return numbers.join(" ");
    if (tokens[0] !== "") return escaped(numbers.map((token) => tokens[token]).join(""));
    // The first token 0 ends a sample; words bring the space before them along.
    if (numbers.includes(0)) numbers = numbers.slice(0, numbers.indexOf(0));
    return escaped(numbers.map((token) => tokens[token]).join("").replace(/^ /, ""));
  }

  /** Image i of samples, as 8-bit RGBA: rounded half up and clipped, as Python's pixels() does. */
  image(samples, i) {
    const { kind, shape, range, layout = "NCHW" } = this.output;
    if (kind !== "image") throw new Error(`this model gives ${kind}, and only images can be shown`);
    const [channels, height, width] = layout === "NHWC" ? [shape[2], shape[0], shape[1]] : shape;
    const [low, high] = range.map(Math.fround);
    const scale = Math.fround(255 / (range[1] - range[0]));
    const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
    for (let at = 0; at < width * height; at++) {
      for (let c = 0; c < Math.max(channels, 3); c++) {
        const channel = Math.min(c, channels - 1); // a grayscale image is the same in red, green and blue
        const offset = layout === "NHWC" ? at * channels + channel : channel * width * height + at;
        const value = samples[i * channels * width * height + offset];
        rgba[4 * at + c] =
          samples instanceof Uint8Array
            ? value
            : Math.floor(Math.fround(Math.fround(Math.fround(value - low) * scale) + 0.5));
      }
    }
    return { width, height, rgba };
  }
}

/**
 * Normal numbers as if those beyond the threshold had been drawn again until they are within (BigGAN, arXiv:1809.11096):
 * a function to the same quantile of the truncated normal distribution, as Python's truncated_normal().
 */
export function truncatedNormal(threshold) {
  if (!(threshold > 0)) throw new RangeError(`the truncation is above 0 for this model, not ${threshold}`);
  const bound = Math.min(threshold, FAR);
  const within = 2 * central(bound);
  return (value) => {
    const share = central(Math.min(Math.abs(value), FAR)) * within;
    let found = 0; // Newton's steps never go past the solution from here, as the slope falls
    for (let step = 1; step > 1e-9 && found < bound; found += step) step = (share - central(found)) / density(found);
    return Math.sign(value) * Math.min(found, bound);
  };
}

function density(x) {
  return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
}

/** The probability that a normal number is between 0 and x (Marsaglia 2004). */
function central(x) {
  let [sum, term] = [0, x];
  for (let i = 3; sum + term !== sum; i += 2) [sum, term] = [sum + term, (term * x * x) / i];
  return density(x) * sum;
}

/**
 * What sample i is drawn for, by the input's name. What is not given takes turns: labels all their combinations, the
 * first label changing fastest, attributes and captions their examples (zeros if there are none).
 */
export function conditions(inputs, i, given = {}) {
  let rest = i;
  const chosen = {};
  for (const { kind, name, classes, examples, shape } of inputs) {
    if (["latent", "truncation", "styles"].includes(kind)) continue;
    if (given[name] !== undefined) {
      chosen[name] = given[name];
    } else if (kind === "label") {
      chosen[name] = rest % classes;
      rest = Math.floor(rest / classes);
    } else {
      chosen[name] = examples?.length ? examples[i % examples.length] : new Array(shape[0]).fill(0);
    }
  }
  return chosen;
}

/** Whether an input is a caption: tokens that are words, of which number 0 has no text and fills up. */
export function isCaption({ kind, dtype, tokens }) {
  return kind === "tokens" && dtype === "int64" && tokens[0] === "";
}

/** The words of a text as Python finds them: letters, marks and digits, in lower case, without apostrophes. */
export function words(text) {
  const plain = text.normalize("NFC").toLowerCase().replace(/['\u2019]/g, "");
  return plain.match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

/** The tokens of a caption, filled up with 0; throws for words that the input does not know. */
export function captionTokens(text, field) {
  const [length] = field.shape;
  const tokens = field.tokens.map((token) => token.trim()); // words have the space before them
  const found = words(text);
  if (!found.length || found.length > length) {
    throw new Error(`A text has from 1 to ${length} words for this model; this one has ${found.length}.`);
  }
  const unknown = [...new Set(found)].filter((word) => !tokens.includes(word));
  if (unknown.length) throw new Error(`The model does not know ${unknown.join(", ")}. It knows: ${tokens.slice(1, 65).join(", ")}`);
  return [...found.map((word) => tokens.indexOf(word)), ...new Array(length - found.length).fill(0)];
}

/** The words of a caption's tokens. */
export function captionText(numbers, { tokens }) {
  return numbers.map((number) => tokens[number]).join("").trim();
}

/** The document that ganzoo keeps in the metadata of an ONNX file. */
export function readMetadata(bytes) {
  const decoder = new TextDecoder();
  for (const [number, entry] of fields(bytes)) {
    if (number !== 14) continue; // ModelProto.metadata_props: field 1 is the key, 2 the value
    const { 1: key, 2: value } = Object.fromEntries(fields(entry));
    if (decoder.decode(key) !== "ganzoo") continue;
    const metadata = JSON.parse(decoder.decode(value));
    if (metadata.schema > SCHEMA) throw new Error(`the model is of schema ${metadata.schema}; ${SCHEMA} is read here`);
    return metadata;
  }
  throw new Error("the model was not exported by ganzoo, or it is damaged");
}

/** The number and content of each field of a protobuf message. */
function* fields(message) {
  let position = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[position++];
      if (byte === undefined) throw new Error(DAMAGED);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (position < message.length) {
    const key = varint();
    const wire = key % 8;
    const length = wire === 0 ? (varint(), 0) : wire === 2 ? varint() : { 1: 8, 5: 4 }[wire];
    if (length === undefined || position + length > message.length) throw new Error(DAMAGED);
    yield [Math.floor(key / 8), message.subarray(position, (position += length))];
  }
}

function escaped(text) {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function size(shape) {
  return shape.reduce((product, length) => product * length, 1);
}

/** Numbers on the way from one array to another, Float32Array [steps, length], along a great circle or a line. */
function between(start, end, steps, spherical) {
  const way = spherical ? greatCircle(start, end) : line;
  const values = new Float32Array(steps * start.length);
  for (let step = 0; step < steps; step++) {
    const [a, b] = way(steps > 1 ? step / (steps - 1) : 0);
    values.set(start.map((value, i) => a * value + b * end[i]), step * start.length);
  }
  return values;
}

function line(t) {
  return [1 - t, t];
}

function greatCircle(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  if (!(Math.abs(cosine) <= 1 - 1e-6)) return line;
  const angle = Math.acos(cosine);
  return (t) => [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
}
