// Elements and number formats. Text of a bundle or a table is only ever set as text.

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
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const short = (value) => String(Number(Number(value).toPrecision(4)));

// For people: digits in groups, whole parts never rounded, as in the terminal and the report.
function readable(value) {
  const magnitude = value ? Math.floor(Math.log10(Math.abs(value))) : 0;
  if (magnitude < -5 || magnitude > 14) return short(value);
  return value.toLocaleString("en", { maximumFractionDigits: Math.max(5 - magnitude, 0) });
}

function truncate(name, max = 40) {
  return name.length > max ? `${name.slice(0, max - 1)}…` : name;
}

// May break after an underscore, as after a blank.
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
}
