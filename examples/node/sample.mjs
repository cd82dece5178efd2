// Draws samples with onnxruntime-node, the same as in Python for the same seed: a grid of images, or lines of text.
//
//     node sample.mjs generator.onnx grid.png|lines.txt [n] [seed] [class]

import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { PNG } from "pngjs";
// In a project of your own, copy these two files beside this one: generator.js and philox.js.
import { Generator } from "../../exporters/ganzoo_exporters/web/generator.js";

const [model, path, count = "16", seed = "0", label] = process.argv.slice(2);
const n = Number(count);
if (!path || !(Number.isInteger(n) && n > 0) || !/^[0-9]+$/.test(seed)) {
  console.error("usage: node sample.mjs generator.onnx grid.png|lines.txt [n] [seed] [class]");
  process.exit(2);
}

process.env.ORT_DISABLE_TELEMETRY ??= "1"; // onnxruntime reads it with the first session

try {
  const generator = await Generator.open(ort, readFileSync(model), { logSeverityLevel: 3 });
  const labels = label === undefined ? [] : generator.inputs.filter(({ kind }) => kind === "label");
  if (label !== undefined && !labels.length) throw new Error("this model has no classes, so it takes none");
  const given = Object.fromEntries(labels.map(({ name }) => [name, Number(label)])); // none: all classes in turn
  const samples = await generator.sample(n, { seed, given });

  if (generator.output.kind === "tokens") {
    writeFileSync(path, Array.from({ length: n }, (_, i) => `${generator.line(samples, i)}\n`).join(""));
  } else {
    writeFileSync(path, grid(generator, samples, n));
  }
  console.log(`${path}: ${n} samples`);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

function grid(generator, samples, n) {
  const columns = Math.ceil(Math.sqrt(n));
  const { width, height } = generator.image(samples, 0);
  const grid = new PNG({ width: columns * width, height: Math.ceil(n / columns) * height });
  for (let i = 0; i < n; i++) {
    const tile = new PNG({ width, height });
    tile.data.set(generator.image(samples, i).rgba);
    PNG.bitblt(tile, grid, 0, 0, width, height, (i % columns) * width, Math.floor(i / columns) * height);
  }
  return PNG.sync.write(grid);
}
