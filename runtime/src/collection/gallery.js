// The page's program. It reads the posters out of the JSON scripts, keeps what the visitor asked for in the address's
// hash (so that a filtered page can be bookmarked), and holds only the cards near the window in the document: all else
// is the height of an empty list.
"use strict";

const named = (id) => document.getElementById(id);
const [search, sort, reverse, match, chips, clear, grid] =
  ["search", "sort", "reverse", "match", "chips", "clear", "grid"].map(named);
const header = JSON.parse(named("header").textContent);
/** Genres by index; the one behind the last stands for posters without any. */
const genres = [...header.genres, "none"];
const NONE = genres.length - 1;
/** Genres that a card has room for. */
const LINES = 4;
/** Rows kept above and below the window, so that scrolling finds them ready. */
const SPARE_ROWS = 3;
const percent = (probability) => `${Math.round(probability * 100)} %`;
/** Lower case without accents: "amelie" finds "Amélie". */
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** All posters, by title. */
const posters = readPosters();
/** What the visitor asked for. */
let asked = { genres: new Set(), match: "any", sort: "title", reverse: false, search: "" };
/** The posters that fit it, in its order. */
let shown = [];
/** The place in `shown` of the one card that Tab reaches; the arrow keys move it. */
let current = 0;
/** The cards in the document, by poster. */
const cards = new Map();

function readPosters() {
  const posters = [];
  for (const script of document.querySelectorAll("script.posters")) {
    for (const poster of JSON.parse(script.textContent)) posters.push(poster);
    script.remove();
  }
  for (const poster of posters) {
    poster.genres = poster.genres.map(([genre, probability, above]) => ({ genre, probability, above }));
    poster.genres.sort((a, b) => b.above - a.above || b.probability - a.probability);
    poster.above = poster.genres.filter((line) => line.above);
    poster.has = new Set(poster.above.length ? poster.above.map((line) => line.genre) : [NONE]);
    poster.text = fold(`${poster.title} ${poster.year ?? ""}`);
  }
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  return posters.sort((a, b) => compare(a.title, b.title) || (a.year ?? 0) - (b.year ?? 0));
}

/** Probability of the likeliest of the chosen genres, of the least likely if all must hold; of any if none is chosen. */
function confidence(poster) {
  const chosen = poster.genres.filter((line) => asked.genres.has(line.genre));
  const probabilities = (chosen.length ? chosen : poster.genres).map((line) => line.probability);
  return chosen.length && asked.match === "all" ? Math.min(...probabilities) : Math.max(0, ...probabilities);
}

/** Finds the posters that are asked for and puts them in order. */
function select() {
  const words = fold(asked.search).split(/\s+/);
  const found = posters.filter((poster) => words.every((word) => poster.text.includes(word)));
  const chosen = [...asked.genres];
  const fits = (poster) => chosen[asked.match === "all" ? "every" : "some"]((genre) => poster.has.has(genre));
  shown = chosen.length ? found.filter(fits) : found.slice();

  const sign = asked.reverse ? 1 : -1;
  if (asked.sort === "title" && asked.reverse) shown.reverse();
  if (asked.sort !== "title") {
    const key = asked.sort === "year" ? (poster) => poster.year ?? sign * Infinity : confidence;
    const keys = new Map(shown.map((poster) => [poster, key(poster)]));
    shown.sort((a, b) => sign * (keys.get(a) - keys.get(b)) || 0);
  }
  current = 0;
  showControls(asked.match === "all" ? shown : found);
}

/** Brings the controls to what is asked for; `pool` holds the posters that another chip would choose from. */
function showControls(pool) {
  const counts = genres.map((_, genre) => pool.filter((poster) => poster.has.has(genre)).length);
  for (const chip of chips.children) {
    const genre = Number(chip.dataset.genre);
    chip.setAttribute("aria-pressed", asked.genres.has(genre));
    chip.classList.toggle("nothing", !counts[genre] && !asked.genres.has(genre));
    chip.lastChild.textContent = counts[genre].toLocaleString();
  }
  if (search.value !== asked.search) search.value = asked.search;
  sort.value = asked.sort;
  match.value = asked.match;
  reverse.setAttribute("aria-pressed", asked.reverse);
  clear.hidden = !asked.genres.size;
  const all = `${posters.length.toLocaleString()} poster${posters.length === 1 ? "" : "s"}`;
  named("count").textContent = shown.length === posters.length ? all : `${shown.length.toLocaleString()} of ${all}`;
  named("empty").hidden = shown.length > 0;
}

/** The page as the style sheet lays it out: columns, and in pixels a row with its gap, the grid's top, the controls. */
function layout() {
  const style = getComputedStyle(grid);
  return {
    columns: style.gridTemplateColumns.split(" ").length,
    row: parseFloat(style.gridAutoRows) + parseFloat(style.rowGap),
    top: grid.getBoundingClientRect().top + scrollY,
    bar: named("controls").offsetHeight,
  };
}

/** Puts the cards near the window into the document and takes the others out. */
function render() {
  const { columns, row, top, bar } = layout();
  const rows = Math.ceil(shown.length / columns);
  const height = Math.ceil(innerHeight / row) + 1;
  const first = Math.max(0, Math.min(Math.floor((scrollY - top) / row), rows - height) - SPARE_ROWS);
  grid.style.height = `${rows * row}px`;
  grid.style.paddingTop = `${first * row}px`;

  const near = shown.slice(first * columns, (first + height + 2 * SPARE_ROWS) * columns);
  const wanted = new Set(near);
  if (!wanted.has(shown[current])) current = Math.max(0, Math.ceil((scrollY + bar - top) / row)) * columns;
  for (const [poster, card] of cards) {
    if (!wanted.has(poster)) { card.remove(); cards.delete(poster); }
  }
  let next = grid.firstChild;
  near.forEach((poster, index) => {
    const card = cards.get(poster) ?? newCard(poster);
    cards.set(poster, card);
    if (card === next) next = next.nextSibling;
    else grid.insertBefore(card, next);
    const place = first * columns + index;
    card.setAttribute("aria-posinset", place + 1);
    card.setAttribute("aria-setsize", shown.length);
    card.firstChild.tabIndex = place === current ? 0 : -1;
  });
}

function newCard(poster) {
  const card = named("card").content.firstElementChild.cloneNode(true);
  const link = card.firstChild;
  link.href = poster.href;
  card.querySelector("img").src = `data:image/jpeg;base64,${poster.thumbnail}`;
  card.querySelector("bdi").textContent = poster.title;
  card.querySelector(".year").textContent = poster.year ?? "";

  const chosen = (line) => asked.genres.has(line.genre);
  const lines = [...poster.above].sort((a, b) => chosen(b) - chosen(a));
  const text = card.querySelector(".text");
  const note = (words) => text.append(element("span", "note", words));
  if (!lines.length) {
    note("no genre; likeliest:");
    lines.push(...poster.genres.slice(0, 2));
  }
  const room = lines.length > LINES ? LINES - 1 : LINES;
  for (const line of lines.slice(0, room)) {
    const bar = element("span", "genre");
    bar.append(element("span", "", genres[line.genre]), element("span", "", percent(line.probability)));
    bar.style.setProperty("--probability", line.probability);
    bar.classList.toggle("chosen", chosen(line));
    bar.classList.toggle("below", !line.above);
    text.append(bar);
  }
  if (lines.length > room) note(`and ${lines.length - room} more`);

  const spoken = poster.above.map((line) => `${genres[line.genre]} ${percent(line.probability)}`).join(", ");
  link.title = `${poster.title}${poster.year ? ` (${poster.year})` : ""}: ${spoken || "no genre"}`;
  link.setAttribute("aria-label", link.title);
  return card;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Shows what is asked for, from its beginning. */
function show() {
  select();
  for (const card of cards.values()) card.remove();
  cards.clear();
  const { top, bar } = layout();
  scrollTo(0, Math.min(scrollY, top - bar));
  render();
}

/** Takes over a wish, writes it into the hash and shows what fits. */
function ask(wish) {
  asked = { ...asked, ...wish };
  const hash = new URLSearchParams([...asked.genres].map((genre) => ["genre", genres[genre]]));
  if (asked.match !== "any") hash.set("match", asked.match);
  if (asked.sort !== "title") hash.set("sort", asked.sort);
  if (asked.reverse) hash.set("order", "reverse");
  if (asked.search) hash.set("search", asked.search);
  history.replaceState(null, "", `#${hash}`);
  show();
}

function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const option = (select, name) => [...select.options].map((o) => o.value).find((value) => value === hash.get(name));
  asked = {
    genres: new Set(hash.getAll("genre").map((name) => genres.indexOf(name)).filter((genre) => genre >= 0)),
    match: option(match, "match") ?? "any",
    sort: option(sort, "sort") ?? "title",
    reverse: hash.get("order") === "reverse",
    search: hash.get("search") ?? "",
  };
  show();
  chips.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

/** Moves the focus to the poster at a place in `shown`, scrolling as little as needed. */
function focusOn(place) {
  const { columns, row, top, bar } = layout();
  current = Math.max(0, Math.min(place, shown.length - 1));
  const y = top + Math.floor(current / columns) * row;
  scrollTo(0, Math.max(y + row - innerHeight, Math.min(scrollY, y - bar - 8)));
  render();
  cards.get(shown[current]).firstChild.focus({ preventScroll: true });
}

grid.addEventListener("keydown", (event) => {
  const { columns, row, bar } = layout();
  const page = columns * Math.max(1, Math.floor((innerHeight - bar) / row));
  const steps = {
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
    PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity,
  };
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in steps)) return;
  event.preventDefault();
  focusOn(current + steps[event.key]);
});
// A click, too, makes its card the one that the arrow keys start from.
grid.addEventListener("focusin", (event) => {
  current = event.target.closest("li").getAttribute("aria-posinset") - 1;
  render();
});
chips.addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (!chip) return;
  const chosen = new Set(asked.genres);
  if (!chosen.delete(Number(chip.dataset.genre))) chosen.add(Number(chip.dataset.genre));
  ask({ genres: chosen });
});
clear.addEventListener("click", () => { chips.firstChild.focus(); ask({ genres: new Set() }); });
search.addEventListener("input", () => ask({ search: search.value }));
sort.addEventListener("change", () => ask({ sort: sort.value }));
match.addEventListener("change", () => ask({ match: match.value }));
reverse.addEventListener("click", () => ask({ reverse: !asked.reverse }));
addEventListener("hashchange", readHash);
addEventListener("resize", render);
addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });

genres.forEach((name, genre) => {
  if (!posters.some((poster) => poster.has.has(genre))) return;
  const chip = element("button", "", name);
  chip.type = "button";
  chip.dataset.genre = genre;
  chip.append(element("small", ""));
  chips.append(chip);
});
named("about").textContent = `Genres by ${header.model}, operating point ${header.operating_point}`;
named("controls").hidden = !posters.length;
readHash();
