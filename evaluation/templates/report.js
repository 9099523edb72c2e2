"use strict";
const tools = document.getElementById("tools");
const list = document.getElementById("cases");
const cases = [...list.children];
const large = document.getElementById("large");
const views = ["factual", "image", "change"];
let open = { box: cases[0], view: "factual" };

const imageOf = (box, view) => box.querySelector(`.view[data-view="${view}"] img`);

function arrange() {
  const wanted = Object.fromEntries(new FormData(tools));
  const [key, sign] = (wanted.sort || "").split(":");
  const value = (box) => (key in box.dataset ? Number(box.dataset[key]) : NaN);
  let count = 0;
  for (const box of cases) {
    const fits = (!wanted.direction || box.dataset.direction === wanted.direction)
      && (!wanted.outcome || box.dataset.outcome === wanted.outcome)
      && (!wanted.verdict || box.dataset.verdict === wanted.verdict)
      && (!wanted.judge || box.dataset.judge.split(" ").includes(wanted.judge));
    box.hidden = !fits;
    count += fits;
  }
  const order = [...cases];
  if (key) {
    // What was not measured stands last, whichever way the rest is sorted.
    order.sort((a, b) => isNaN(value(a)) - isNaN(value(b)) || sign * (value(a) - value(b)) || 0);
  }
  list.append(...order);
  document.getElementById("shown").textContent = `${count} of ${cases.length} cases`;
}

function flip(button, held) {
  const box = button.closest(".case");
  const frame = imageOf(box, "factual");
  frame.dataset.own ??= frame.src;
  frame.src = held ? imageOf(box, "image").src : frame.dataset.own;
  frame.closest("figure").querySelector("figcaption").textContent = held ? "counterfactual" : "original";
  button.classList.toggle("held", held);
  button.setAttribute("aria-pressed", held);
}

function enlarge(box, view) {
  open = { box, view };
  const image = imageOf(box, view);
  const picture = document.getElementById("large-picture");
  picture.src = image.dataset.own || image.src;
  picture.alt = image.alt;
  document.getElementById("large-title").textContent = box.querySelector("h3").textContent;
  for (const button of large.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === view);
  }
  if (!large.open) large.showModal();
  large.querySelector('[aria-pressed="true"]').focus();
}

for (const button of document.querySelectorAll(".flip")) {
  button.addEventListener("pointerdown", () => flip(button, true));
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) {
    button.addEventListener(end, () => flip(button, false));
  }
  const keys = [" ", "Enter"];
  button.addEventListener("keydown", (event) => keys.includes(event.key) && (event.preventDefault(), flip(button, true)));
  button.addEventListener("keyup", (event) => keys.includes(event.key) && flip(button, false));
}
list.addEventListener("click", (event) => {
  const button = event.target.closest(".view");
  if (button) enlarge(button.closest(".case"), button.dataset.view);
});
large.addEventListener("click", (event) => {
  const view = event.target.dataset.view;
  if (view) enlarge(open.box, view);
  if (event.target === large || event.target.id === "large-close") large.close();
});
large.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) enlarge(open.box, views[(views.indexOf(open.view) + step + 3) % 3]);
});
tools.addEventListener("change", arrange);
tools.addEventListener("submit", (event) => event.preventDefault());
tools.hidden = false;
tools.reset();
arrange();
