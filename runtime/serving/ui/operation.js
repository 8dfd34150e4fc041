// One operation: its parameters and body as a form that sends a request, and its responses.

const MAX_TEXT = 100_000; // characters of a response that are shown
const IS_TEXT = /^(?:text\/|application\/(?:json|x-ndjson))/;

class Operation {
  constructor(method, path, item, api) {
    const operation = item[method];
    Object.assign(this, { method, path, operation, api });
    this.parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
    this.element = make("details", { class: "operation", id: operation.operationId });
    const line = make("summary");
    line.append(make("span", { class: `method ${method}` }, method.toUpperCase()));
    line.append(make("span", { class: "path mono" }, path), make("span", { class: "about" }, operation.summary));
    this.element.append(line);
    this.element.addEventListener("toggle", () => this.draw(), { once: true });
  }

  draw() {
    const inside = make("div", { class: "inside" });
    this.form = make("form", { novalidate: "" });
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.send();
    };
    this.form.oninput = () => this.showCommand();
    this.form.append(this.drawParameters(), this.drawBody());
    this.form.append(make("button", { class: "button" }, "Send the request"));
    this.command = make("pre", { class: "wrap", tabindex: "0", role: "region", "aria-label": "The request as a command" });
    this.result = make("div", { hidden: "" });
    this.status = make("p", { role: "status" }); // is announced, the body is not
    this.answer = make("div");
    this.result.append(make("h3", {}, "Response"), this.status, this.answer);
    inside.append(this.form, make("h3", {}, "As a command"), this.command, this.result);
    inside.append(make("h3", {}, "Responses"), this.drawResponses());
    this.element.append(inside);
    this.showExamples();
  }

  drawParameters() {
    const fields = make("div", { class: "fields" });
    this.inputs = this.parameters.map((parameter, at) => {
      const input = makeParameter(parameter);
      const field = make("div", { class: "field" });
      input.id = `${this.operation.operationId}-${at}`;
      input.setAttribute("aria-describedby", `${input.id}-hint`);
      const label = make("label", { for: input.id });
      label.append(...breakable(parameter.name), parameter.required ? "" : make("span", { class: "soft" }, " optional"));
      const hint = [`in the ${parameter.in}`, parameter.description].filter(Boolean).join(": ");
      field.append(label, input, make("small", { id: `${input.id}-hint` }, hint));
      if (parameter.name === "model") input.onchange = () => this.showExamples();
      fields.append(field);
      return input;
    });
    if (!this.inputs.length) fields.hidden = true;
    return fields;
  }

  drawBody() {
    const body = make("div", { class: "body" });
    this.types = null;
    if (!this.operation.requestBody) return body;
    const { content } = this.operation.requestBody, id = `${this.operation.operationId}-body`;
    this.types = make("select", { "aria-label": "media type of the body" });
    this.types.append(...Object.keys(content).map((type) => make("option", {}, type)));
    this.types.onchange = () => this.showBody();
    this.text = make("textarea", { id, spellcheck: "false", autocomplete: "off" });
    this.file = make("input", { type: "file", "aria-label": "file with the body" });
    this.schema = make("details");
    body.append(make("label", { for: id }, "Body"), this.types, this.text, this.file, this.schema);
    return body;
  }

  // Those of the chosen model.
  showExamples() {
    this.parameters.forEach(({ examples }, at) => {
      if (examples) this.inputs[at].value = this.exampleOf(examples) ?? "";
    });
    this.showBody();
  }

  exampleOf(examples = {}) {
    return (examples[this.valueOf("model")] ?? Object.values(examples)[0])?.value;
  }

  // The example in the chosen media type; what is not text is a file.
  showBody() {
    if (!this.types) return this.showCommand();
    const { schema, examples } = this.operation.requestBody.content[this.types.value];
    const isText = IS_TEXT.test(this.types.value);
    const value = this.exampleOf(examples);
    this.text.value = typeof value === "string" ? value : value === undefined ? "" : indent(value);
    this.text.hidden = !isText;
    this.file.hidden = isText;
    this.schema.hidden = !schema;
    if (schema) this.schema.replaceChildren(make("summary", {}, "Schema of the body"), drawType(schema, this.api));
    this.showCommand();
  }

  valueOf(name) {
    return this.inputs[this.parameters.findIndex((parameter) => parameter.name === name)]?.value ?? "";
  }

  drawResponses() {
    const list = make("dl", { class: "responses" });
    for (const [status, { description, content = {} }] of Object.entries(this.operation.responses)) {
      const details = make("dd", {}, description);
      for (const [type, { schema }] of Object.entries(content)) {
        const shown = make("details");
        shown.append(make("summary", { class: "mono" }, type), schema ? drawType(schema, this.api) : "not JSON");
        details.append(shown);
      }
      list.append(make("dt", {}, status === "default" ? "any other" : status), details);
    }
    return list;
  }

  // URL relative to this page, header fields and body.
  request() {
    let target = this.path.slice(1);
    const query = new URLSearchParams(), headers = {};
    this.parameters.forEach(({ name, in: place }, at) => {
      const { value } = this.inputs[at];
      if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(value));
      else if (value && place === "query") query.set(name, value);
      else if (value) headers[name] = value;
    });
    if (this.types) headers["Content-Type"] = this.types.value;
    const body = this.types && (this.text.hidden ? this.file.files[0] : this.text.value);
    return { url: `./${target}${query.size ? `?${query}` : ""}`, options: { method: this.method.toUpperCase(), headers, body } };
  }

  showCommand() {
    const { url, options } = this.request();
    const words = ["curl", quote(new URL(url, location.href).href)];
    if (options.method !== "GET") words.splice(1, 0, "-X", options.method);
    if (this.operation.security) words.push("-H", '"X-API-Key: $KEY"');
    for (const [name, value] of Object.entries(options.headers)) words.push("-H", quote(`${name}: ${value}`));
    if (this.types) words.push("--data-binary", this.text.hidden ? `@${quote(options.body?.name ?? "FILE")}` : quote(options.body));
    this.command.textContent = words.join(" ");
  }

  async send() {
    const { url, options } = this.request();
    const missing = this.parameters.find(({ required }, at) => required && !this.inputs[at].value);
    if (missing) return this.showResult("bad", `${missing.name} is required`);
    this.showResult("soft", "sent …");
    const started = performance.now();
    try {
      const response = await fetch(url, options);
      const content = await response.blob();
      const milliseconds = Math.round(performance.now() - started);
      const size = `${plural(content.size, "byte")} of ${content.type || "no media type"}`;
      const status = `${response.status} ${response.statusText}, ${size} in ${milliseconds} ms`;
      this.showResult(response.ok ? "good" : "bad", status, content);
    } catch {
      this.showResult("bad", "the server does not respond");
    }
  }

  async showResult(tone, status, content = null) {
    this.result.hidden = false;
    this.status.className = `status ${tone}`;
    this.status.textContent = status;
    this.answer.replaceChildren();
    if (!content?.size) return;
    if (!IS_TEXT.test(content.type)) {
      const link = make("a", { href: URL.createObjectURL(content), download: "response" }, "Download the body");
      this.answer.append(link);
      return;
    }
    const text = pretty(await content.text(), content.type);
    const cut = text.length > MAX_TEXT ? `\n… ${count(text.length - MAX_TEXT)} more characters` : "";
    this.answer.append(make("pre", { tabindex: "0", role: "region", "aria-label": "body of the response" }, text.slice(0, MAX_TEXT) + cut));
  }
}

function makeParameter({ schema = {}, required }) {
  if (!schema.enum) return make("input", { autocomplete: "off", spellcheck: "false", inputmode: schema.type === "integer" ? "numeric" : "text" });
  const choice = make("select");
  if (!required) choice.append(make("option", { value: "" }, schema.default === undefined ? "–" : `${schema.default} (default)`));
  choice.append(...schema.enum.filter(Boolean).map((value) => make("option", { value }, truncate(value))));
  return choice;
}

function drawType(schema, api) {
  return make("pre", { tabindex: "0", role: "region", "aria-label": "schema" }, writeType(schema, api.components.schemas));
}

function pretty(text, type) {
  if (!type.startsWith("application/json")) return text;
  try {
    return indent(JSON.parse(text, asWritten));
  } catch {
    return text;
  }
}

// An array of scalars takes one line.
function indent(value) {
  const inline = (array) => array.replace(/\n\s*/g, " ").replace("[ ", "[").replace(/ \]$/, "]");
  return JSON.stringify(value, null, 2).replace(/\[\n[^[\]{}]*\]/g, inline);
}

// For a POSIX shell.
const quote = (text) => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
