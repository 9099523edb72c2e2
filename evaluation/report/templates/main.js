function listenToList() {
  const tools = byId("tools");
  tools.addEventListener("input", (event) => event.target.closest("#filters") && arrange());
  tools.addEventListener("submit", (event) => event.preventDefault());
  // The form's own reset comes after its event.
  tools.addEventListener("reset", () => setTimeout(arrange));
  byId("add").addEventListener("change", (event) => {
    offer(event.target.value).inputs[0].focus();
    event.target.value = "";
  });
  byId("sort").addEventListener("change", (event) => sortBy(event.target.value, 1));
  byId("turn").addEventListener("click", () => sortBy(state.sort, -state.sign));
  byId("columns").addEventListener("change", (event) => {
    columns.get(event.target.value).shown = event.target.checked;
    redraw();
  });
  byId("rows").tHead.addEventListener("click", (event) => {
    const key = event.target.dataset.sort;
    if (key) sortBy(key, key === state.sort ? -state.sign : 1);
  });
  byId("list").addEventListener("click", (event) => {
    const item = event.target.closest("[data-case]");
    if (item) choose(Number(item.dataset.case));
  });
  byId("multiples").addEventListener("click", (event) => {
    const item = event.target.closest("[data-method]");
    if (item) choose(state.chosen, Number(item.dataset.method));
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => {
      state.view = button.dataset.view;
      redraw();
    });
  }
  byId("list").addEventListener("scroll", fillPane);
}

function sortBy(key, sign) {
  state.sort = key;
  state.sign = sign;
  arrange();
  const button = byId("rows").querySelector(`[data-sort="${key}"]`);
  if (button && document.activeElement === document.body) button.focus({ preventScroll: true });
}

const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  c: () => hold(true),
  d: () => {
    byId("overlay").checked = !byId("overlay").checked;
    lay();
  },
  m: () => nextMethod(),
};

function listenToKeys() {
  const writing = (event) => event.target.closest?.("select, input:not([type=range], [type=checkbox])");
  addEventListener("keydown", (event) => {
    const act = KEYS[event.key.toLowerCase()];
    if (act && !writing(event) && !event.ctrlKey && !event.metaKey && !event.altKey) act();
  });
  addEventListener("keyup", (event) => event.key.toLowerCase() === "c" && hold(false));
}

function fill() {
  byId("add").append(element("option", { value: "" }, "choose a column"));
  byId("sort").append(element("option", { value: "" }, "order of the run"));
  for (const column of data.columns) {
    byId("add").append(element("option", { value: column.key }, column.label));
    byId("sort").append(element("option", { value: column.key }, column.label));
    const box = element("input", { type: "checkbox", value: column.key });
    box.checked = column.shown;
    box.disabled = column.key === "file";
    byId("columns").append(element("label", { title: column.definition }, box, ` ${column.label}`));
    if (column.filtered) offer(column.key);
  }
  for (const button of document.querySelectorAll("[data-column]")) {
    button.addEventListener("click", () => only(button.dataset.column, button.dataset.value));
  }
  byId("theme").addEventListener("change", (event) => {
    document.documentElement.dataset.theme = event.target.value;
  });
}

fill();
listenToList();
listenToStage();
listenToKeys();
byId("explorer").hidden = false;
byId("opening").hidden = true;
arrange();
choose(0);
