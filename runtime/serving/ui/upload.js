// Which format a file has, by its content.

const CSV = { type: "text/csv", extension: "csv" };
const PARQUET = { type: "application/vnd.apache.parquet", extension: "csv" }; // returned as CSV
const JSON_LINES = { type: "application/x-ndjson", extension: "jsonl" };

// The body and media type to send; an error for what is no table.
async function prepare(file) {
  if (!file.size) throw new Error(`${truncate(file.name)} is empty`);
  const head = await readHead(file);
  if (head.startsWith("PAR1")) return { body: file, ...PARQUET };
  if (head.startsWith("\x1f\x8b")) return prepare(await unzip(file));
  if (/^(?:\xef\xbb\xbf)?\s*[{[]/.test(head)) return { body: await toJsonLines(file), ...JSON_LINES };
  const isWide = /^(?:\xff\xfe|\xfe\xff)|^(?:\0[ -~]|[ -~]\0){2}/.test(head); // UTF-16
  if (head.includes("\0") && !isWide || /^(?:PK\x03\x04|%PDF|\x89PNG|\xff\xd8\xff)/.test(head)) {
    const advice = /\.(?:xlsx?|ods)$/i.test(file.name) ? "save the sheet as CSV" : "drop CSV, JSON Lines or Parquet";
    throw new Error(`${truncate(file.name)} is in a format that is not read: ${advice}`);
  }
  return { body: file, ...CSV };
}

// A character for each byte.
async function readHead(file) {
  try {
    return String.fromCharCode(...new Uint8Array(await file.slice(0, 4096).arrayBuffer()));
  } catch {
    throw new Error(`${truncate(file.name)} cannot be read: is it a folder, or was it changed?`);
  }
}

async function unzip(file) {
  try {
    const stream = file.stream().pipeThrough(new DecompressionStream("gzip"));
    return new File([await new Response(stream).blob()], file.name.replace(/\.gz$/i, ""));
  } catch {
    throw new Error(`${truncate(file.name)} is not a complete gzip file`);
  }
}

// JSON Lines are sent as they are; an array, or one object on several lines, with a line each.
async function toJsonLines(file) {
  const text = await file.text();
  const first = text.slice(0, text.search(/[\r\n]|$/));
  if (isJson(first) && !/^\s*\[/.test(first)) return file;
  let rows = null;
  try {
    rows = [JSON.parse(text, asWritten)].flat();
  } catch {
    return file; // the server names the line
  }
  return new Blob([rows.map((row) => JSON.stringify(row)).join("\n")]);
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
