// The form: one field a column; each change is asked of the server, the last one counts.

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
    byId("classes").replaceChildren();
    this.plane?.show().catch((error) => tell("trouble", error.message));
    this.ask();
  }

  set(values) {
    values.forEach((value, at) => (this.inputs[at].value = short(value)));
    this.ask();
  }

  async ask() {
    const values = this.inputs.map((input, at) => valueOf(input, this.model.features[at]));
    const wrong = this.inputs.filter((_, at) => Number.isNaN(values[at]));
    this.inputs.forEach((input) => input.setAttribute("aria-invalid", wrong.includes(input)));
    this.asked += 1;
    if (wrong.length) {
      this.tellNothing(`${wrong.map((input) => input.name).join(", ")}: a number is needed`);
      return;
    }
    this.plane?.mark(values);
    tell("outside", this.outside(values));
    const turn = this.asked;
    try {
      const outputs = await inferRow(this.model, values, ["label", "probabilities"]);
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
    const most = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    const shown = most.slice(0, 12).sort((a, b) => a - b);
    byId("classes").replaceChildren(...shown.flatMap((at) => bar(this.model.classes[at], at, probabilities[at])));
  }

  tellNothing(message) {
    byId("label").textContent = "–";
    byId("sure").textContent = "";
    byId("classes").replaceChildren();
    tell("outside", "");
    tell("trouble", message);
  }
}

// A number, a text of a category, null for a number that may be missing, or NaN for what is none.
function valueOf(input, { categories, missing }) {
  if (categories.length) return input.value;
  if (!input.value.trim()) return missing === "imputed" ? null : NaN;
  const value = Number(input.value);
  return Number.isFinite(value) ? value : NaN;
}

function makeField({ name, minimum, maximum, missing, categories }) {
  const label = make("label", {}, cut(name));
  if (categories.length) {
    const choice = make("select", { name });
    choice.append(...categories.map((text) => make("option", { value: text }, cut(text) || "(missing)")));
    label.append(choice, make("small", {}, `${categories.length} in training`));
    return choice;
  }
  const input = make("input", { name, inputmode: "decimal", autocomplete: "off" });
  input.value = short((minimum + maximum) / 2);
  const may = missing === "imputed" ? ", may be empty" : "";
  label.append(input, make("small", {}, `${short(minimum)} to ${short(maximum)} in training${may}`));
  return input;
}

function bar(name, at, share) {
  const track = draw("svg", { class: "track", width: "100%", "aria-hidden": "true" });
  track.append(draw("rect", { class: `k${at % KINDS}`, width: `${100 * share}%`, height: "100%" }));
  return [make("span", { role: "listitem" }, cut(name)), track, make("span", { class: "number" }, share.toFixed(4))];
}
