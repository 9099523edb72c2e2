"use strict";
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);
const data = read("table");
const columns = new Map(data.columns.map((column) => [column.key, column]));
const count = data.columns[0].values.length;
const value = (key, k) => (columns.has(key) ? columns.get(key).values[k] : null);
const caseOf = (k) => read(`case-${k}`);
const nameOf = (k) => value("file", k).split("/").pop();

/** Make an element: texts stay texts, whatever they hold. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (given !== null && given !== false) made.setAttribute(name, given === true ? "" : given);
  }
  made.append(...children);
  return made;
}

/** Write a probability so that it never reads as certain. */
function probability(p) {
  if (p === null) return "not known";
  return p < 0.01 ? "< 0.01" : p > 0.99 ? "> 0.99" : p.toFixed(2);
}

function written(column, given) {
  if (given === null) return "";
  if (column.kind === "flag") return given ? "yes" : "no";
  if (column.kind !== "number") return given;
  return /^p_target|_p_target/.test(column.key) ? probability(given) : given.toFixed(column.decimals);
}

/** Mark a result or a verdict by a sign, so that it is told apart without colour. */
function marked(text) {
  if (!(text in data.marks)) return [text ?? ""];
  return [element("span", { class: "mark", "aria-hidden": "true" }, data.marks[text]), ` ${text}`];
}

const change = (source, words) => element("img", { class: "change", src: source, alt: `${words}: vermillion where brighter, blue where darker` });
