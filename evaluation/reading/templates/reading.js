"use strict";
const { study, films } = JSON.parse(document.getElementById("study").textContent);
const at = (id) => document.getElementById(id);
const form = at("answers");
const questions = ["answer", "confidence", "finding"];
const words = { answer: "real or altered", confidence: "how sure", finding: "the finding" };
let reader = "";
let answers = {};
let place = 0;
let shownSince = 0;

const slot = () => `cfgen-reading:${study}:${reader}`;
const given = (film) => answers[film.item] || {};
const whole = (film) => questions.every((name) => given(film)[name]);

function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
}

function keep() {
  try {
    localStorage.setItem(slot(), JSON.stringify(answers));
    at("kept").textContent = "kept in this browser";
  } catch {
    at("kept").textContent = "cannot be kept in this browser: save before you close it";
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(slot())) || {};
  } catch {
    return {};
  }
}

function count() {
  // Time on a page that nobody looks at is no time on its image.
  const film = films[place];
  const now = performance.now();
  if (shownSince) {
    answers[film.item] = { ...given(film), seconds: (given(film).seconds || 0) + (now - shownSince) / 1000 };
  }
  shownSince = document.hidden ? 0 : now;
}

function turn(to) {
  place = to;
  const film = films[place];
  at("film").src = film.source;
  at("film").alt = `image ${place + 1}`;
  at("place").textContent = place + 1;
  at("missing").textContent = "";
  form.reset();
  for (const name of questions) {
    if (given(film)[name]) form.elements[name].value = given(film)[name];
  }
  at("back").disabled = place === 0;
  at("progress").value = films.filter(whole).length;
  shownSince = performance.now();
  show("read");
}

function answer(name, value) {
  answers[films[place].item] = { ...given(films[place]), [name]: value };
  form.elements[name].value = value;
  if (at("missing").textContent) ask();
  keep();
}

function ask() {
  const missing = questions.filter((name) => !given(films[place])[name]).map((name) => words[name]);
  at("missing").textContent = missing.length ? `Still to say: ${missing.join(", ")}.` : "";
}

function next() {
  if (whole(films[place])) leave(place + 1);
  else ask();
}

function leave(to) {
  count();
  keep();
  if (to < films.length) return turn(to);
  const open = films.findIndex((film) => !whole(film));
  if (open >= 0) return turn(open);
  shownSince = 0;
  at("csv").value = csv();
  show("done");
  at("save").focus();
}

function csv() {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = films.filter(whole).map((film) => {
    const { answer, confidence, finding, seconds = 0 } = given(film);
    return [study, reader, film.item, answer, confidence, finding, seconds.toFixed(1)].map(quoted).join(",");
  });
  return ["study,reader,item,answer,confidence,finding,seconds", ...rows].join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `answers-${study.slice(0, 8)}-${reader}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  reader = at("reader").value.trim();
  answers = recall();
  const open = films.findIndex((film) => !whole(film));
  turn(open < 0 ? films.length - 1 : open);
});
form.addEventListener("submit", (event) => { event.preventDefault(); next(); });
form.addEventListener("change", (event) => answer(event.target.name, event.target.value));
at("back").addEventListener("click", () => leave(Math.max(0, place - 1)));
at("again").addEventListener("click", () => turn(0));
at("save").addEventListener("click", save);
at("pause").addEventListener("click", () => { count(); keep(); save(); });
document.addEventListener("visibilitychange", () => { if (!at("read").hidden) { count(); keep(); } });
document.addEventListener("keydown", (event) => {
  if (at("read").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toUpperCase();
  const finding = key && form.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (key === "R") answer("answer", "real");
  else if (key === "A") answer("answer", "altered");
  else if (/^[1-5]$/.test(key)) answer("confidence", key);
  else if (finding) answer("finding", finding.value);
  else if (key === "B") leave(Math.max(0, place - 1));
  else if (key === "ENTER" && event.target.tagName !== "BUTTON") next();
  else return;
  event.preventDefault();
});
