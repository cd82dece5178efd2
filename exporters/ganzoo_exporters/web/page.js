// The page: controls made from the model's signature, images drawn by the worker, everything else plain HTML.

import { captionText, captionTokens, conditions, isCaption } from "./generator.js";

const $ = (id) => document.getElementById(id);
const form = $("controls");
const STEPS = 17; // of a walk; every second one is in its strip
const PAUSE = 800; // ms without a key after which a text is taken for finished
let metadata;
let drawn = {}; // what is on the page: requests, and the images they gave
let busy = false;
let stale = false;

/** A worker with the model in it; ask(task, request) resolves to the reply. */
function start(backend) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    const error = new Error(event.message || "the model's script cannot be loaded");
    for (const { reject } of waiting.values()) reject(error);
  };
  const ask = (task, request) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ id: last, task, ...request });
    });
  return { backend, ask, opened: ask("open", { backend }), stop: () => worker.terminate() };
}

let model = start("wasm");

// ---- what the controls say

/** Whether a slider is at its end, and that end means that nothing is truncated, or mixed. */
function isNone(id) {
  const { value, max, dataset } = $(id);
  return "none" in dataset && value === max;
}

/** What is asked for; throws if a seed is no whole number. */
function request() {
  const values = Object.fromEntries(new FormData(form));
  const named = (prefix) => Object.entries(values).filter(([name, value]) => name.startsWith(prefix) && value !== "");
  for (const name of ["seed", "from", "to", "mix"]) {
    const wrong = !/^[0-9]+$/.test(values[name] ?? 0); // there is no mixing without styles
    $(name).setAttribute("aria-invalid", wrong);
    if (wrong) throw new Error("A seed is a whole number, such as 7.");
  }
  const given = Object.fromEntries(named("label:").map(([name, value]) => [name.slice(6), Number(value)]));
  if (values.temperature) given.temperature = [Number(values.temperature)];
  for (const field of metadata.signature.inputs.filter(isCaption)) {
    const text = values[`text:${field.name}`];
    if (text.trim()) given[field.name] = captionTokens(text, field);
  }
  const strengths = Object.fromEntries(named("direction:").map(([name, value]) => [name.slice(10), Number(value)]));
  const truncation = values.truncation === undefined || isNone("truncation") ? undefined : Number(values.truncation);
  const common = { truncation, strengths };
  const chosen = conditions(metadata.signature.inputs, Number(values.chosen ?? 0), given); // a walk keeps to its class
  const mix = values.layer === undefined || isNone("layer") ? undefined : { seed: values.mix, layer: Number(values.layer) };
  return {
    grid: { task: "sample", count: Number(values.count), seed: values.seed, given, mix, ...common },
    walk: { task: "walk", count: STEPS, from: values.from, to: values.to, given: chosen, ...common },
  };
}

/** The class of sample i, or its caption, in words. */
function classOf(i) {
  const { inputs } = metadata.signature;
  const chosen = conditions(inputs, i, drawn.grid.given);
  return inputs
    .filter((field) => field.kind === "label" || isCaption(field))
    .map((field) => {
      const value = chosen[field.name];
      return field.kind === "label" ? `, class ${field.names?.[value] ?? value}` : `: ${captionText(value, field)}`;
    })
    .join("");
}

function buildControls() {
  const { model: of, data, signature, paper, license } = metadata;
  const [name, output] = [of?.key ?? "generator", signature.output];
  const [channels, height, width] = output.layout === "NHWC" ? [output.shape[2], ...output.shape] : output.shape;
  const text = output.kind === "tokens";
  if (text) turnIntoText();
  document.title = data?.name ? `${name} · ${data.name}` : name;
  $("title").textContent = document.title;
  const about = {
    Latent: signature.inputs.filter(({ kind }) => kind === "latent").map(({ shape }) => shape.join(" × ")).join(", "),
    Image: !text && `${width} × ${height}, ${channels === 1 ? "grayscale" : "color"}`,
    Text: text && `${output.shape[0]} tokens out of ${output.vocabulary}`,
    Paper: paper,
    License: license,
  };
  for (const [term, value] of Object.entries(about)) {
    if (!value) continue;
    const [div, dt, dd] = ["div", "dt", "dd"].map((name) => document.createElement(name));
    [dt.textContent, dd.textContent] = [term, value];
    div.append(dt, dd);
    $("metadata").append(div);
  }
  const labels = signature.inputs.filter(({ kind }) => kind === "label");
  for (const { name, names, classes } of labels) {
    const [control, select] = clone("choice", `label:${name}`, labels.length > 1 ? `Class ${name}` : "Class");
    select.add(new Option("All in turn", ""));
    for (let i = 0; i < classes; i++) select.add(new Option(names?.[i] ?? i, i));
    $("labels").append(control);
  }
  for (const field of signature.inputs.filter(isCaption)) {
    const [control, input] = clone("words", `text:${field.name}`, "Draw");
    input.placeholder = captionText(field.examples[0], field);
    $("labels").append(control);
  }
  if (signature.inputs.some(({ truncation }) => truncation === "resampled")) {
    Object.assign($("truncation"), { min: 0.05, max: 3, value: 3 });
    $("truncation").dataset.none = true;
    $("truncation-of").textContent = "The truncation: numbers of the latents beyond it are drawn again, within it.";
  }
  const heat = signature.inputs.find(({ kind, name }) => kind === "attributes" && name === "temperature");
  if (heat) {
    // It is what varies such samples; a truncation would only take the middle of all that chance can give.
    $("variety").textContent = "Temperature";
    Object.assign($("truncation"), { name: "temperature", max: 2, value: heat.examples?.[0]?.[0] ?? 1 });
    $("truncation-of").textContent = "0 draws the likeliest tokens, less than 1 is more typical, more is more varied.";
  }
  const styles = signature.inputs.find(({ kind }) => kind === "styles");
  if (styles) {
    const [layers] = styles.shape;
    Object.assign($("layer"), { max: layers, value: layers });
    $("mixing").hidden = $("mixing").disabled = layers < 2; // of one layer nothing can be mixed
    $("truncation-of").textContent = "The truncation psi of the styles: less is more typical, more is more varied.";
  }
  for (const [name, { range }] of Object.entries(metadata.directions ?? {})) {
    const [control, input] = clone("slider", `direction:${name}`, name);
    Object.assign(input, stops(range ?? [-3, 3]), { value: 0 });
    $("directions").append(control);
    $("directions").hidden = false;
  }
  if (!(navigator.gpu && "Suspending" in WebAssembly)) {
    const option = $("backend").options[1];
    option.disabled = true;
    option.text += ": not in this browser";
  }
}

/** The stops of a slider over a range: multiples of a power of ten, so that 0, where nothing is moved, is one of them. */
function stops([low, high]) {
  const [least, most] = [Math.min(low, 0), Math.max(high, 0)];
  const step = 10 ** Math.floor(Math.log10((most - least) / 50));
  const multiple = (number) => Number((number * step).toPrecision(12));
  return { min: multiple(Math.ceil(least / step)), max: multiple(Math.floor(most / step)), step: multiple(1) };
}

/** Of a model of texts, paragraphs take the places of the canvases. */
function turnIntoText() {
  for (const id of ["chosen", "frame", "strip"]) {
    const paragraph = document.createElement("p");
    paragraph.id = id;
    $(id).replaceWith(paragraph);
  }
  $("grid").classList.add("text");
}

function clone(template, name, text) {
  const control = $(template).content.firstElementChild.cloneNode(true);
  const [label, input, output] = ["label", "input, select", "output"].map((part) => control.querySelector(part));
  [input.name, input.id, label.textContent] = [name, `control-${form.elements.length}`, text];
  for (const element of [label, output]) element?.setAttribute("for", input.id);
  return [control, input];
}

/** The controls' values are in the address, so that a link shows the same images. */
function restore() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const control = form.elements.namedItem(name);
    if (control && name !== "backend") control.value = value;
    if (control instanceof HTMLSelectElement && control.selectedIndex < 0) control.selectedIndex = 0;
  }
}

function remember() {
  const values = new URLSearchParams(new FormData(form));
  values.delete("chosen");
  history.replaceState(null, "", `#${values}`);
  for (const output of document.querySelectorAll("output")) {
    const { id, value, max } = $(output.htmlFor.value);
    if (id === "position") output.value = `${Math.round((100 * value) / max)} %`;
    else if (isNone(id)) output.value = "none";
    else if (id === "layer") output.value = value;
    else output.value = Math.abs(value) < 0.1 && Number(value) ? Number(value).toPrecision(2) : Number(value).toFixed(2);
  }
}

// ---- images

/** Draw what the controls ask for; while one drawing is under way, the newest wish waits and older ones are dropped. */
async function draw() {
  remember();
  stale = true;
  if (busy) return;
  busy = true;
  while (stale) {
    stale = false;
    try {
      const wish = request();
      const samples = await renew($("samples"), "grid", wish.grid, showSamples);
      if (samples) say(samples);
      const walk = await renew($("walk"), "walk", wish.walk, showWalk);
      if (walk && !samples) say(walk);
    } catch (error) {
      say(error.message);
    }
  }
  busy = false;
}

/** Ask the model for images, unless they are there already, and show them; return a description of what was drawn. */
async function renew(section, what, wish, show) {
  if (JSON.stringify(wish) === JSON.stringify(drawn[what])) return show();
  section.setAttribute("aria-busy", "true");
  const began = performance.now();
  const images = await model.ask(wish.task, wish).finally(() => section.setAttribute("aria-busy", "false"));
  drawn = { ...drawn, [what]: wish, [`${what}Images`]: images };
  show();
  const of = what === "grid" ? `seed ${wish.seed}` : `a walk from seed ${wish.from} to ${wish.to}`;
  const samples = images.length === 1 ? "1 sample" : `${images.length} samples`;
  return `${samples} of ${of} in ${Math.round(performance.now() - began)} ms`;
}

function showSamples() {
  const images = drawn.gridImages;
  const grid = $("grid");
  grid.style.setProperty("--columns", columns(images));
  while (grid.children.length > images.length) grid.lastChild.remove();
  const chosen = Math.min(new FormData(form).get("chosen") ?? 0, images.length - 1);
  images.forEach((image, i) => {
    if (!grid.children[i]) grid.append(tile(i));
    const [input, canvas] = grid.children[i].children;
    input.setAttribute("aria-label", `Sample ${i + 1}${classOf(i)}`);
    input.checked = i === chosen;
    paint(canvas, [image]);
  });
  paint($("chosen"), [images[chosen]]);
  $("caption").textContent = `Sample ${chosen + 1} of seed ${drawn.grid.seed}${classOf(chosen)}`;
  $("chosen").setAttribute("aria-label", $("caption").textContent);
}

function tile(i) {
  const shown = metadata.signature.output.kind === "tokens" ? "span" : "canvas";
  const [label, input, canvas] = ["label", "input", shown].map((name) => document.createElement(name));
  Object.assign(input, { type: "radio", name: "chosen", value: i });
  input.setAttribute("form", form.id);
  canvas.setAttribute("aria-hidden", "true");
  label.append(input, canvas);
  return label;
}

function showWalk() {
  const { from, to } = drawn.walk;
  const position = Number($("position").value);
  paint($("strip"), drawn.walkImages.filter((_, i) => i % 2 === 0));
  paint($("frame"), [drawn.walkImages[position]]);
  const percent = Math.round((100 * position) / (STEPS - 1));
  $("frame").setAttribute("aria-label", `${percent} % of the way from seed ${from} to ${to}`);
}

/** Put images into a canvas, row by row, at their own size; the stylesheet scales it. Texts are lines of a paragraph. */
function paint(canvas, images, columns = images.length) {
  if (typeof images[0] === "string") {
    canvas.className = "text";
    canvas.textContent = images.join("\n");
    return canvas;
  }
  const { width, height } = images[0];
  canvas.width = columns * width;
  canvas.height = Math.ceil(images.length / columns) * height;
  canvas.classList.toggle("small", width <= 64);
  const context = canvas.getContext("2d");
  images.forEach(({ rgba }, i) => {
    context.putImageData(new ImageData(rgba, width, height), (i % columns) * width, Math.floor(i / columns) * height);
  });
  return canvas;
}

function columns(images) {
  return Math.ceil(Math.sqrt(images.length));
}

function save(name, images, columns) {
  if (!images) return;
  if (typeof images[0] === "string") download(new Blob(images.map((line) => `${line}\n`)), `${name}.txt`);
  else paint(document.createElement("canvas"), images, columns).toBlob((blob) => download(blob, `${name}.png`));
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${document.title.replace(/[^\p{L}\p{N}]+/gu, "-")}-${name}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved ${link.download}`);
}

function say(text) {
  $("status").textContent = text;
}

function random() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

// ---- what the visitor does

function listen() {
  form.addEventListener("submit", (event) => event.preventDefault());
  let typing;
  document.addEventListener("input", ({ target }) => {
    clearTimeout(typing);
    if (target.name === "backend") change(target.value);
    else if (target.name.startsWith("text:")) typing = setTimeout(draw, PAUSE); // not after every letter of a word
    else draw();
  });
  document.addEventListener("change", ({ target }) => target.name.startsWith("text:") && draw());
  $("again").onclick = () => [($("seed").value = random()), draw()];
  $("elsewhere").onclick = () => [($("from").value = $("to").value), ($("to").value = random()), draw()];
  $("reset").onclick = () => {
    for (const input of $("directions").querySelectorAll("input")) input.value = 0;
    draw();
  };
  $("save-grid").onclick = () => save(`seed-${drawn.grid?.seed}`, drawn.gridImages, columns(drawn.gridImages));
  $("save-chosen").onclick = () => {
    const chosen = Number(new FormData(form).get("chosen"));
    save(`seed-${drawn.grid?.seed}-sample-${chosen + 1}`, [drawn.gridImages[chosen]]);
  };
  $("save-strip").onclick = () => save(`walk-${drawn.walk?.from}-${drawn.walk?.to}`, drawn.walkImages);
}

/** Run on something else; if that fails, what ran before goes on. */
async function change(backend) {
  say("Starting …");
  const next = start(backend);
  try {
    await next.opened;
    model.stop();
    model = next;
    drawn = {};
    await draw();
  } catch (error) {
    next.stop();
    $("backend").value = model.backend;
    say(`That does not run here: ${error.message}`);
  }
}

$("stuck").remove();
try {
  metadata = await model.opened;
  buildControls();
  restore();
  listen();
  await draw();
} catch (error) {
  $("title").textContent = "The model cannot be run";
  say(error.message);
}
