"use strict";

// Chapters: a link opens its own, and paper shows all.
const chapters = document.querySelectorAll("details.chapter");
const openNamed = () => {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) named.open = true;
};
addEventListener("hashchange", openNamed);
openNamed();
let openBefore = [];
addEventListener("beforeprint", () => {
  openBefore = [...chapters].map((chapter) => chapter.open);
  for (const chapter of chapters) chapter.open = true;
});
addEventListener("afterprint", () => chapters.forEach((chapter, i) => { chapter.open = openBefore[i]; }));

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

// Tables: the buttons in their headings sort by number or word, up, down, and back.
const number = (text) => {
  const found = text.replace(/[\u2212\u2013](?=\d)/, "-").match(/^[^\d+-]{0,2}([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)/);
  return found ? Number(found[1]) : NaN;
};
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows], headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.textContent) return;
    const button = make("button", { type: "button" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "" }[heading.getAttribute("aria-sort")] ?? "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      if (next) heading.setAttribute("aria-sort", next);
      const text = (row) => row.cells[column].textContent.trim();
      const known = original.filter((row) => !["", "–"].includes(text(row)));
      if (next) known.sort((a, b) => compare(text(a), text(b)) * (next === "ascending" ? 1 : -1));
      body.append(...(next ? [...known, ...original.filter((row) => !known.includes(row))] : original));
    });
  });
}

// Charts: the values of a mark under the cursor, or where the arrow keys move.
for (const chart of document.querySelectorAll("figure.chart")) {
  const marks = [...chart.querySelectorAll(".mark")], box = chart.querySelector(".plot");
  const tip = make("div", { class: "tip", hidden: "" });
  box.append(tip);
  const place = (mark) => mark.querySelector(".dot").getBoundingClientRect();
  const show = (mark) => {
    const at = place(mark), around = box.getBoundingClientRect();
    const here = marks.filter((other) => Math.hypot(place(other).left - at.left, place(other).top - at.top) < 8);
    tip.replaceChildren(...here.map((one) => make("div", {}, one.getAttribute("aria-label"))));
    tip.hidden = false;
    const middle = at.left + at.width / 2 - around.left;
    tip.style.left = `${Math.max(0, Math.min(middle - tip.offsetWidth / 2, around.width - tip.offsetWidth))}px`;
    const above = at.top - around.top - tip.offsetHeight - 6;
    tip.style.top = `${above >= 0 ? above : at.bottom - around.top + 6}px`;
  };
  const hide = () => { tip.hidden = true; };
  marks.forEach((mark, i) => {
    mark.querySelector("title").remove();
    mark.setAttribute("tabindex", i ? "-1" : "0");
    mark.addEventListener("pointerenter", () => show(mark));
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", hide);
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = marks[i + step];
      if (!step) return;
      event.preventDefault();
      if (!next) return;
      mark.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
}

// A slider along a chart's axis reads the values of all its series there.
for (const slider of document.querySelectorAll(".slider")) {
  const chart = slider.closest("figure.chart"), line = chart.querySelector(".reading");
  const range = slider.querySelector("input"), output = slider.querySelector("output");
  const marks = [...chart.querySelectorAll(".mark")], places = [...new Set(marks.map((mark) => mark.dataset.place))];
  const read = () => {
    const place = places[range.value], here = marks.filter((mark) => mark.dataset.place === place);
    output.replaceChildren(make("strong", {}, place), ...here.map((mark) => make("span", {}, mark.dataset.values)));
    range.setAttribute("aria-valuetext", place);
    for (const end of ["x1", "x2"]) line.setAttribute(end, here[0].dataset.x);
  };
  range.max = places.length - 1;
  range.value = Math.floor(places.length / 2);
  range.addEventListener("input", read);
  slider.hidden = false;
  line.removeAttribute("hidden");
  read();
}

// The film: a slider moves along its frames; a table of poses and a list of sheets choose among them.
for (const film of document.querySelectorAll(".film")) {
  const strip = film.querySelector(".frames"), items = [...strip.children];
  const stage = film.querySelector(".stage"), range = film.querySelector("input[type=range]");
  const heat = film.querySelector("input[type=checkbox]"), sheet = film.querySelector("select");
  const status = film.querySelector("[role=status]"), all = film.querySelector("button.all");
  const cells = [...document.querySelectorAll("table.poses td[data-cell]")];
  let shown = items, current = items[0], cell = "";

  const draw = () => {
    for (const item of items) item.classList.toggle("current", item === current);
    if (!current) return stage.replaceChildren();
    const figure = current.querySelector("figure").cloneNode(true);
    const [annotated, plain] = figure.querySelectorAll("img");
    annotated.hidden = Boolean(plain) && !heat.checked;
    if (plain) plain.hidden = heat.checked;
    heat.disabled = !plain;
    stage.replaceChildren(figure);
    range.setAttribute("aria-valuetext", current.dataset.caption);
    strip.scrollLeft = current.offsetLeft - strip.offsetLeft - (strip.clientWidth - current.clientWidth) / 2;
  };
  const choose = () => {
    shown = items.filter((item) => (!cell || item.dataset.cell === cell) && (!sheet.value || item.dataset.sheet === sheet.value));
    for (const item of items) item.hidden = !shown.includes(item);
    for (const one of cells) one.firstElementChild.setAttribute("aria-pressed", String(one.dataset.cell === cell));
    if (!shown.includes(current)) current = shown[0];
    range.max = Math.max(0, shown.length - 1);
    range.value = shown.indexOf(current);
    range.disabled = shown.length < 2;
    const where = cells.find((one) => one.dataset.cell === cell);
    const words = [`${shown.length} of ${items.length} frames`, where ? `at ${where.dataset.where}` : "", sheet.value ? `${sheet.value} sheet` : ""];
    status.textContent = words.filter(Boolean).join(", ");
    all.hidden = !cell && !sheet.value;
    draw();
  };
  for (const one of cells) {
    const button = make("button", { type: "button", "aria-pressed": "false" }, ...one.childNodes);
    one.append(button);
    button.addEventListener("click", () => {
      cell = cell === one.dataset.cell ? "" : one.dataset.cell;
      choose();
    });
  }
  items.forEach((item) => item.addEventListener("click", () => {
    current = item;
    range.value = shown.indexOf(item);
    draw();
  }));
  range.addEventListener("input", () => { current = shown[range.value]; draw(); });
  heat.addEventListener("change", draw);
  sheet.addEventListener("change", choose);
  all.addEventListener("click", () => { cell = sheet.value = ""; choose(); });
  film.classList.add("live");
  for (const part of film.querySelectorAll(".viewer")) part.hidden = false;
  choose();
  film.closest("details")?.addEventListener("toggle", draw);
}
