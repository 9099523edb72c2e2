const stage = { at: 0, held: false };

/** Lay the counterfactual over the factual, as far as the slider or the held key says. */
function lay() {
  const at = stage.held ? (stage.at < 50 ? 100 : 0) : stage.at;
  const blend = byId("way").value === "blend";
  const between = at > 0 && at < 100;
  byId("after").style.opacity = blend ? at / 100 : 1;
  byId("after").style.clipPath = blend ? "none" : `inset(0 ${100 - at}% 0 0)`;
  byId("edge").style.left = `${at}%`;
  byId("edge").hidden = blend || !between;
  byId("over").hidden = !byId("overlay").checked;
  byId("seen").textContent = !between ? (at ? "counterfactual" : "factual")
    : blend ? `${at} % counterfactual` : "counterfactual | factual";
  byId("hold").textContent = `hold: ${stage.at < 50 ? "counterfactual" : "factual"}`;
  byId("hold").setAttribute("aria-pressed", stage.held);
  byId("slide").value = stage.at;
}

function slide(at) {
  stage.at = Math.round(Math.min(Math.max(at, 0), 100));
  lay();
}

function hold(held) {
  if (stage.held === held) return;
  stage.held = held;
  lay();
}

/** Let the difference's full colour stand for a change of this size. */
function rescale(full) {
  document.querySelector("#gain feFuncA").setAttribute("slope", data.full / full);
  for (const end of document.querySelectorAll(".end")) {
    end.textContent = end.textContent[0] + Number(full).toPrecision(2);
  }
}

function listenToStage() {
  const box = byId("stage");
  const under = (event) => slide((100 * (event.clientX - box.getBoundingClientRect().left)) / box.clientWidth);
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    under(event);
  });
  box.addEventListener("pointermove", (event) => event.buttons && under(event));
  byId("slide").addEventListener("input", (event) => slide(Number(event.target.value)));
  byId("way").addEventListener("change", lay);
  byId("overlay").addEventListener("change", lay);
  byId("scale").addEventListener("change", (event) => rescale(event.target.value));
  const button = byId("hold");
  button.addEventListener("pointerdown", () => hold(true));
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => hold(false));
  button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && (event.preventDefault(), hold(true)));
  button.addEventListener("keyup", () => hold(false));
  addEventListener("blur", () => hold(false));
  const scales = [data.scale, 0.5, 0.25, 0.12, 0.06, 0.03];
  scales.forEach((full, place) => {
    byId("scale").append(element("option", { value: full }, `±${full.toPrecision(2)}${place ? "" : " (run)"}`));
  });
  rescale(data.scale);
}
