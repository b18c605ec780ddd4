"use strict";

const list = document.querySelector(".cards"), words = document.getElementById("words"), tag = document.getElementById("tag"), order = document.getElementById("order"), count = document.getElementById("count");
const show = () => {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const cards = [...list.children].sort((a, b) => Number(b.dataset[order.value]) - Number(a.dataset[order.value]));
  for (const card of cards) card.hidden = !(wanted.every((word) => card.dataset.words.includes(word)) && (!tag.value || JSON.parse(card.dataset.tags).includes(tag.value)));
  list.replaceChildren(...cards);
  count.textContent = `${cards.filter((card) => !card.hidden).length} shown`;
};
for (const control of [words, tag, order]) control.addEventListener("input", show);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
