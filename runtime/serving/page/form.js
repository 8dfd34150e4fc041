// The form: one field a column; each change is asked of the server, the last one counts.

const BARS = 12; // classes that are shown

class Form {
  constructor(model) {
    this.model = model;
    this.asked = 0;
    const isPlane = model.features.length === 2 && model.features.every(({ categories }) => !categories.length);
    this.plane = isPlane ? new Plane(model, (values) => this.set(values)) : null;
    this.inputs = model.features.map(makeField);
    byId("fields").replaceChildren(...this.inputs.map((input) => input.parentElement));
    byId("form").oninput = () => this.ask();
    byId("form").onsubmit = (event) => event.preventDefault();
    byId("regions").hidden = true;
    colours = new Map();
    byId("classes").replaceChildren();
    const drawn = this.plane?.show().catch((error) => tell("trouble", error.message));
    if (model.classes.length > KINDS) drawn?.then(() => this.ask()); // in the colours of the regions
    this.ask();
  }

  set(values) {
    const features = this.model.features;
    values.forEach((value, at) => (this.inputs[at].value = showValue(features[at], value)));
    this.ask();
  }

  async ask() {
    const features = this.model.features;
    const values = this.inputs.map((input, at) => readValue(features[at], input.value));
    const wrong = features.filter((_, at) => Number.isNaN(values[at]));
    this.inputs.forEach((input, at) => input.setAttribute("aria-invalid", wrong.includes(features[at])));
    this.asked += 1;
    if (wrong.length) {
      const needs = ({ name, origin }) => `${name}: a ${origin ? "date, as 2024-12-31," : "number"} is needed`;
      this.tellNothing(wrong.map(needs).join("; "));
      return;
    }
    this.plane?.mark(values);
    tell("outside", this.outside(values));
    const turn = this.asked;
    const sent = this.inputs.map((input, at) => (features[at].origin ? input.value : values[at]));
    try {
      const outputs = await inferRow(this.model, sent, ["label", "probabilities"]);
      if (turn === this.asked) this.show(outputs);
    } catch (error) {
      if (turn === this.asked) this.tellNothing(error.message);
    }
  }

  outside(values) {
    const names = this.model.features
      .filter(({ minimum, maximum }, at) => typeof values[at] === "number" && (values[at] < minimum || values[at] > maximum))
      .map(({ name }) => name);
    return names.length ? `${names.join(", ")}: outside the range of training; the model extrapolates` : "";
  }

  show({ label, probabilities }) {
    tell("trouble", "");
    byId("label").textContent = `${cut(this.model.target)}: ${this.model.classes[label[0]]}`;
    byId("sure").textContent = `probability ${probabilities[label[0]].toFixed(4)}`;
    const { shown, others } = mostLikely(probabilities);
    tell("others", others.length ? `and ${count(others.length)} that are less likely` : "");
    byId("classes").replaceChildren(...shown.flatMap((at) => bar(this.model.classes[at], at, probabilities[at])));
  }

  tellNothing(message) {
    byId("label").textContent = "–";
    byId("sure").textContent = "";
    byId("classes").replaceChildren();
    tell("others", "");
    tell("outside", "");
    tell("trouble", message);
  }
}

function makeField(feature) {
  const { name, minimum, maximum, missing, origin, categories } = feature;
  const label = make("label", {}, cut(name));
  if (categories.length) {
    const choice = make("select", { name });
    choice.append(...categories.map((text) => make("option", { value: text }, cut(text) || "(missing)")));
    label.append(choice, make("small", {}, `${categories.length} in training`));
    return choice;
  }
  const input = make("input", { name, inputmode: origin ? "text" : "decimal", autocomplete: "off" });
  const middle = (minimum + maximum) / 2;
  input.value = showValue(feature, origin ? Math.round(middle) : middle);
  const [lowest, highest] = [minimum, maximum].map((value) => showValue(feature, value));
  const may = missing === "imputed" ? ", may be empty" : "";
  label.append(input, make("small", {}, `${lowest} to ${highest} in training${may}`));
  return input;
}

// Few classes keep their order, so that bars stay where they are; of many, the most likely come first.
function mostLikely(probabilities) {
  const all = [...probabilities.keys()];
  if (all.length <= BARS) return { shown: all, others: [] };
  all.sort((a, b) => probabilities[b] - probabilities[a]);
  return { shown: all.slice(0, BARS), others: all.slice(BARS) };
}

function bar(name, at, share) {
  const track = draw("svg", { class: "track", width: "100%", "aria-hidden": "true" });
  track.append(draw("rect", { class: colourOf(at), width: `${100 * share}%`, height: "100%" }));
  const told = share.toFixed(4);
  const item = make("span", { role: "listitem", "aria-label": `${name}: ${told}` }, cut(name));
  return [item, track, make("span", { class: "number", "aria-hidden": "true" }, told)];
}
