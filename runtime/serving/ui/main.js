// The served models, and the page of the selected one.

let shown = null; // the selected model, its form and throughput

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
  const chosen = location.hash.slice(1) || encodeURIComponent(shown?.model.name ?? "");
  const model = models.find(({ name }) => encodeURIComponent(name) === chosen) ?? models[0];
  const choice = byId("models");
  choice.replaceChildren(...models.map(({ name }) => make("option", { value: name }, truncate(name))));
  choice.value = model.name;
  choice.onchange = () => {
    location.hash = encodeURIComponent(choice.value);
    start();
  };
  byId("model-choice").hidden = models.length < 2;
  showModel(model);
}

// The model is no longer served: others can be chosen, and it stays until one is.
async function offerOthers() {
  const current = shown.model.name;
  const models = await request("cards").then((response) => response.json()).catch(() => []);
  const names = [current, ...models.map(({ name }) => name).filter((name) => name !== current)];
  const choice = byId("models");
  if (names.length === choice.length || shown.model.name !== current) return;
  choice.replaceChildren(...names.map((name) => make("option", { value: name }, truncate(name))));
  byId("model-choice").hidden = names.length < 2;
}

function showModel(model) {
  const before = shown?.model.name === model.name ? shown : null; // another version of it
  shown?.throughput.stop();
  document.title = model.name;
  byId("name").textContent = truncate(model.name, 60);
  byId("version").textContent = model.version;
  byId("purpose").textContent = describe(model);
  byId("provider").textContent = model.provider;
  byId("reason").textContent = model.reason;
  const isNew = before && before.model.version !== model.version;
  setText("notice", isNew ? explainChange(before.model, model) : "");
  showCard(model);
  const form = new Form(model, before?.form.texts(), () => shown.throughput.poll());
  const handlers = { onChange: start, onUnknown: offerOthers, onReconnect: () => form.predict() };
  shown = { model, form, throughput: new Throughput(model, handlers) };
  new Table(model);
}

function describe({ target, classes, features }) {
  const names = features.map(({ name }) => truncate(name));
  const inputs = names.slice(0, names.length > 8 ? 5 : 8).join(", ");
  const more = names.length > 8 ? ` and ${names.length - 5} more` : "";
  return `Predicts ${truncate(target)} (${truncate(classes.join(", "), 120)}) from ${inputs}${more}.`;
}

// What a person who has the page open has to know of a new version.
function explainChange(before, after) {
  const names = (model) => model.features.map(({ name }) => name);
  const missing = (from, model) => names(from).filter((name) => !names(model).includes(name)).map((name) => truncate(name));
  const list = (what, found) => (found.length ? `; ${what} ${found.slice(0, 5).join(", ")}${found.length > 5 ? ", …" : ""}` : "");
  const columns = list("new:", missing(after, before)) + list("no longer used:", missing(before, after));
  return `The server replaced version ${before.version} by ${after.version}${columns}.`;
}

function showCard(model) {
  byId("columns").tBodies[0].replaceChildren(...model.features.map((feature) => {
    const { name, minimum, maximum, missing, categories } = feature;
    const line = make("tr");
    const seen = categories.length
      ? [make("td", { class: "text long", colspan: 2 }, truncate(categories.filter(Boolean).join(", "), 120))]
      : [minimum, maximum].map((value) => make("td", {}, describeValue(feature, value)));
    line.append(make("th", { scope: "row" }, truncate(name, 80)), ...seen, make("td", { class: "text" }, missing));
    return line;
  }));
  byId("facts").replaceChildren(...Object.entries(model.facts).flatMap(([name, value]) => (
    [make("dt", {}, name), make("dd", {}, value)]
  )));
}

start();
