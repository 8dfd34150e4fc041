// Scored tables as the server returns them, for display: {header, rows}, rows of text.

function parseRecords(text, isJson, added) {
  return isJson ? parseJsonLines(text, added) : parseCsv(text);
}

// Rows may have different columns; the first added one and those after it come last.
function parseJsonLines(text, added) {
  const objects = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line, asWritten));
  const names = Object.keys(objects[0] ?? {});
  const tail = names.slice(names.lastIndexOf(added));
  const known = new Set(objects.flatMap(Object.keys));
  const header = [...[...known].filter((name) => !tail.includes(name)), ...tail];
  const cell = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return { header, rows: objects.map((one) => header.map((name) => (one[name] == null ? "" : cell(one[name])))) };
}

// The line of Excel that declares the delimiter.
const SEPARATOR_LINE = /^("?)sep=([^"\r\n])\2*\1(\r\n|\n|\r)/i;

// Parse delimited text (RFC 4180); the delimiter is declared, or the header's most frequent one.
function parseCsv(text) {
  const declared = SEPARATOR_LINE.exec(text);
  if (declared) text = text.slice(declared[0].length);
  const head = text.slice(0, text.search(/[\r\n]|$/));
  const frequency = (sign) => head.split(sign).length;
  const frequent = [",", ";", "\t", "|"].reduce((best, sign) => (frequency(sign) > frequency(best) ? sign : best));
  const delimiter = declared ? declared[2] : frequent;
  const records = [[]];
  for (let at = 0; at < text.length; ) {
    const [cell, end] = parseCell(text, at, delimiter);
    records.at(-1).push(cell);
    at = end + (text.startsWith("\r\n", end) ? 2 : 1);
    if (text[end] !== delimiter && at < text.length) records.push([]);
    if (text[end] === delimiter && at === text.length) records.at(-1).push("");
  }
  const [header, ...rows] = records;
  return { header, rows: rows.filter(([first, ...others]) => first || others.length) }; // no blank lines
}

function parseCell(text, start, delimiter) {
  let quoted = "", at = start;
  if (text[at] === '"') {
    let end = text.indexOf('"', at + 1);
    while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
    if (end < 0) end = text.length;
    quoted = text.slice(at + 1, end).replaceAll('""', '"');
    at = end + 1;
  }
  let end = at;
  while (end < text.length && text[end] !== delimiter && text[end] !== "\n" && text[end] !== "\r") end += 1;
  return [quoted + text.slice(at, end), end];
}
