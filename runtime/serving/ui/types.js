// JSON Schemas as text, in the notation of JSON with types for values.

function writeType(schema, components, indent = "", parents = []) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return parents.includes(name) ? name : writeType(components[name], components, indent, [...parents, name]);
  }
  const inner = (one) => writeType(one, components, indent, parents);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return [...new Set(options.map(inner))].join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return schema.maxItems === 0 ? "[]" : `[${schema.items ? inner(schema.items) : "any"}, …]`;
  if (schema.type === "object") return writeObject(schema, components, indent, parents);
  const bounds = [["≥", schema.minimum], ["≤", schema.maximum]].filter(([, bound]) => bound !== undefined);
  return [[schema.type ?? "any"].flat().join(" | "), ...bounds.flat()].join(" ");
}

function writeObject({ properties = {}, required = [], additionalProperties }, components, indent, parents) {
  const deeper = `${indent}  `;
  const write = (one) => writeType(one, components, deeper, parents);
  const lines = Object.entries(properties).map(([name, one]) => {
    const optional = required.includes(name) ? "" : "?";
    const note = one.description ? `  // ${one.description}` : "";
    return `${deeper}${JSON.stringify(name)}${optional}: ${write(one)}${note}`;
  });
  const other = typeof additionalProperties === "object" ? additionalProperties : {};
  if (!lines.length) return additionalProperties === false ? "{}" : `{any name: ${write(other)}}`;
  return `{\n${lines.join("\n")}\n${indent}}`;
}
