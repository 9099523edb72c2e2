/** Show a case at large, by one of the methods. */
function choose(k, method = state.method) {
  const held = caseOf(k);
  state.chosen = k;
  state.method = held.found[method] ? method : 0;
  const found = held.found[state.method];
  const by = data.methods.length > 1 ? ` by ${data.methods[state.method]}` : "";
  picture("before", held.factual, `factual of ${nameOf(k)}`);
  picture("after", found.image, `counterfactual of ${nameOf(k)}${by}`);
  picture("over", found.change, `signed difference of ${nameOf(k)}${by}: vermillion where brighter, blue where darker`);
  byId("name").textContent = nameOf(k);
  byId("name").title = value("file", k);
  said(k, held.found[0]);
  multiples(k, held);
  opinions(k, held.reasons);
  known(k);
  mark();
  lay();
}

/** Show the chosen case by the next method that has it. */
function nextMethod() {
  const there = [...byId("multiples").querySelectorAll("[data-method]")].map((item) => Number(item.dataset.method));
  choose(state.chosen, there[(there.indexOf(state.method) + 1) % there.length]);
}

function picture(id, source, words) {
  byId(id).src = source;
  byId(id).alt = words;
}

function said(k, own) {
  const label = value("label", k);
  const wrong = label && label !== value("source", k) ? ", the model is wrong" : "";
  byId("said").replaceChildren(
    element("b", {}, value("direction", k)),
    element("span", {}, `p(target) ${probability(value("p_target_factual", k))} → ${probability(own.p)}`),
    element("span", {}, `label ${label ?? "not known"}${wrong}`),
    element("span", {}, ...marked(own.result)),
    ...(own.verdict ? [element("span", {}, ...marked(own.verdict))] : []),
  );
}

/** Draw the factual, and every method's counterfactual and difference, small and side by side. */
function multiples(k, held) {
  byId("beside").textContent = data.methods.length > 1 ? "The same image by each method" : "Side by side";
  const words = (what) => `${what} of ${nameOf(k)}`;
  const first = element("figure", {}, element("img", { src: held.factual, alt: words("factual") }), element("figcaption", {}, "factual"));
  const others = held.found.map((found, place) => {
    const name = data.methods[place];
    if (!found) return element("p", { class: "lacking" }, `${name}: not in that run`);
    const films = element("span", { class: "films" },
      element("img", { src: found.image, alt: words(`counterfactual by ${name}`) }),
      change(found.change, words(`difference by ${name}`)));
    const target = found.target === held.found[0].target ? "" : ` ${found.target}`;
    const under = element("span", { class: "told" }, element("b", {}, name + target), element("span", {}, `p ${probability(found.p)}`), element("span", {}, `largest change ${found.largest.toFixed(2)}`), element("span", {}, ...marked(found.result)), element("span", {}, ...marked(found.verdict)));
    return element("button", { type: "button", "data-method": place, "aria-pressed": place === state.method }, films, under);
  });
  byId("multiples").replaceChildren(first, element("div", {}, ...others));
}

function opinions(k, reasons) {
  byId("reasons").textContent = reasons ? `Why: ${reasons}.` : "";
  const asked = data.columns.filter((column) => /^judge_.+_follows$/.test(column.key));
  byId("judges").replaceChildren(...asked.map((column) => {
    const judge = column.key.slice("judge_".length, -"_follows".length);
    const right = value(`judge_${judge}_factual_right`, k);
    const opinion = right === 0 ? "misreads the factual" : column.values[k] === null ? "nothing to follow" : column.values[k] ? "follows" : "does not follow";
    const p = value(`judge_${judge}_p_target`, k);
    return element("li", { class: opinion.split(" ")[0] }, element("b", {}, judge), ` ${opinion}`, p === null ? "" : `, p ${probability(p)}`);
  }));
}

function known(k) {
  byId("known").replaceChildren(...data.columns.flatMap((column) => [
    element("dt", { title: column.definition }, column.label),
    element("dd", {}, written(column, column.values[k]) || "not known"),
  ]));
}
