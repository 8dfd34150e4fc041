// Asking the server: every answer comes through here, and so does every refusal.

async function ask(target, options) {
  let answer;
  try {
    answer = await fetch(target, options);
  } catch {
    throw new Error("the server does not answer");
  }
  if (answer.ok) return answer;
  let told = `the server answers ${answer.status}`;
  try {
    told = (await answer.json()).error ?? told;
  } catch {
    // no JSON: a proxy's page, of which nothing is shown
  }
  throw new Error(told);
}

// A row goes as one tensor a column: texts for categories, numbers, null for one that is missing.
function inferRow(model, values, names) {
  const inputs = model.features.map(({ name, categories, origin }, at) => ({
    name, datatype: categories.length || origin ? "BYTES" : "FP64", shape: [1], data: [values[at]],
  }));
  return infer(model, inputs, names, []);
}

// Rows of numbers go as bytes; values: Float64Array of rows × columns, row by row.
function inferRows(model, values, names) {
  const width = model.features.length;
  const shape = [values.length / width, width];
  const parameters = { binary_data_size: values.byteLength };
  return infer(model, [{ name: "features", datatype: "FP64", shape, parameters }], names, [values]);
}

// Outputs come as bytes.
async function infer(model, inputs, names, tail) {
  const outputs = names.map((name) => ({ name, parameters: { binary_data: true } }));
  const head = new TextEncoder().encode(JSON.stringify({ inputs, outputs }));
  const answer = await ask(`/v2/models/${encodeURIComponent(model.name)}/infer`, {
    method: "POST",
    headers: { "inference-header-content-length": head.length },
    body: new Blob([head, ...tail]),
  });
  return readOutputs(await answer.arrayBuffer(), answer.headers);
}

function readOutputs(body, headers) {
  let at = Number(headers.get("inference-header-content-length"));
  const head = JSON.parse(new TextDecoder().decode(body.slice(0, at)));
  const found = {};
  for (const { name, datatype, parameters } of head.outputs) {
    const end = at + parameters.binary_data_size;
    const Kind = datatype === "INT64" ? BigInt64Array : Float32Array;
    found[name] = Array.from(new Kind(body.slice(at, end)), Number);
    at = end;
  }
  return found;
}
