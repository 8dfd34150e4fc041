// Elements and number formats. Text of a bundle or a table is only ever set as text.

const KINDS = 8; // colours before they repeat
let colours = new Map(); // by class; other classes take that of their index
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

// Hidden while empty.
function setText(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

const count = (value) => Math.round(value).toLocaleString("en");
const short = (value) => String(Number(Number(value).toPrecision(4)));

// A column of dates counts days since its origin, midnight in UTC.
const DAY = 24 * 60 * 60 * 1000; // milliseconds

// A number, a category, null for an allowed missing value, or NaN for invalid input.
function parseValue({ categories = [], missing, origin }, text) {
  if (categories.length) return text;
  if (!text.trim()) return missing === "imputed" ? null : NaN;
  if (!origin) return Number.isFinite(Number(text)) ? Number(text) : NaN;
  const date = text.trim().replace(" ", "T");
  if (!/^\d{4}-\d\d-\d\d/.test(date)) return NaN;
  const zoned = /T[\d:.]+$/.test(date) ? `${date}Z` : date;
  return (Date.parse(zoned) - Date.parse(origin)) / DAY;
}

function formatValue({ origin }, value) {
  if (!origin) return short(value);
  const date = new Date(Date.parse(origin) + Math.round(value * DAY));
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 19).replace("T00:00:00", "");
}

const axisName = ({ name, origin }) => truncate(name) + (origin ? `, days since ${origin}` : "");

function truncate(name, max = 40) {
  return name.length > max ? `${name.slice(0, max - 1)}…` : name;
}

// Round tick values of an axis.
function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4));
  const size = step * ([1, 2, 5, 10].find((factor) => (high - low) / (step * factor) <= 6) ?? 10);
  const values = [];
  for (let at = Math.ceil(low / size); at * size <= high; at += 1) values.push(at * size);
  return values;
}
