const state = { order: [], drawn: 0, chosen: 0, method: 0, view: "table", sort: "", sign: 1 };
const shownColumns = () => data.columns.filter((column) => column.shown);
const AT_ONCE = { table: 100, gallery: 18 };

function compare(a, b) {
  const [first, second] = [value(state.sort, a), value(state.sort, b)];
  // What is not known stands last, whichever way the rest is sorted.
  if (first === null || second === null) return (first === null) - (second === null) || a - b;
  const apart = typeof first === "string" ? first.localeCompare(second) : first - second;
  return state.sign * apart || a - b;
}

/** Filter and sort the cases, and draw the list anew. */
function arrange() {
  state.order = matching();
  if (state.sort) state.order.sort(compare);
  byId("shown").textContent = `${state.order.length} of ${count} cases`;
  byId("none").hidden = state.order.length > 0;
  byId("sort").value = state.sort;
  byId("turn").textContent = state.sign > 0 ? "↑ ascending" : "↓ descending";
  redraw();
}

function redraw() {
  state.drawn = 0;
  byId("rows").hidden = state.view !== "table";
  byId("gallery").hidden = state.view !== "gallery";
  byId("rows").tBodies[0].replaceChildren();
  byId("gallery").replaceChildren();
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === state.view);
  }
  head();
  byId("list").scrollTop = 0;
  fillPane();
}

function head() {
  const row = element("tr");
  for (const column of shownColumns()) {
    const sorted = column.key === state.sort ? (state.sign > 0 ? "ascending" : "descending") : "none";
    const arrow = { ascending: " ↑", descending: " ↓", none: "" }[sorted];
    const button = element("button", { type: "button", "data-sort": column.key, title: column.definition }, column.label + arrow);
    row.append(element("th", { scope: "col", "aria-sort": sorted, class: column.kind }, button));
  }
  byId("rows").tHead.replaceChildren(row);
}

/** Draw the next cases: rows and pictures are made only as far as one has scrolled. */
function grow() {
  const next = state.order.slice(state.drawn, state.drawn + AT_ONCE[state.view]);
  const draw = state.view === "table" ? rowOf : cardOf;
  (state.view === "table" ? byId("rows").tBodies[0] : byId("gallery")).append(...next.map(draw));
  state.drawn += next.length;
  mark();
}

/** Draw until the list is full to well below its lower edge. */
function fillPane() {
  const pane = byId("list");
  while (state.drawn < state.order.length && pane.scrollHeight < pane.scrollTop + pane.clientHeight + 600) grow();
}

function rowOf(k) {
  const row = element("tr", { "data-case": k });
  for (const column of shownColumns()) {
    const given = column.values[k];
    const cell = element(column.key === "file" ? "th" : "td", { class: column.kind });
    if (column.key === "file") {
      cell.scope = "row";
      cell.append(element("button", { type: "button", title: given }, nameOf(k)));
    } else {
      cell.append(...(column.key === "result" || column.key === "verdict" ? marked(given) : [written(column, given)]));
    }
    row.append(cell);
  }
  return row;
}

function cardOf(k) {
  const held = caseOf(k);
  const words = (what) => `${what} of ${nameOf(k)}`;
  const films = element("span", { class: "films" },
    element("img", { src: held.factual, alt: words("factual") }),
    element("img", { src: held.found[0].image, alt: words("counterfactual") }),
    change(held.found[0].change, words("difference")));
  const line = element("span", { class: "told" }, element("b", {}, nameOf(k)), element("span", {}, value("direction", k)), element("span", {}, ...marked(value("result", k))));
  return element("button", { type: "button", class: "card", "data-case": k }, films, line);
}

/** Mark the chosen case in the list. */
function mark() {
  for (const item of byId("list").querySelectorAll("[data-case]")) {
    item.setAttribute("aria-current", Number(item.dataset.case) === state.chosen);
  }
}

/** Choose the case some places on in the list's order, and bring it into sight. */
function step(places) {
  if (!state.order.length) return;
  const here = state.order.indexOf(state.chosen);
  const there = here < 0 ? 0 : Math.min(Math.max(here + places, 0), state.order.length - 1);
  while (state.drawn <= there) grow();
  choose(state.order[there]);
  byId("list").querySelector('[aria-current="true"]').scrollIntoView({ block: "nearest" });
}
