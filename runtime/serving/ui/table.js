// Table scoring: the file is sent to /predict; the first rows are shown, all can be downloaded.

const MAX_SHOWN = 100; // rows
const MAX_REASONS = 5;

let latest = 0; // number of the latest file, options and model

class Table {
  constructor(model) {
    this.model = model;
    this.file = null;
    latest += 1;
    const names = model.features.map(({ name }) => truncate(name));
    byId("required-columns").textContent = names.slice(0, 8).join(", ") + (names.length > 8 ? ` and ${names.length - 8} more` : "");
    const drop = byId("drop"), file = byId("file");
    file.onchange = () => file.files.length && this.score(file.files[0]);
    file.onclick = () => (file.value = ""); // so that the same file can be chosen again
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
    byId("options").onchange = () => this.file && this.score(this.file);
    byId("only-bad").onchange = () => this.draw();
    byId("file-name").textContent = "or drop one here";
    this.clear("");
  }

  clear(status) {
    setText("table-status", status);
    setText("table-error", "");
    byId("results").hidden = true;
    URL.revokeObjectURL(byId("download").href);
  }

  async score(file) {
    this.file = file;
    latest += 1;
    const own = latest;
    byId("file-name").textContent = file.name;
    this.clear(`scoring ${truncate(file.name)}`);
    let isTable = false;
    try {
      const { body, type, extension } = await prepare(file);
      isTable = true;
      const headers = { "content-type": type, accept: type === PARQUET.type ? CSV.type : "*/*" };
      const response = await request(`predict?${this.query()}`, { method: "POST", headers, body });
      const hints = JSON.parse(response.headers.get("x-onnxferry-hints") ?? "[]");
      const found = await response.blob();
      if (own === latest) await this.show(found, extension, hints);
    } catch (error) {
      if (own !== latest) return;
      this.clear("");
      setText("table-error", error.message);
      byId("options").open ||= isTable; // they may help
    }
  }

  query() {
    const query = new URLSearchParams({ model: this.model.name, bad_rows: "null" });
    for (const name of ["decimal", "delimiter", "prefix", "proba"]) {
      if (byId(name).value) query.set(name, byId(name).value);
    }
    return query;
  }

  async show(content, extension, hints) {
    const charset = /charset=([^;]+)/.exec(content.type)?.[1];
    const isJson = extension === JSON_LINES.extension;
    const text = new TextDecoder(charset ?? (isJson ? "utf-8" : "windows-1252")).decode(await content.arrayBuffer());
    const prefix = byId("prefix").value;
    const { header, rows } = parseRecords(text, isJson, `${prefix}label`);
    const reason = header.length - 1; // the last column
    this.records = { header: header.slice(0, reason), first: header.lastIndexOf(`${prefix}label`) };
    this.rows = rows.map((cells, at) => ({ number: at + 1, cells: cells.slice(0, reason), reason: cells[reason] ?? "" }));
    const download = byId("download");
    download.href = URL.createObjectURL(content);
    download.download = `${this.file.name.replace(/(?:\.[^.]*?)?(?:\.gz)?$/i, "")}.scored.${extension}`;
    this.summarize();
    byId("hints").replaceChildren(...hints.map((hint) => make("li", {}, hint)));
    byId("hints").hidden = !hints.length;
    byId("options").open ||= hints.length > 0; // they help
    byId("only-bad").checked = false;
    byId("results").hidden = false;
    this.draw();
  }

  // Bad rows are counted by their reason.
  summarize() {
    const bad = this.rows.filter(({ reason }) => reason);
    const scored = this.rows.length - bad.length;
    setText("table-status", `${truncate(this.file.name)}: ${plural(this.rows.length, "row")}, ${count(scored)} scored, ${count(bad.length)} bad`);
    const reasons = new Map();
    for (const { reason } of bad) {
      const kind = reason.split(" (", 1)[0];
      reasons.set(kind, (reasons.get(kind) ?? 0) + 1);
    }
    const sorted = [...reasons].sort(([, a], [, b]) => b - a);
    const lines = sorted.slice(0, MAX_REASONS).map(([kind, found]) => make("li", {}, `${plural(found, "row")}: ${kind}`));
    if (sorted.length > MAX_REASONS) lines.push(make("li", {}, `and ${plural(sorted.length - MAX_REASONS, "other reason")}`));
    byId("reasons").replaceChildren(...lines);
    byId("reasons").hidden = byId("filter").hidden = !bad.length;
  }

  draw() {
    const { header, first } = this.records;
    const rows = byId("only-bad").checked ? this.rows.filter(({ reason }) => reason) : this.rows;
    const some = rows.slice(0, MAX_SHOWN);
    const kinds = header.map((_, at) => ({ class: `${at >= first ? "new" : ""} ${isText(some, at) ? "text" : ""}` }));
    const table = make("table"), head = make("thead"), body = make("tbody"), line = make("tr");
    line.append(make("th", { scope: "col", class: "text" }, "row"));
    line.append(...header.map((name, at) => make("th", { scope: "col", ...kinds[at] }, truncate(name))));
    head.append(line);
    body.append(...some.flatMap((row) => drawRow(row, kinds, header)));
    table.append(head, body);
    byId("scored").replaceChildren(table);
    setText("more", rows.length > MAX_SHOWN ? `The first ${MAX_SHOWN} of ${count(rows.length)} rows are shown.` : "");
  }
}

// The reason why a row is bad is a row of its own below it.
function drawRow({ number, cells, reason }, kinds, header) {
  const line = make("tr", reason ? { class: "faulty" } : {});
  line.append(make("th", { scope: "row" }, reason ? `✗ ${number}` : String(number)));
  line.append(...cells.map((cell, at) => make("td", kinds[at], truncate(cell, 80))));
  if (!reason) return [line];
  line.children[header.findIndex((name) => reason.startsWith(`${name}: `)) + 1].classList.add("culprit");
  const below = make("tr", { class: "reason" }), cell = make("td", { colspan: cells.length + 1 }), why = make("span");
  why.append(make("span", { class: "unseen" }, `row ${number} is bad: `), reason);
  cell.append(why);
  below.append(cell);
  return [line, below];
}

// A column of numbers may hold a few invalid cells.
function isText(rows, at) {
  const filled = rows.map(({ cells }) => cells[at]).filter(Boolean);
  return filled.filter((cell) => Number.isNaN(Number(cell))).length * 2 > filled.length;
}
