// What is served, and the parts of the page for the model that is looked at.

let rate = null;

async function start() {
  try {
    const models = await (await ask("/cards")).json();
    if (!models.length) throw new Error("no model is loaded");
    offer(models);
  } catch (error) {
    showState(false, `✗ ${error.message}`);
    setTimeout(start, LOOK_MS);
  }
}

function offer(models) {
  const chosen = location.hash.slice(1);
  const model = models.find(({ name }) => encodeURIComponent(name) === chosen) ?? models[0];
  const choice = byId("models");
  choice.replaceChildren(...models.map(({ name }) => make("option", { value: name }, cut(name))));
  choice.value = model.name;
  choice.onchange = () => {
    location.hash = encodeURIComponent(choice.value);
    look(models.find(({ name }) => name === choice.value));
  };
  byId("choice").hidden = models.length < 2;
  look(model);
}

function look(model) {
  rate?.stop();
  document.title = model.name;
  byId("name").textContent = cut(model.name, 60);
  byId("version").textContent = model.version;
  const from = model.features.map(({ name }) => cut(name)).slice(0, 12).join(", ");
  const more = model.features.length > 12 ? ` and ${model.features.length - 12} more` : "";
  byId("purpose").textContent = `Answers ${cut(model.target)} (${cut(model.classes.join(", "), 120)}) from ${from}${more}.`;
  byId("provider").textContent = model.provider;
  byId("reason").textContent = model.reason;
  showCard(model);
  const form = new Form(model);
  rate = new Rate(model, start, () => form.ask());
  new Table(model);
}

function showCard(model) {
  byId("columns").replaceChildren(...model.features.map((feature) => {
    const { name, minimum, maximum, missing, categories } = feature;
    const line = make("tr");
    const seen = categories.length
      ? [make("td", { class: "text", colspan: 2 }, cut(categories.filter(Boolean).join(", "), 120))]
      : [minimum, maximum].map((value) => make("td", {}, showValue(feature, value)));
    line.append(make("th", { scope: "row" }, cut(name, 80)), ...seen, make("td", { class: "text" }, missing));
    return line;
  }));
  byId("facts").replaceChildren(...Object.entries(model.facts).map(([name, value]) => {
    const line = make("tr");
    line.append(make("th", { scope: "row" }, name), make("td", { class: "wrap" }, value));
    return line;
  }));
}

start();
