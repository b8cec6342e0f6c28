// Builds dist/ from src/: `node build.mjs [DIRECTORY]`. The same sources and packages give the same bytes.

import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { build } from "esbuild";

const out = process.argv[2] ?? "dist";
// Whoever gets the charts gets their licence.
const licence = readFileSync("node_modules/uplot/LICENSE", "utf8").trim();
mkdirSync(out, { recursive: true });
await build({
  entryPoints: ["src/main.js"],
  outfile: `${out}/page.js`,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16"],
  banner: { js: `/*! uPlot\n${licence}\n*/` },
  logLevel: "warning",
});
await build({
  entryPoints: ["src/page.css", "src/login.css"],
  outdir: out,
  bundle: true,
  minify: true,
  logLevel: "warning",
});
for (const file of ["index.html", "login.html", "icon.svg"]) copyFileSync(`src/${file}`, `${out}/${file}`);
