// Elements and numbers. Text that comes from a bundle or a table is only ever set as text.

const KINDS = 8; // colours before they repeat
let colours = new Map(); // of classes; the others have that of their number
const colourOf = (at) => `k${(colours.get(at) ?? at) % KINDS}`;
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, text = undefined) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes = {}, text = undefined) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Shown where there is something to show.
function tell(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

const count = (value) => Math.round(value).toLocaleString("en");
const short = (value) => String(Number(Number(value).toPrecision(4)));

// A column of dates counts days since its origin, midnight in UTC.
const DAY = 24 * 60 * 60 * 1000; // milliseconds

// A number, a text of a category, null for what may be missing, or NaN for what is none.
function readValue({ categories = [], missing, origin }, text) {
  if (categories.length) return text;
  if (!text.trim()) return missing === "imputed" ? null : NaN;
  if (!origin) return Number.isFinite(Number(text)) ? Number(text) : NaN;
  const date = text.trim().replace(" ", "T");
  if (!/^\d{4}-\d\d-\d\d/.test(date)) return NaN;
  const zoned = /T[\d:.]+$/.test(date) ? `${date}Z` : date;
  return (Date.parse(zoned) - Date.parse(origin)) / DAY;
}

function showValue({ origin }, value) {
  if (!origin) return short(value);
  const date = new Date(Date.parse(origin) + Math.round(value * DAY));
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 19).replace("T00:00:00", "");
}

const axisName = ({ name, origin }) => cut(name) + (origin ? `, days since ${origin}` : "");

function cut(name, most = 40) {
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}

// Round numbers that divide a range into a few parts.
function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4));
  const size = step * ([1, 2, 5, 10].find((many) => (high - low) / (step * many) <= 6) ?? 10);
  const found = [];
  for (let at = Math.ceil(low / size); at * size <= high; at += 1) found.push(at * size);
  return found;
}
