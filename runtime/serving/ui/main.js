// The served models, and the page of the selected one.

let throughput = null;

async function start() {
  try {
    const models = await (await request("cards")).json();
    if (!models.length) throw new Error("no model is loaded");
    showChoice(models);
  } catch (error) {
    showState(false, `✗ ${error.message}`);
    setTimeout(start, POLL_MS);
  }
}

function showChoice(models) {
  const chosen = location.hash.slice(1);
  const model = models.find(({ name }) => encodeURIComponent(name) === chosen) ?? models[0];
  const choice = byId("models");
  choice.replaceChildren(...models.map(({ name }) => make("option", { value: name }, truncate(name))));
  choice.value = model.name;
  choice.onchange = () => {
    location.hash = encodeURIComponent(choice.value);
    showModel(models.find(({ name }) => name === choice.value));
  };
  byId("model-choice").hidden = models.length < 2;
  showModel(model);
}

function showModel(model) {
  throughput?.stop();
  document.title = model.name;
  byId("name").textContent = truncate(model.name, 60);
  byId("version").textContent = model.version;
  const inputs = model.features.map(({ name }) => truncate(name)).slice(0, 12).join(", ");
  const more = model.features.length > 12 ? ` and ${model.features.length - 12} more` : "";
  byId("purpose").textContent = `Predicts ${truncate(model.target)} (${truncate(model.classes.join(", "), 120)}) from ${inputs}${more}.`;
  byId("provider").textContent = model.provider;
  byId("reason").textContent = model.reason;
  showCard(model);
  const form = new Form(model);
  throughput = new Throughput(model, start, () => form.predict());
  new Table(model);
}

function showCard(model) {
  byId("columns").replaceChildren(...model.features.map((feature) => {
    const { name, minimum, maximum, missing, categories } = feature;
    const line = make("tr");
    const seen = categories.length
      ? [make("td", { class: "text", colspan: 2 }, truncate(categories.filter(Boolean).join(", "), 120))]
      : [minimum, maximum].map((value) => make("td", {}, formatValue(feature, value)));
    line.append(make("th", { scope: "row" }, truncate(name, 80)), ...seen, make("td", { class: "text" }, missing));
    return line;
  }));
  byId("facts").replaceChildren(...Object.entries(model.facts).map(([name, value]) => {
    const line = make("tr");
    line.append(make("th", { scope: "row" }, name), make("td", { class: "wrap" }, value));
    return line;
  }));
}

start();
