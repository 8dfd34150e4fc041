// Values of columns: numbers and dates, as the form shows them and as the server reads them.

// A column of dates counts days since its origin, midnight in UTC.
const DAY = 24 * 60 * 60 * 1000; // milliseconds

// A number, a category, null for an allowed missing value, or NaN for invalid input.
function parseValue({ categories = [], missing, texts = [], origin }, text) {
  if (categories.length) return text;
  if (!text.trim() || texts.includes(text.trim())) return missing === "imputed" ? null : NaN;
  if (!origin && texts.some((one) => Number(one) === Number(text))) return missing === "imputed" ? null : NaN;
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

// Of the training rows, to read; what the form holds has no groups of digits.
const describeValue = (feature, value) => (feature.origin ? formatValue(feature, value) : readable(value));

// Named formats with their time; the server's formats are in runtime/schema/date_formats.py.
const FORMATS = { dmy: "%d.%m.%Y %T", mdy: "%m/%d/%Y %T", ymd: "%Y-%m-%d %T" };
const EPOCHS = { "epoch-s": 1000, "epoch-ms": 1 };
const SHORTHANDS = { T: "%H:%M:%S", R: "%H:%M", D: "%m/%d/%y", F: "%Y-%m-%d", h: "%b" };

// The text of a date for the server: as typed, or in the format that the column's cells have.
function writeDate({ origin, format }, text, days) {
  if (!format || days === null) return text;
  const date = new Date(Date.parse(origin) + Math.round(days * DAY));
  if (EPOCHS[format]) return String(date.getTime() / EPOCHS[format]);
  const two = (number) => String(number).padStart(2, "0");
  const name = (options) => date.toLocaleDateString("en-US", { ...options, timeZone: "UTC" });
  const hours = date.getUTCHours();
  const year = String(date.getUTCFullYear()).padStart(4, "0");
  const parts = {
    Y: year, y: year.slice(2), m: two(date.getUTCMonth() + 1), d: two(date.getUTCDate()),
    e: String(date.getUTCDate()), b: name({ month: "short" }), B: name({ month: "long" }),
    a: name({ weekday: "short" }), A: name({ weekday: "long" }), H: two(hours), I: two(hours % 12 || 12),
    p: hours < 12 ? "AM" : "PM", M: two(date.getUTCMinutes()), S: two(date.getUTCSeconds()),
    f: `${String(date.getUTCMilliseconds()).padStart(3, "0")}000`, z: "+0000", Z: "UTC", "%": "%",
  };
  const long = (FORMATS[format] ?? format).replace(/%(.)/g, (code, key) => SHORTHANDS[key] ?? code);
  return long.replace(/%(.)/g, (_, key) => parts[key]);
}
