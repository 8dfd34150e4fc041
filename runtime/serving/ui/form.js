// The form: one field a column; each change requests a prediction, the latest one is shown.

const BARS = 12; // classes that are shown
const ANOTHER = "(another)"; // stands for categories that training did not have
const PINNED = 8; // with more fields the prediction stays in view

class Form {
  // texts: of fields, by column, of another version of the model
  constructor(model, texts = new Map(), onFailure = () => {}) {
    this.model = model;
    this.onFailure = onFailure;
    this.sequence = 0;
    const isPlanar = model.features.length === 2 && model.features.every(({ categories }) => !categories.length);
    this.regions = isPlanar ? new Regions(model, (values) => this.set(values)) : null;
    this.inputs = model.features.map(makeInput);
    byId("fields").replaceChildren(...this.inputs.map((input, at) => makeField(model.features[at], input, at)));
    model.features.forEach(({ name }, at) => fillIn(this.inputs[at], texts.get(name)));
    byId("answer").classList.toggle("pinned", model.features.length > PINNED);
    byId("form").oninput = () => this.predict();
    byId("form").onsubmit = (event) => event.preventDefault();
    byId("regions").hidden = true;
    colours = new Map();
    byId("classes").replaceChildren();
    const drawn = this.regions?.show().catch((error) => setText("form-error", error.message));
    if (model.classes.length > KINDS) drawn?.then(() => this.predict()); // again, in the regions' colours
    this.predict();
  }

  texts() {
    return new Map(this.model.features.map(({ name }, at) => [name, this.inputs[at].value]));
  }

  set(values) {
    const features = this.model.features;
    values.forEach((value, at) => (this.inputs[at].value = formatValue(features[at], value)));
    this.predict();
  }

  async predict() {
    const features = this.model.features;
    const values = this.inputs.map((input, at) => parseValue(features[at], input.value));
    const invalid = features.filter((_, at) => Number.isNaN(values[at]));
    this.inputs.forEach((input, at) => input.setAttribute("aria-invalid", invalid.includes(features[at])));
    this.sequence += 1;
    if (invalid.length) {
      const explain = ({ name, origin }) => `${name}: expected a ${origin ? "date such as 2024-12-31" : "number"}`;
      this.showError(invalid.map(explain).join("; "));
      return;
    }
    this.regions?.mark(values);
    setText("out-of-range", this.outOfRange(values));
    const sequence = this.sequence;
    const sent = this.inputs.map((input, at) => (
      features[at].origin ? writeDate(features[at], input.value, values[at]) : values[at]
    ));
    try {
      const outputs = await inferRow(this.model, sent, ["label", "probabilities"]);
      if (sequence === this.sequence) this.show(outputs);
    } catch (error) {
      if (sequence !== this.sequence) return;
      this.showError(error.message);
      this.onFailure();
    }
  }

  outOfRange(values) {
    const names = this.model.features
      .filter(({ minimum, maximum }, at) => typeof values[at] === "number" && (values[at] < minimum || values[at] > maximum))
      .map(({ name }) => name);
    return names.length ? `${names.join(", ")}: outside the training range; the model extrapolates` : "";
  }

  show({ label, probabilities }) {
    setText("form-error", "");
    byId("label").textContent = `${truncate(this.model.target)}: ${truncate(this.model.classes[label[0]], 80)}`;
    byId("probability").textContent = `probability ${probabilities[label[0]].toFixed(4)}`;
    const { shown, others } = mostLikely(probabilities);
    setText("others", others.length ? `and ${count(others.length)} less likely classes` : "");
    byId("classes").replaceChildren(...shown.flatMap((at) => bar(this.model.classes[at], at, probabilities[at])));
  }

  showError(message) {
    byId("label").textContent = "–";
    byId("probability").textContent = "";
    byId("classes").replaceChildren();
    setText("others", "");
    setText("out-of-range", "");
    setText("form-error", message);
  }
}

function makeInput(feature) {
  const { name, minimum, typical, origin, others, categories } = feature;
  if (categories.length) {
    const choice = make("select", { name });
    choice.append(...categories.map((text) => make("option", { value: text }, truncate(text) || "(missing)")));
    if (others) choice.append(make("option", { value: ANOTHER }, ANOTHER));
    choice.value = typical;
    return choice;
  }
  // Keypads for decimals may have no minus sign.
  const inputmode = origin || minimum < 0 ? "text" : "decimal";
  const input = make("input", { name, inputmode, autocomplete: "off" });
  input.value = origin ? formatValue(feature, Math.round(typical)) : readable(typical).replaceAll(",", "");
  return input;
}

function makeField(feature, input, at) {
  const { name, minimum, maximum, missing, categories } = feature;
  const field = make("div", { class: "field" }), label = make("label", { for: `field-${at}` });
  input.id = `field-${at}`;
  input.setAttribute("aria-describedby", `range-${at} form-error`);
  label.append(...breakable(truncate(name, 80)));
  const [lowest, highest] = [minimum, maximum].map((value) => make("span", { class: "whole" }, describeValue(feature, value)));
  const optional = missing === "imputed" ? ", may be empty" : "";
  const hint = make("small", { id: `range-${at}` });
  const several = categories.length === 1 ? "1 category" : `${count(categories.length)} categories`;
  hint.append(...(categories.length ? [several] : [lowest, " to ", highest]), ` in training${optional}`);
  field.append(label, input, hint);
  return field;
}

// Keep what was typed, unless it is a category that the model no longer has.
function fillIn(input, text) {
  if (text === undefined || (input.options && ![...input.options].some(({ value }) => value === text))) return;
  input.value = text;
}

// Few classes keep their order, so that bars stay in place; many are sorted by probability.
function mostLikely(probabilities) {
  const all = [...probabilities.keys()];
  if (all.length <= BARS) return { shown: all, others: [] };
  all.sort((a, b) => probabilities[b] - probabilities[a]);
  return { shown: all.slice(0, BARS), others: all.slice(BARS) };
}

function bar(name, at, probability) {
  const track = draw("svg", { class: "track", width: "100%", "aria-hidden": "true" });
  track.append(draw("rect", { class: colourOf(at), width: `${100 * probability}%`, height: "100%" }));
  const text = probability.toFixed(4);
  const item = make("span", { role: "listitem", "aria-label": `${name}: ${text}` }, truncate(name));
  return [item, track, make("span", { class: "number", "aria-hidden": "true" }, text)];
}
