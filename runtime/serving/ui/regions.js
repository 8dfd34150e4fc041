// Decision regions of a model with two columns: predictions over a grid of rows.

const KINDS = 8; // colours before they repeat
let colours = new Map(); // by class; other classes take that of their index
const colourOf = (at) => `k${(colours.get(at) ?? at) % KINDS}`;

const SIZE = 460, LEFT = 52, BOTTOM = 44, EDGE = 10; // user units: drawing and margins
const CELLS = 120; // per side

class Regions {
  constructor(model, onPoint) {
    this.model = model;
    [this.xRange, this.yRange] = model.features.map(padded);
    this.svg = byId("plane");
    this.svg.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
    this.ring = draw("circle", { r: 7, class: "ring" });
    this.svg.onpointerdown = (event) => {
      this.svg.setPointerCapture(event.pointerId);
      onPoint(this.valuesAt(event));
    };
    this.svg.onpointermove = (event) => event.buttons && onPoint(this.valuesAt(event));
  }

  x(value) {
    return LEFT + ((value - this.xRange.low) / this.xRange.size) * (SIZE - EDGE - LEFT);
  }

  y(value) {
    return SIZE - BOTTOM - ((value - this.yRange.low) / this.yRange.size) * (SIZE - BOTTOM - EDGE);
  }

  valuesAt(event) {
    const box = this.svg.getBoundingClientRect();
    const inside = (share) => Math.min(Math.max(share, 0), 1);
    const x = ((event.clientX - box.left) / box.width) * SIZE;
    const y = ((event.clientY - box.top) / box.height) * SIZE;
    return [
      this.xRange.low + inside((x - LEFT) / (SIZE - EDGE - LEFT)) * this.xRange.size,
      this.yRange.low + inside((SIZE - BOTTOM - y) / (SIZE - BOTTOM - EDGE)) * this.yRange.size,
    ];
  }

  // Centres of the cells, row-major from the top.
  grid() {
    const values = new Float64Array(CELLS * CELLS * 2);
    for (let cell = 0; cell < CELLS * CELLS; cell += 1) {
      values[2 * cell] = this.xRange.low + (((cell % CELLS) + 0.5) / CELLS) * this.xRange.size;
      const row = CELLS - Math.floor(cell / CELLS) - 0.5;
      values[2 * cell + 1] = this.yRange.low + (row / CELLS) * this.yRange.size;
    }
    return values;
  }

  async show() {
    const { label } = await inferRows(this.model, this.grid(), ["label"]);
    const areas = [...new Set(label)].sort((a, b) => a - b);
    // Of many classes, few are predicted here: these take the distinct colours.
    if (this.model.classes.length > KINDS) colours = new Map(areas.map((at, order) => [at, order]));
    this.svg.replaceChildren(...areas.map((at) => this.area(label, at)), ...this.frame(), this.ring);
    byId("legend").replaceChildren(...areas.map((at) => legendItem(this.model.classes[at], at)));
    byId("regions").hidden = false;
  }

  // One rectangle per run of equal cells in a row, slightly taller than the row to avoid seams.
  area(label, cls) {
    const wide = (SIZE - EDGE - LEFT) / CELLS, tall = (SIZE - BOTTOM - EDGE) / CELLS;
    let path = "";
    for (let start = 0; start < label.length; ) {
      let end = start + 1;
      while (end % CELLS && label[end] === label[start]) end += 1;
      if (label[start] === cls) {
        const x = LEFT + (start % CELLS) * wide, y = EDGE + Math.floor(start / CELLS) * tall;
        path += `M${x.toFixed(1)} ${y.toFixed(1)}h${((end - start) * wide).toFixed(1)}v${(tall + 0.7).toFixed(1)}H${x.toFixed(1)}z`;
      }
      start = end;
    }
    const element = draw("path", { class: `area ${colourOf(cls)}`, d: path, "shape-rendering": "crispEdges" });
    element.append(draw("title", {}, this.model.classes[cls]));
    return element;
  }

  frame() {
    const [first, second] = this.model.features;
    const left = this.x(first.minimum), top = this.y(second.maximum);
    const width = this.x(first.maximum) - left, height = this.y(second.minimum) - top;
    const middle = (LEFT + SIZE - EDGE) / 2, half = (SIZE - BOTTOM + EDGE) / 2;
    return [
      draw("rect", { class: "box", x: left, y: top, width, height }),
      draw("path", { class: "axis", d: `M${LEFT} ${EDGE}V${SIZE - BOTTOM}H${SIZE - EDGE}` }),
      ...ticks(this.xRange.low, this.xRange.high).map((value) =>
        draw("text", { x: this.x(value), y: SIZE - BOTTOM + 17, "text-anchor": "middle" }, short(value))),
      ...ticks(this.yRange.low, this.yRange.high).map((value) =>
        draw("text", { x: LEFT - 6, y: this.y(value) + 4, "text-anchor": "end" }, short(value))),
      draw("text", { x: middle, y: SIZE - 6, "text-anchor": "middle" }, axisName(first)),
      draw("text", { transform: `translate(13 ${half}) rotate(-90)`, "text-anchor": "middle" }, axisName(second)),
    ];
  }

  mark([first, second]) {
    const isOutside = (value, range) => value < range.low || value > range.high;
    this.ring.setAttribute("cx", this.x(first));
    this.ring.setAttribute("cy", this.y(second));
    const hidden = isOutside(first, this.xRange) || isOutside(second, this.yRange);
    this.ring.setAttribute("visibility", hidden ? "hidden" : "visible");
  }
}

function padded({ minimum, maximum }) {
  const margin = (maximum - minimum) * 0.05 || 1;
  return { low: minimum - margin, high: maximum + margin, size: maximum - minimum + 2 * margin };
}

function legendItem(name, at) {
  const line = make("li");
  const swatch = draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
  swatch.append(draw("rect", { width: 10, height: 10, rx: 2, class: colourOf(at) }));
  line.append(swatch, truncate(name));
  return line;
}

const axisName = ({ name, origin }) => truncate(name) + (origin ? `, days since ${origin}` : "");

// Round tick values of an axis.
function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4));
  const size = step * ([1, 2, 5, 10].find((factor) => (high - low) / (step * factor) <= 6) ?? 10);
  const values = [];
  for (let at = Math.ceil(low / size); at * size <= high; at += 1) values.push(at * size);
  return values;
}
