// Runs the model on a thread of its own, so that the page stays responsive. The page sends {id, task, ...} and gets
// {id, result} or {id, error} back.

import { Generator } from "./generator.js";

const BUILDS = {
  wasm: { script: "ort.wasm.min.js", binary: "ort-wasm-simd-threaded" },
  webgpu: { script: "ort.jspi.min.js", binary: "ort-wasm-simd-threaded.jspi" },
};
let generator;

const tasks = {
  /** Load onnxruntime and the model; resolves to the model's metadata. */
  async open({ backend }) {
    const { script, binary } = BUILDS[backend];
    const at = (name) => new URL(`ort/${name}`, import.meta.url).href;
    const ort = await import(at(script));
    ort.env.wasm.wasmPaths = { mjs: at(`${binary}.js`), wasm: at(`${binary}.wasm`) };
    ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
    const response = await fetch(new URL("generator.onnx", import.meta.url));
    if (!response.ok) throw new Error(`generator.onnx cannot be loaded: ${response.status} ${response.statusText}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    generator = await Generator.open(ort, bytes, { executionProviders: [backend], logSeverityLevel: 3 });
    return generator.metadata;
  },

  /** Images, or lines of text, of a seed's first samples. */
  sample: ({ count, seed, mix, ...options }) => {
    const other = mix && { latents: generator.latents(count, mix.seed), layer: mix.layer };
    return shown(count, generator.sample(count, { seed, mix: other, ...options }));
  },

  /** Images, or lines of text, on the way between two seeds. */
  walk: ({ count, from, to, ...options }) => shown(count, generator.walk(from, to, count, options)),
};

async function shown(count, samples) {
  const drawn = await samples;
  const show = generator.output.kind === "tokens" ? "line" : "image";
  return Array.from({ length: count }, (_, i) => generator[show](drawn, i));
}

self.onmessage = async ({ data: { id, task, ...request } }) => {
  try {
    self.postMessage({ id, result: await tasks[task](request) });
  } catch (error) {
    self.postMessage({ id, error: error?.message ?? String(error) });
  }
};
