// The OpenAPI document as a page: a section for each tag.

async function start() {
  let api;
  try {
    api = await (await request("openapi.json")).json();
  } catch (error) {
    setText("description", "");
    setText("error", error.message);
    return;
  }
  byId("version").textContent = api.info.version;
  const parts = api.info.description.split("`"); // every other one is code
  byId("description").replaceChildren(...parts.map((part, at) => (at % 2 ? make("code", {}, part) : part)));
  byId("security").hidden = !api.components.securitySchemes;
  byId("operations").replaceChildren(...api.tags.map(({ name }) => drawSection(name, api)));
  openLinked();
}

function drawSection(tag, api) {
  const section = make("section", { "aria-label": tag });
  section.append(make("h2", {}, tag));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of ["get", "post"]) {
      if (item[method]?.tags[0] === tag) section.append(new Operation(method, path, item, api).element);
    }
  }
  return section;
}

// The operation that the address names after #.
function openLinked() {
  const linked = document.getElementById(location.hash.slice(1));
  if (linked?.matches("details")) {
    linked.open = true;
    linked.scrollIntoView();
  }
}

addEventListener("hashchange", openLinked);
start();
