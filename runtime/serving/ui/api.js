// Requests to the server, and their errors. URLs are relative: a proxy may serve it under a prefix.

async function request(target, options) {
  let response;
  try {
    // Errors then advise in plain words, not in parameters of the query.
    response = await fetch(target, { ...options, headers: { ...options?.headers, "x-onnxferry-page": "1" } });
  } catch {
    throw new Error("the server does not respond");
  }
  if (response.ok) return response;
  let message = `the server responded ${response.status}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // no JSON, such as a proxy's page: not shown
  }
  throw Object.assign(new Error(message), { status: response.status });
}

// A row is sent as one tensor a column: strings, numbers, or null for a missing value.
function inferRow(model, values, names) {
  const inputs = model.features.map(({ name, categories, origin }, at) => ({
    name, datatype: categories.length || origin ? "BYTES" : "FP64", shape: [1], data: [values[at]],
  }));
  return infer(model, inputs, names, []);
}

// Rows of numbers are sent as binary data; values: Float64Array of rows × columns, row-major.
function inferRows(model, values, names) {
  const width = model.features.length;
  const shape = [values.length / width, width];
  const parameters = { binary_data_size: values.byteLength };
  return infer(model, [{ name: "features", datatype: "FP64", shape, parameters }], names, [values]);
}

// Outputs are received as binary data.
async function infer(model, inputs, names, tail) {
  const outputs = names.map((name) => ({ name, parameters: { binary_data: true } }));
  const head = new TextEncoder().encode(JSON.stringify({ inputs, outputs }));
  const response = await request(`v2/models/${encodeURIComponent(model.name)}/infer`, {
    method: "POST",
    headers: { "inference-header-content-length": head.length },
    body: new Blob([head, ...tail]),
  });
  return decodeOutputs(await response.arrayBuffer(), response.headers);
}

function decodeOutputs(body, headers) {
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

// Keep the digits of a number, in browsers that pass them.
function asWritten(_, value, context) {
  return typeof value === "number" && JSON.rawJSON && context?.source ? JSON.rawJSON(context.source) : value;
}
