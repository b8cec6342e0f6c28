// Elements, made of text only: names and addresses of a run come from whoever sent the packets.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same in SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "class") element.setAttribute("class", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Sets text where it is another one: screen readers and selections are not disturbed for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table: headings `[text, class]`, rows of cells (text or elements). */
export function table(caption, headings, rows, empty) {
  const body = rows.length
    ? rows.map((cells) => el("tr", {}, cells.map((cell, at) => el(at ? "td" : "th", { class: headings[at][1], scope: at ? null : "row" }, cell))))
    : [el("tr", {}, el("td", { colspan: headings.length, class: "none", text: empty }))];
  return el(
    "table",
    {},
    el("caption", { class: "unseen", text: caption }),
    el("thead", {}, el("tr", {}, headings.map(([text, kind]) => el("th", { scope: "col", class: kind, text })))),
    el("tbody", {}, body),
  );
}

/** Makes the children of an element these, changing what is there and not replacing it: a link stays the same link. */
export function put(element, ...children) {
  const next = element.cloneNode(false);
  next.append(...children.flat());
  become(element, next);
}

function become(old, next) {
  const before = [...old.childNodes];
  const after = [...next.childNodes];
  after.forEach((child, at) => {
    const there = before[at];
    if (!there) old.append(child);
    else if (there.nodeName !== child.nodeName || child.nodeName === "CANVAS") there.replaceWith(child);
    else if (child.nodeType === Node.TEXT_NODE) there.data !== child.data && (there.data = child.data);
    else {
      attributes(there, child);
      become(there, child);
    }
  });
  before.slice(after.length).forEach((child) => child.remove());
}

function attributes(old, next) {
  for (const { name } of [...old.attributes]) if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    // Styles as attributes are what the policy forbids; what a reader opened stays open.
    if (name === "style") old.style.cssText !== next.style.cssText && (old.style.cssText = next.style.cssText);
    else if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

/** A button that copies the code beside it. */
export function copyButton(what) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${what}`, text: "Copy" });
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("code").textContent;
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { class: "unseen" });
      area.value = text;
      document.body.append(area);
      area.select();
      said = document.execCommand("copy") ? "Copied" : "Cannot";
      area.remove();
      button.focus();
    }
    button.textContent = said;
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
