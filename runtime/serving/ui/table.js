// Table scoring: the file is sent to /predict; the first rows are shown, all can be downloaded.

const MAX_SHOWN = 100; // rows

class Table {
  constructor(model) {
    this.model = model;
    byId("required-columns").textContent = model.features.map(({ name }) => truncate(name)).slice(0, 8).join(", ");
    const drop = byId("drop"), file = byId("file");
    file.onchange = () => file.files.length && this.score(file.files[0]);
    drop.ondragover = (event) => {
      event.preventDefault();
      drop.classList.add("over");
    };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files.length) this.score(event.dataTransfer.files[0]);
    };
    this.clear("");
  }

  clear(status) {
    setText("table-status", status);
    setText("table-error", "");
    byId("save").hidden = byId("scored").hidden = true;
    URL.revokeObjectURL(byId("download").href);
  }

  async score(file) {
    this.clear(`scoring ${truncate(file.name)}`);
    try {
      const query = new URLSearchParams({ model: this.model.name, bad_rows: "null" });
      const headers = { "content-type": "text/csv" };
      const response = await request(`predict?${query}`, { method: "POST", headers, body: file });
      this.show(await response.text(), file.name);
    } catch (error) {
      this.clear("");
      setText("table-error", error.message);
    }
    byId("file").value = ""; // so that the same file can be chosen again
  }

  show(text, name) {
    const [header, ...rows] = parseCsv(text);
    const reason = header.indexOf("reason", header.lastIndexOf("label"));
    const bad = reason < 0 ? 0 : rows.filter((row) => row[reason]).length;
    const summary = `${count(rows.length)} rows, ${count(rows.length - bad)} scored`;
    setText("table-status", summary + (rows.length > MAX_SHOWN ? `; the first ${MAX_SHOWN} are shown` : ""));
    const download = byId("download");
    download.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    download.download = `${name.replace(/\.[^.]*$/, "")}.scored.csv`;
    byId("save").hidden = byId("scored").hidden = false;
    byId("scored").replaceChildren(drawTable(header, rows.slice(0, MAX_SHOWN)));
  }
}

function drawTable(header, rows) {
  const first = header.lastIndexOf("label"); // the new columns begin here
  const kinds = header.map((_, at) => ({ class: `${at >= first ? "new" : ""} ${isText(rows, at) ? "text" : ""}` }));
  const table = make("table"), head = make("thead"), body = make("tbody"), line = make("tr");
  line.append(...header.map((name, at) => make("th", { scope: "col", ...kinds[at] }, truncate(name))));
  head.append(line);
  for (const row of rows) {
    const cells = make("tr");
    cells.append(...row.map((cell, at) => make("td", kinds[at], truncate(cell, 80))));
    body.append(cells);
  }
  table.append(head, body);
  return table;
}

// A column of numbers may hold a few invalid cells.
function isText(rows, at) {
  const filled = rows.map((row) => row[at]).filter(Boolean);
  return filled.filter((cell) => Number.isNaN(Number(cell))).length * 2 > filled.length;
}

// The line of Excel that declares the delimiter.
const SEPARATOR_LINE = /^("?)sep=([^"\r\n])\2*\1(\r\n|\n|\r)/i;

// Parse delimited text (RFC 4180); the delimiter is declared, or the header's most frequent one.
function parseCsv(text) {
  const declared = SEPARATOR_LINE.exec(text);
  if (declared) text = text.slice(declared[0].length);
  const header = text.slice(0, text.search(/[\r\n]|$/));
  const frequency = (sign) => header.split(sign).length;
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
  return records;
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
