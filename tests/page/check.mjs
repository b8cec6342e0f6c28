// The page in Chromium. `node check.mjs over|crowded|login|live|past URL PICTURES`: exits with 1 where something is not as it should be.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [what, url, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const profile = mkdtempSync(join(tmpdir(), "tidegauge-page-"));
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WIDTHS = [360, 1280, 2560];

const told = (name, value) => console.log(JSON.stringify({ [name]: value }));

/** What went wrong in the page. */
const went = [];

/** A browser of its own for these options. */
async function open(options = {}) {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(profile, "p-")), {
    executablePath: "/usr/bin/chromium", args: ARGUMENTS, viewport: { width: 1280, height: 900 }, ignoreHTTPSErrors: true, acceptDownloads: true, ...options,
  });
  await context.addInitScript(() => {
    window.violations = [];
    window.shift = 0;
    window.shifted = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    new PerformanceObserver((list) => list.getEntries().filter((entry) => !entry.hadRecentInput).forEach((entry) => {
      window.shift += entry.value;
      window.shifted.push(`${entry.value.toFixed(3)} ${entry.sources.map((source) => source.node?.id || source.node?.className || source.node?.nodeName).join(" ")}`);
    })).observe({ type: "layout-shift", buffered: true });
  });
  const page = context.pages()[0] ?? (await context.newPage());
  // Machines that test are busy.
  page.setDefaultTimeout(60_000);
  const errors = went;
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && !/favicon|status of 401/.test(message.text()) && errors.push(message.text()));
  page.on("request", (request) => !request.url().startsWith(url) && !request.url().startsWith("data:") && errors.push(`asks elsewhere: ${request.url()}`));
  return { context, page, errors };
}

async function assertSound(page, errors) {
  assert.deepEqual(errors, []);
  assert.deepEqual(await page.evaluate(() => window.violations), [], "CSP violations");
}

/** No serious word of axe. */
async function assertAccessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const short = found.violations.map((one) => `${one.impact} ${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("; ")}`);
  told(`axe ${where}`, { passes: found.passes.length, violations: short });
  assert.deepEqual(short.filter((text) => /^(serious|critical)/.test(text)), [], where);
}

/** Nothing overlaps, nothing is cut, nothing sticks out. */
async function assertLaidOut(page, where) {
  const wrong = await page.evaluate(() => {
    const wrong = [];
    if (document.documentElement.scrollWidth > innerWidth) wrong.push(`${document.documentElement.scrollWidth} wide`);
    const shown = (element) => element.offsetParent !== null;
    const boxes = [...document.querySelectorAll("header, footer, #verdict, .panel, .bar-of-buttons")].filter(shown);
    const name = (element) => element.id || element.querySelector("h2, strong")?.textContent || element.tagName;
    boxes.forEach((one, at) => boxes.slice(at + 1).forEach((other) => {
      if (one.contains(other) || other.contains(one)) return;
      const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) wrong.push(`${name(one)} over ${name(other)}`);
    }));
    for (const element of [...document.querySelectorAll("h1, h2, h3, p, li, dt, dd, th, td, button, figcaption, .legend, pre, summary, .panel")].filter(shown)) {
      const style = getComputedStyle(element);
      if (element.closest(".unseen") || /auto|scroll/.test(style.overflowX)) continue;
      const scrolls = element.closest(".wide, .scroll, .timeline");
      if (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline" && !scrolls) wrong.push(`too wide: ${element.tagName} ${element.textContent.slice(0, 40)}`);
      if (style.overflowY === "hidden" && element.scrollHeight > element.clientHeight + 1) wrong.push(`cut: ${element.tagName} ${element.textContent.slice(0, 60)}`);
    }
    return wrong;
  });
  assert.deepEqual(wrong, [], where);
}

async function picture(page, name) {
  await page.waitForTimeout(400);
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  if (process.env.TOPS) await page.screenshot({ path: join(pictures, `${name}-top.png`) });
}

async function content(page) {
  await page.waitForSelector('#connection[data-kind="over"]');
  assert.equal(await page.textContent("#verdict-words"), "Run is over: 1 incident");
  assert.match(await page.textContent("#verdict-more"), /SYN flood on 10\.77\.0\.2:80\/tcp, P2, probably forged, lasted/);
  assert.equal(await page.locator(".chart canvas").count(), 8);
  assert.match(await page.textContent("#listeners"), /10\.77\.0\.2:80\/tcp/);
  assert.match(await page.textContent("#sources"), /10\.77\.0\.1/);
  assert.match(await page.textContent("#rtt-histogram"), /5,549 round trips; most \([\d.]+ %\) /);
  assert.match(await page.getAttribute("#rwnd-histogram svg", "aria-label"), /58 KiB to 64 KiB: 3,572; 64 KiB to 128 KiB: 820$/);
  await page.selectOption("#rtt-method", "icmp_echo");
  assert.match(await page.textContent("#rtt-histogram"), /None was measured lately: round trip, ICMP echo/);
  await page.selectOption("#rtt-method", "handshake_listener");
  await page.waitForSelector("#heat canvas");
  assert.match(await page.textContent("#graph"), /P2 SYN flood/);
  assert.match(await page.textContent("#quality"), /capture complete · 16,771 of 16,771 frames/);
  await page.fill("#flows-search", "nobody");
  await page.waitForFunction(() => document.querySelector("#flows").textContent.includes("None fits"));
  await page.fill("#flows-search", "http 10.77.0.2:80");
  await page.waitForFunction(() => document.querySelectorAll("#flows tbody tr").length > 50);
}

async function zoom(page) {
  const plot = page.locator(".chart .u-over").first();
  await plot.scrollIntoViewIfNeeded();
  const box = await plot.boundingBox();
  const pressed = () => page.getAttribute('[data-range="all"]', "aria-pressed");
  assert.equal(await pressed(), "true");
  await page.mouse.move(box.x + box.width * 0.3, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector('[data-range="all"]').getAttribute("aria-pressed") === "false");
  await page.click('[data-zoom="reset"]');
  await page.waitForFunction(() => document.querySelector('[data-range="all"]').getAttribute("aria-pressed") === "true");
}

/** By keys alone: to an incident, its command, and back. */
async function keyboard(page) {
  await page.goto(url);
  await page.waitForSelector('#connection[data-kind="over"]');
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    return { text: element.textContent.trim().slice(0, 60), href: element.getAttribute("href"), label: element.getAttribute("aria-label"), visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
  });
  const tabTo = async (is) => {
    for (let count = 0; count < 60; count += 1) {
      await page.keyboard.press("Tab");
      const now = await focused();
      assert.ok(now.visible, `focus is not to be seen: ${JSON.stringify(now)}`);
      if (is(now)) return;
    }
    assert.fail("not reached by Tab");
  };
  await page.keyboard.press("Tab");
  assert.equal((await focused()).text, "Skip to content");
  await tabTo((now) => now.href?.startsWith("#/incident/"));
  await page.keyboard.press("Enter");
  await page.waitForSelector("#incident .code");
  assert.match(await page.evaluate(() => document.activeElement.id), /incident-heading/);
  await tabTo((now) => now.label === "Copy command 1");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => [...document.querySelectorAll(".copy")].some((button) => button.textContent === "Copied"));
  await page.goBack();
  await page.waitForSelector("#overview:not([hidden])");
}

async function incident(page) {
  await page.goto(`${url}#/incident/syn_flood-0001`);
  await page.waitForSelector("#incident .code");
  const text = await page.textContent("#incident");
  for (const part of ["SYN flood on 10.77.0.2:80/tcp", "limit", "usual", "syn/s > 500", "opened P2", "closed P2", "Likely causes", "syn cookies", "10.77.0.0", "nstat -az", "table inet tidegauge", "unresolved share"]) {
    assert.ok(text.includes(part), `the incident's page says nothing of ${part}`);
  }
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download evidence")]);
  assert.equal(download.suggestedFilename(), "syn_flood-0001.pcapng");
  assert.equal(readFileSync(await download.path()).readUInt32BE(0), 0x0a0d0d0a, "pcapng");
}

/** A full board with long and hostile names: what follows from what is to be seen, nothing breaks out. */
async function crowded() {
  const { context, page, errors } = await open();
  const board = await (await context.request.get(`${url}api/board`)).json();
  const [first] = board.incidents;
  const hostile = '<img src=x onerror="window.hacked=1">';
  const address = (at) => (at % 3 ? `2001:db8:85a3:1234:5678:8a2e:370:${at}` : at ? `10.77.1.${at}` : hostile);
  const incident = (at) => ({
    ...first, id: `${hostile}-${at}`, target: { addr: address(at), port: 65_000 + at, proto: "tcp" }, severity: `P${1 + (at % 3)}`, kind: at ? "handshake_failure" : "mtu_blackhole",
    state: at < 6 ? "updated" : "closed", closed_ts: at < 6 ? null : first.closed_ts, because_of: at && at < 4 ? { id: `${hostile}-0`, why: hostile } : null,
  });
  const listeners = Array.from({ length: 32 }, (_, at) => ({ ...board.window.listeners[0], target: { addr: address(at), port: 65_000 + at, proto: "tcp" }, packets: 10 ** (at % 9) }));
  const body = { ...board, is_over: false, incidents: Array.from({ length: 40 }, (_, at) => incident(at)), window: { ...board.window, listeners, listeners_untold: 99_968 } };
  await page.route("**/api/board", (route) => route.fulfill({ json: body }));
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 1000 });
      await page.goto(url);
      await page.waitForSelector('#verdict[data-kind="wrong"]');
      await page.waitForSelector("#graph .node.root");
      await picture(page, `crowded-${width}-${colorScheme}`);
      await assertLaidOut(page, `crowded ${width} ${colorScheme}`);
    }
  }
  assert.match(await page.textContent("#verdict-words"), /MTU blackhole on \[?<img/);
  assert.match(await page.textContent("#verdict-more"), /3 incidents because of it · 2 more open/);
  assert.match(await page.textContent("#graph a .node.root text"), /root cause$/);
  assert.ok(await page.$("#graph .node.root.listener, #graph .node.root.host"), "where it is, is framed too");
  assert.match(await page.textContent("#listeners-more"), /99,988 more/);
  await assertAccessible(page, "crowded");
  assert.equal(await page.evaluate(() => window.hacked), undefined, "a name became markup");
  await assertSound(page, errors);
  await context.close();
}

async function over() {
  const { context, page, errors } = await open();
  const session = await context.newCDPSession(page);
  let bytes = 0;
  await session.send("Network.enable");
  session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await page.goto(url);
  await content(page);
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  told("wire bytes", bytes);
  told("first paint ms", Math.round(paint));
  told("layout shift", await page.evaluate(() => window.shifted));
  assert.ok(bytes > 10_000 && bytes < 300_000, `${bytes} bytes`);
  assert.ok(paint < 3_000, `first paint after ${paint} ms`);
  assert.ok((await page.evaluate(() => window.shift)) < 0.1, "the layout shifts");
  await zoom(page);
  await keyboard(page);
  await incident(page);
  await assertSound(page, errors);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const [name, hash] of [["overview", ""], ["incident", "#/incident/syn_flood-0001"]]) {
      await page.goto(url + hash);
      await page.reload();
      await page.waitForSelector(hash ? "#incident .code" : '#connection[data-kind="over"]');
      await page.waitForSelector(hash ? "#incident .code" : "#heat canvas");
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width === 360 ? 740 : 1000 });
        await picture(page, `over-${name}-${width}-${colorScheme}`);
        await assertLaidOut(page, `${name} ${width} ${colorScheme}`);
      }
      await page.setViewportSize({ width: 640, height: 450 });
      await page.waitForTimeout(200);
      await assertLaidOut(page, `${name} at 200 %`);
      await page.setViewportSize({ width: 1280, height: 900 });
      await assertAccessible(page, `${name} ${colorScheme}`);
    }
  }
  await page.goto(url);
  await page.click("#theme");
  assert.equal(await page.getAttribute("html", "data-theme"), "light");
  await page.reload();
  assert.equal(await page.getAttribute("html", "data-theme"), "light", "the switch is kept");
  await assertSound(page, errors);
  await context.close();
  await crowded();
}

/** Another time than now, by hand and by keys; and who asks by address space and country. */
async function past() {
  const { context, page, errors } = await open();
  await page.goto(url);
  await page.waitForSelector('#connection[data-kind="over"]');
  await page.waitForSelector("#past-open:visible");
  const shift = () => page.evaluate(() => window.shift);
  assert.ok((await shift()) < 0.1, `the layout shifts: ${await page.evaluate(() => window.shifted)}`);
  await page.waitForSelector("#heat canvas");
  for (const [map, part] of [["net16", "10.77.0.0/16"], ["net8", "10.0.0.0/8"], ["country", "DE"], ["listener", "10.77.0.2:80/tcp"]]) {
    await page.click(`[data-heat="${map}"]`);
    await page.waitForFunction((text) => document.querySelector("#heat tbody").textContent.includes(text), part);
    assert.equal(await page.getAttribute(`[data-heat="${map}"]`, "aria-pressed"), "true");
    if (map !== "listener") await picture(page, `heat-${map}`);
  }
  await page.focus("#past-open");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#past:visible");
  assert.equal(await page.evaluate(() => document.activeElement.id), "past-from");
  await page.waitForFunction(() => /kept since 2026-/.test(document.querySelector("#past-about").textContent));
  await page.fill("#past-from", "2026-11-23T15:41:24");
  await page.fill("#past-to", "2026-11-23T15:41:33");
  await page.focus("#past-from");
  await page.keyboard.press("Enter");
  await page.waitForSelector('#verdict[data-kind="past"]');
  assert.equal(await page.textContent("#verdict-words"), "Past: 1 incident");
  assert.match(await page.textContent("#past-about"), /15:41:24 to 2026-11-23 15:41:33 UTC, 7 windows/);
  assert.match(await page.textContent("#past-now"), /Now: nothing open/);
  assert.match(await page.textContent("#incidents"), /SYN flood on 10\.77\.0\.2:80/);
  await page.waitForFunction(() => document.querySelector("#flows").textContent.includes("No connections"));
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 1000 });
      await picture(page, `past-${width}-${colorScheme}`);
      await assertLaidOut(page, `past ${width} ${colorScheme}`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await assertAccessible(page, `past ${colorScheme}`);
  }
  await page.click("#incidents a");
  await page.waitForSelector("#incident .code");
  assert.match(await page.textContent("#incident"), /nstat -az/);
  await page.goBack();
  await page.waitForSelector("#overview:not([hidden])");
  assert.equal(await page.getAttribute("#verdict", "data-kind"), "past");
  await page.keyboard.press("Escape");
  await page.waitForSelector('#verdict[data-kind="over"]');
  assert.ok(await page.isHidden("#past"));
  // What cannot be is said.
  await page.goto(`${url}#/past/1-200000`);
  await page.waitForFunction(() => /more than a day/.test(document.querySelector("#past-about").textContent));
  assert.deepEqual(errors.splice(0).filter((text) => !/400/.test(text)), []);
  await assertSound(page, errors);
  await context.close();
}

async function login() {
  const { context, page, errors } = await open();
  await page.goto(url);
  await page.waitForURL("**/login");
  await assertAccessible(page, "login");
  await page.fill("#token", "wrong");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#wrong:visible");
  await picture(page, "login-wrong");
  await page.fill("#token", process.env.TOKEN);
  await page.click("button");
  await page.waitForSelector('#connection[data-kind="over"]');
  const [cookie] = await context.cookies();
  assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === "Strict", JSON.stringify(cookie));
  await page.click("text=Log out");
  await page.waitForURL("**/login");
  await assertSound(page, errors);
  await context.close();
}

async function live() {
  const { context, page, errors } = await open();
  await page.goto(url);
  await page.waitForSelector('#verdict[data-kind="quiet"]');
  const windows = () => page.evaluate(() => document.querySelector(".chart .now").textContent);
  await page.waitForFunction(() => /asked [1-9]/.test(document.querySelector(".chart .now").textContent));
  told("quiet", await windows());
  await page.evaluate(() => ((window.shift = 0), (window.shifted = [])));
  await page.waitForSelector('#verdict[data-kind="wrong"]');
  assert.match(await page.textContent("#verdict-words"), /SYN flood on 10\.77\.0\.2:80\/tcp, P[12]/);
  const since = () => page.textContent("#verdict-words").then((text) => Number(text.match(/since ([\d.]+) s/)?.[1] ?? 0));
  const first = await since();
  await page.waitForFunction((first) => Number(document.querySelector("#verdict-words").textContent.match(/since ([\d.]+) s/)?.[1] ?? 0) >= first + 2, first);
  told("flood", await page.textContent("#verdict-words"));
  told("layout shift during the flood", await page.evaluate(() => window.shifted));
  assert.ok((await page.evaluate(() => window.shift)) < 0.1, "the layout shifts");
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 1000 });
      await picture(page, `live-${width}-${colorScheme}`);
      await assertLaidOut(page, `live ${width} ${colorScheme}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.click("#incidents a");
  await page.waitForSelector("#incident .code");
  await assertAccessible(page, "open incident");
  await picture(page, "live-incident");
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#incidents").textContent.includes("closed, lasted"));
  told("closed", await page.textContent("#incidents"));
  await assertSound(page, errors);
  await context.close();
}

try {
  await { over, crowded, login, live, past }[what]();
} catch (error) {
  console.error(error.stack ?? error);
  console.error("in the page:", went);
  process.exitCode = 1;
} finally {
  rmSync(profile, { recursive: true, force: true });
}
process.exit();
