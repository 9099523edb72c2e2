const filters = new Map();

function choiceOf(column) {
  const counts = new Map();
  for (const given of column.values) counts.set(written(column, given), (counts.get(written(column, given)) ?? 0) + 1);
  const names = [...counts.keys()].sort((a, b) => a.localeCompare(b));
  const select = element("select", { name: column.key }, element("option", { value: "" }, "all"));
  for (const name of names) {
    select.append(element("option", { value: `=${name}` }, `${name || "not known"} (${counts.get(name)})`));
  }
  return { inputs: [select], fits: (given) => !select.value || select.value === `=${written(column, given)}` };
}

function rangeOf(column) {
  const known = column.values.filter((given) => given !== null);
  const ends = [["least", Math.min], ["most", Math.max]].map(([word, of]) => element("input", {
    type: "number", step: "any", "aria-label": `${column.label}, ${word}`,
    placeholder: written({ ...column, key: "" }, known.reduce((a, b) => of(a, b))),
  }));
  const fits = (given) => {
    const [low, high] = ends.map((input) => (input.value === "" ? null : Number(input.value)));
    if (low === null && high === null) return true;
    return given !== null && (low === null || given >= low) && (high === null || given <= high);
  };
  return { inputs: ends, fits };
}

function wordOf(column) {
  const input = element("input", { type: "search", name: column.key, placeholder: "contains" });
  return { inputs: [input], fits: (given) => (given ?? "").toLowerCase().includes(input.value.toLowerCase()) };
}

/** Offer a column's filter, and return it. */
function offer(key) {
  if (filters.has(key)) return filters.get(key);
  const column = columns.get(key);
  const make = { number: rangeOf, text: wordOf }[column.kind] ?? choiceOf;
  const made = make(column);
  const box = element(made.inputs.length > 1 ? "fieldset" : "label", { class: "filter", title: column.definition });
  box.append(element(made.inputs.length > 1 ? "legend" : "span", {}, column.label), ...made.inputs);
  byId("filters").append(box);
  filters.set(key, made);
  return made;
}

/** Show the cases of one value only, as a count at the top asks. */
function only(key, wanted) {
  byId("tools").reset();
  offer(key).inputs[0].value = `=${wanted}`;
  arrange();
  byId("cases").scrollIntoView();
}

const matching = () => [...Array(count).keys()].filter((k) => [...filters].every(([key, filter]) => filter.fits(value(key, k))));
