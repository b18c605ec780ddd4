import { draw, numberOf, percent, seconds, setText, showHint, showPill, watch } from "./view.js";

const by = (id) => document.getElementById(id);
const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
let state = {};
let shownCondition = null; // chosen by the user; null follows the plan
let mapShown = ""; // as JSON: what has not changed is not drawn again, so that a press and the focus stay

const view = watch({
  onState: (next) => { state = next; render(); },
  onPicture: async (blob) => { await draw(by("picture"), blob); by("waiting").hidden = true; },
  onLost: () => { if (!state.ended) { by("state").className = "pill trouble"; setText(by("state"), "no connection"); } },
});

function render() {
  showPill(by("state"), state);
  for (const part of ["toggle", "sees", "success-so-far", "poses"]) by(part).hidden = Boolean(state.guide); // of a calibration
  for (const button of document.querySelectorAll("#controls [data-do]")) button.hidden = Boolean(state.guide);
  by("guide").hidden = !state.guide;
  if (state.guide) {
    setText(by("instruction"), state.guide);
    by("numbers").textContent = `${state.frames} used`;
    by("stop").disabled = Boolean(state.ended);
    return;
  }
  const late = state.delay_ms === null || state.delay_ms === undefined ? "" : ` · ${seconds(state.delay_ms)} delay`;
  const dropped = state.dropped ? ` · ${state.dropped} dropped` : "";
  by("numbers").textContent = state.frames ? `${numberOf(state.frames, "frame")} · ${state.fps} per second${late}${dropped}` : "";
  by("toggle").textContent = state.recording === false ? "Resume" : "Pause";
  by("sees").hidden = state.region === undefined;
  if (state.unit) by("unit").textContent = `Over ${state.unit}s, with 95 % intervals.`;
  if (state.region !== undefined) by("region").textContent = { center: "the central square", frame: "the whole frame, squeezed" }[state.region]
    || (String(state.region).startsWith("sheet") ? `a square around the sheet (patch: ${percent(Number(String(state.region).split(":")[1]))})` : `the square ${state.region}`);
  if (state.trouble && by("picture").hidden) by("waiting").textContent = state.trouble;
  for (const button of document.querySelectorAll("[data-do], #toggle, #phone, #stop")) button.disabled = Boolean(state.ended);
  renderAnswer(state.frame);
  if (state.rates) renderRates(state.rates);
  renderPlan(state.plan);
  if (state.map) renderMap();
}

function renderAnswer(frame) {
  if (!frame) return;
  const pose = frame.distance_m === null ? "" : ` · ${frame.distance_m.toFixed(2)} m, yaw ${frame.yaw_deg === null ? "?" : frame.yaw_deg.toFixed(0)}° · ${frame.px_per_cell.toFixed(1)} px per cell`;
  const heat = frame.heat_in_patch === null ? "" : ` · ${percent(frame.heat_in_patch)} of the heat in the patch`;
  by("answer").textContent = frame.foreign || `${frame.model} · sheet: ${frame.condition}${pose}${heat}`;
  const rows = frame.top5.map(([name, score]) => [name, score, name === state.target]);
  if (state.target && frame.target_score !== null && !rows.some((row) => row[2])) rows.push([state.target, frame.target_score, true]);
  by("top5").replaceChildren(...rows.map(([name, score, aimed]) => {
    const row = make("tr", "", aimed ? { class: "target" } : {});
    row.append(make("td", aimed ? `${name} (target)` : name), make("td", percent(score, 1), { class: "numbers" }));
    return row;
  }));
}

function renderRates(rates) {
  if (!rates.length) return;
  const measure = state.target ? "target" : "wrong";
  by("success").textContent = state.target ? `“${state.target}” came first` : "Wrong answers";
  const table = make("table");
  table.append(make("caption", by("success").textContent, { class: "unseen" }));
  for (const summary of rates) {
    const row = make("tr", "", { class: summary.condition });
    const rate = summary[measure];
    const bar = make("div", "", { class: "bar" });
    let words = "–";
    if (rate.rate !== null) {
      const middle = make("b");
      middle.style.left = `${100 * rate.rate}%`;
      words = `${percent(rate.rate)} (one ${state.unit})`;
      if (rate.ci95) { // a single take gives no interval
        const [low, high] = rate.ci95;
        const range = make("i");
        range.style.left = `${100 * low}%`;
        range.style.width = `${100 * (high - low)}%`;
        bar.append(range);
        words = `${percent(rate.rate)} (${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)})`;
      }
      bar.append(middle);
    }
    const name = new Set(rates.map((r) => r.model)).size > 1 ? `${summary.model}, ${summary.condition}` : summary.condition;
    const cell = make("td");
    cell.append(bar);
    row.append(make("th", name, { scope: "row" }), cell, make("td", words, { class: "n" }), make("td", numberOf(rate.n, state.unit), { class: "n soft" }));
    table.append(row);
  }
  by("rates").replaceChildren(table);
}

function renderPlan(plan) {
  by("plan").hidden = !plan;
  if (!plan) return;
  by("count").textContent = `${plan.number} of ${plan.steps}, ${plan.done} done`;
  by("step").textContent = plan.step || "All steps are done.";
  showHint(by("hint"), state);
  by("held").value = plan.step ? plan.held : 1;
  by("confirm").hidden = !plan.waits_for_light;
}

function renderMap() {
  const { map, plan } = state;
  const order = ["patch", "grey", "random", "shuffled", "drawing", "none"];
  const conditions = order.filter((name) => name in map.planned || name in map.cells);
  const shown = conditions.includes(shownCondition) ? shownCondition : (plan && plan.condition) || (conditions.includes("patch") ? "patch" : conditions[0]);
  if (!shown) return;
  const drawn = JSON.stringify([map, plan && [plan.cell, plan.condition], shown]);
  if (drawn === mapShown) return;
  mapShown = drawn;
  const tabs = [...by("tabs").children];
  if (tabs.map((tab) => tab.textContent).join() !== conditions.join()) by("tabs").replaceChildren(...conditions.map((name) => make("button", name)));
  for (const tab of by("tabs").children) tab.setAttribute("aria-pressed", String(tab.textContent === shown));
  const table = make("table");
  table.append(make("caption", `Success with the sheet ${shown}, by distance and yaw`, { class: "unseen" }));
  const head = make("tr");
  head.append(make("td", "", { class: "corner" }), ...map.yaws_deg.map((yaw) => make("th", `${yaw}°`, { scope: "col" })));
  table.append(head);
  const cells = new Map((map.cells[shown] || []).map(([row, column, ...rest]) => [`${row},${column}`, rest]));
  const planned = new Map((map.planned[shown] || []).map(([row, column, ...rest]) => [`${row},${column}`, rest]));
  map.distances_m.forEach((distance, row) => {
    const line = make("tr");
    line.append(make("th", `${distance} m`, { scope: "row" }));
    map.yaws_deg.forEach((_, column) => {
      const cell = make("td");
      const [frames, judged, hits] = cells.get(`${row},${column}`) || [0, 0, 0];
      const wanted = planned.get(`${row},${column}`);
      if (frames) {
        cell.textContent = judged ? percent(hits / judged) : `${frames}`;
        if (judged) cell.style.background = `color-mix(in srgb, var(--bad) ${Math.round(70 * hits / judged)}%, transparent)`;
        cell.title = `${numberOf(frames, "frame")}; success in ${hits} of the ${judged} whose success is known`;
      }
      if (wanted) cell.append(make("small", `${wanted[0]} of ${wanted[1]}`));
      else if (frames) cell.append(make("small", `${frames} fr.`));
      if (plan && plan.cell && plan.condition === shown && plan.cell[0] === row && plan.cell[1] === column) cell.className = "here";
      line.append(cell);
    });
    table.append(line);
  });
  by("map").replaceChildren(table);
}

by("tabs").onclick = (event) => { if (event.target.matches("button")) { shownCondition = event.target.textContent; renderMap(); } };
for (const button of document.querySelectorAll("[data-do]")) button.onclick = () => view.send(button.dataset.do, button.dataset.value || "");
by("toggle").onclick = () => view.send(state.recording === false ? "resume" : "pause");
by("stop").onclick = () => {
  const words = state.guide ? "End the calibration with the frames used so far?" : "End the session? Everything recorded so far is kept.";
  if (confirm(words)) view.send("stop");
};
by("phone").onclick = async () => {
  const answer = await fetch("/phone-link");
  const place = by("link");
  place.hidden = false;
  if (!answer.ok) { place.textContent = await answer.text(); return; }
  const { url, picture } = await answer.json();
  const anchor = make("a", url, { href: url });
  place.replaceChildren(make("p", "For one phone on this network, once:"), make("img", "", { src: picture, alt: "QR code of the link" }), anchor);
};

// A drag over the picture selects the square that the classifier sees.
const screen = by("screen");
let from = null;
const at = (event) => {
  const box = by("picture").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};
screen.onpointerdown = (event) => { if (!by("picture").hidden && state.frame) { from = at(event); screen.setPointerCapture(event.pointerId); } };
screen.onpointermove = (event) => {
  if (!from) return;
  const [left, top, side] = square(from, at(event));
  const { width, height } = state.frame;
  const box = by("drag");
  box.hidden = false;
  box.style.left = `${100 * left / width}%`;
  box.style.top = `${100 * top / height}%`;
  box.style.width = `${100 * side / width}%`;
  box.style.height = `${100 * side / height}%`;
};
screen.onpointerup = (event) => {
  if (!from) return;
  const [left, top, side] = square(from, at(event));
  from = null;
  by("drag").hidden = true;
  if (side >= 16) view.send("region", `${left},${top},${side}`);
};

screen.onpointercancel = () => { from = null; by("drag").hidden = true; };

function square([x0, y0], [x1, y1]) {
  const { width, height } = state.frame;
  const side = Math.min(width, height, Math.round(Math.max(Math.abs(x1 - x0) * width, Math.abs(y1 - y0) * height)));
  const left = Math.round(x1 >= x0 ? x0 * width : x0 * width - side);
  const top = Math.round(y1 >= y0 ? y0 * height : y0 * height - side);
  return [Math.min(Math.max(0, left), width - side), Math.min(Math.max(0, top), height - side), side];
}
