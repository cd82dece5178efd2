// Drives a headless Chromium for the tests in Python: reads one JSON command a line, and answers each with one line.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const [executablePath, ...flags] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", ...flags] });
const page = await browser.newPage();
const seen = []; // what the page complained about, and which foreign addresses it asked for
page.on("console", (message) => message.type() === "error" && seen.push(`console: ${message.text()}`));
page.on("pageerror", (error) => seen.push(`error: ${error.message}`));
page.on("requestfailed", (request) => seen.push(`failed: ${request.url()}`));

const commands = {
  goto: ({ url }) => page.goto(url).then(() => null),
  evaluate: ({ script }) => page.evaluate(script),
  wait: ({ script }) => page.waitForFunction(script, { timeout: 60_000 }).then(() => null),
  press: ({ keys }) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve()),
  look: ({ width, height, scheme }) =>
    page
      .setViewport({ width, height })
      .then(() => page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }])),
  screenshot: ({ path, full }) => page.screenshot({ path, fullPage: full }).then(() => null),
  downloads: async ({ folder }) => {
    const session = await browser.target().createCDPSession();
    await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
  },
  axe: async () => {
    await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8"));
    return page.evaluate("axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html]))");
  },
  seen: () => seen.splice(0),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: (await commands[command](rest)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
