// The inspector of lib/view/inspector.py: pictures, numbers and charts of one test image after one or two runs.
// A probability is a byte, 255 P; at threshold t a pixel is positive where its byte is above k = floor(255 t).

const VIEWS = { image: "i", label: "l", probability: "p", mask: "m", errors: "e", contours: "c" };
const ORDERS = { name: "name", first: "IoU, first run", second: "IoU, second run", difference: "difference" };
const PAIRED = ["second", "difference"];  // the orders that need two runs
const OUTLINE = "#e8006f";
const level = (threshold) => Math.min(255, Math.floor(255 * threshold + 1e-9));
const number = (value) => value.toLocaleString("en-US");

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// ---- one image, one run ------------------------------------------------------------------------------------

function counts(label, probability, k) {
  let tp = 0, fp = 0, fn = 0;
  for (let i = 0; i < label.length; i++) {
    const positive = probability[i] > k;
    if (label[i]) positive ? tp++ : fn++;
    else if (positive) fp++;
  }
  const union = tp + fp + fn;
  return { tp, fp, fn, tn: label.length - union, iou: union ? tp / union : 1, accuracy: 1 - (fp + fn) / label.length };
}

function outline(size, inside) {
  const path = new Path2D();
  const trace = (differs, at) => {  // adjacent edges between pixels that differ become one line
    for (let line = 1; line < size; line++) {
      for (let from = 0; from < size; from++) {
        if (!differs(line, from)) continue;
        const start = from;
        while (from < size && differs(line, from)) from++;
        at(line, start, from);
      }
    }
  };
  trace((y, x) => inside(y * size + x) !== inside((y - 1) * size + x),
    (y, from, to) => { path.moveTo(from, y); path.lineTo(to, y); });
  trace((x, y) => inside(y * size + x) !== inside(y * size + x - 1),
    (x, from, to) => { path.moveTo(x, from); path.lineTo(x, to); });
  return path;
}

// For each shade of grey, that shade under a colour, as one 32-bit pixel.
function shades(colour, opacity) {
  const channel = (index, grey) => Math.round(colour ? opacity * colour[index] + (1 - opacity) * grey : grey);
  return Uint32Array.from({ length: 256 }, (_, grey) =>
    (255 << 24 | channel(2, grey) << 16 | channel(1, grey) << 8 | channel(0, grey)) >>> 0);
}

function pixels(view, picture, run, k, opacity, colours) {
  const { image, label, grey, size } = picture, plain = shades();
  const data = new ImageData(size, size), out = new Uint32Array(data.data.buffer);
  if (view === "image") {
    for (let i = 0; i < out.length; i++) out[i] = 255 << 24 | image[3 * i + 2] << 16 | image[3 * i + 1] << 8 | image[3 * i];
  } else if (view === "label") {
    for (let i = 0; i < out.length; i++) out[i] = plain[255 * label[i]];
  } else if (view === "probability") {
    for (let i = 0; i < out.length; i++) out[i] = plain[run.probability[i]];
  } else {
    const mask = shades(run.colour, opacity);
    const [tp, fp, fn] = colours.map((colour) => shades(colour, opacity));  // by label and prediction
    const table = view === "mask" ? [plain, mask, plain, mask] : [plain, fp, fn, tp];
    for (let i = 0; i < out.length; i++) out[i] = table[2 * label[i] + (run.probability[i] > k)][grey[i]];
  }
  return data;
}

// ---- the state: data from the kernel, and the current choice -----------------------------------------------

const decoded = (run) => ({ ...run, rgb: rgb(run.colour), iou: floats(run.iou), accuracy: floats(run.accuracy) });

// An image is identified by its row in the content. The traits of the kernel's model have the current choice.
class State {
  runs = [];  // one or two; `iou` is by image and level, `accuracy` the mean by level
  order = [];  // rows as they are sorted

  constructor(model) { this.model = model; }

  get(trait) { return this.model.get(trait); }

  set(trait, value) {
    this.model.set(trait, value);
    this.model.save_changes();
  }

  get ids() { return this.get("content").ids || []; }
  get row() { return Math.max(0, this.ids.indexOf(this.get("image"))); }
  get level() { return level(this.get("threshold")); }
  get paired() { return this.runs.length > 1; }

  shows(view) { return this.get("views").includes(view); }

  readContent() {
    const runs = this.runs = (this.get("content").runs || []).map(decoded);
    if (this.paired && runs[0].name === runs[1].name) runs.forEach((run) => { run.name = run.id; });
    if (!this.paired && PAIRED.includes(this.get("order"))) this.set("order", "name");
  }

  score(run, row, k = this.level) {
    return run.iou[256 * row + k];
  }

  mean(run, k) {
    const n = run.iou.length / 256;
    let sum = 0;
    for (let row = 0; row < n; row++) sum += run.iou[256 * row + k];
    return sum / n;
  }

  difference(row, k = this.level) {
    return this.paired ? this.score(this.runs[0], row, k) - this.score(this.runs[1], row, k) : 0;
  }

  sorted(value) {  // rows, smallest value first
    return this.ids.map((_, row) => row).sort((a, b) => value(a) - value(b) || a - b);
  }

  sort() {
    const { runs, level: k } = this;
    this.order = this.sorted({ name: (row) => row, first: (row) => this.score(runs[0], row, k),
      second: (row) => this.score(runs[runs.length - 1], row, k),
      difference: (row) => this.difference(row, k) }[this.get("order")]);
  }

  select(row) { this.set("image", this.ids[row]); }

  step(by) {
    const { order } = this, place = order.indexOf(this.row);
    this.select(order[Math.min(order.length - 1, Math.max(0, place + by))]);
  }

  jump(what) {
    const k = this.level, rows = this.sorted((row) => this.score(this.runs[0], row, k));
    this.select(rows[{ worst: 0, median: Math.floor((rows.length - 1) / 2), best: rows.length - 1 }[what]]);
  }

  jumpToDisagreement() {
    const k = this.level, size = (row) => Math.abs(this.difference(row, k));
    this.select(this.ids.map((_, row) => row).reduce((a, b) => size(b) > size(a) ? b : a));
  }

  toggle(view) {
    this.set("views", Object.keys(VIEWS).filter((name) => this.shows(name) !== (name === view)));
  }
}

// ---- the pixels of the images, which the kernel sends when asked -------------------------------------------

class Pictures {
  received = new Map();  // row -> picture of the runs that are shown; null until it arrives

  constructor(state) { this.state = state; }

  get shown() { return this.received.get(this.state.row); }

  forget() { this.received.clear(); }

  ask() {  // first this image, then its neighbours in the order
    const { row, order, model } = this.state, place = order.indexOf(row);
    for (const wanted of [row, order[place + 1], order[place - 1]]) {
      if (wanted === undefined || this.received.has(wanted)) continue;
      this.received.set(wanted, null);
      model.send({ row: wanted });
    }
  }

  take(content, buffers) {  // an answer of the kernel; returns whether it is the image shown
    const { runs } = this.state;
    if (String(content.runs) !== String(runs.map((run) => run.id))) return false;  // of runs that were shown before
    const [image, label, ...probabilities] = buffers.map(bytes);
    const size = this.state.get("content").size;
    const grey = label.map((_, i) => (image[3 * i] + image[3 * i + 1] + image[3 * i + 2]) / 3);
    this.received.set(content.row, { size, image, label, grey, outline: outline(size, (i) => label[i]),
      runs: probabilities.map((probability, i) => ({ probability, colour: runs[i].rgb })) });
    return content.row === this.state.row;
  }
}

// ---- zoom: the section that is visible, the same in all pictures -------------------------------------------

class Zoom {
  scale = 1;
  x = 0;  // left and upper edge, in sides of a picture
  y = 0;

  constructor(changed) { this.changed = changed; }

  magnify(factor, x = 0.5, y = 0.5) {  // about a point of the visible section; 0 shows everything
    const scale = factor ? Math.min(16, Math.max(1, this.scale * factor)) : 1;
    const shift = 1 / this.scale - 1 / scale;
    this.move(this.x + x * shift, this.y + y * shift, scale);
  }

  move(x, y, scale = this.scale) {
    const most = 1 - 1 / scale;
    this.scale = scale;
    this.x = Math.min(most, Math.max(0, x));
    this.y = Math.min(most, Math.max(0, y));
    this.changed();
  }
}

// ---- controls ----------------------------------------------------------------------------------------------

function button(text, label, action) {
  const made = element("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", action);
  return made;
}

function choice(name, label, change) {
  const select = element("select", { "aria-label": label });
  select.addEventListener("change", () => change(select.value));
  return { select, label: element("label", {}, name, select) };
}

function slider(name, change) {
  const input = element("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": name });
  const shown = element("output", { "aria-hidden": "true" });
  input.addEventListener("input", () => change(Number(input.value)));
  return { input, shown, label: element("label", {}, name, input, shown) };
}

function checkbox(name, title, change) {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", change);
  return { box, label: element("label", { title }, box, name) };
}

function offer({ select }, values, chosen, text = (value) => value) {
  select.replaceChildren(...values.map((value, place) => element("option", { value }, text(value, place))));
  select.value = chosen;
}

// The controls that show a trait of the model and set it.
class Controls {
  constructor(state) {
    this.state = state;
    const choose = (name, label, trait) => choice(name, label, (value) => state.set(trait, value));
    const slide = (name, trait) => slider(name, (value) => state.set(trait, value));
    this.study = choose("Study", "study", "study");
    this.first = choose("First run", "first run", "first");
    this.second = choose("Second run", "second run", "second");
    this.image = choose("Image", "image", "image");
    this.order = choose("Sorted by", "order of the images", "order");
    this.threshold = slide("Threshold", "threshold");
    this.opacity = slide("Opacity", "opacity");
    this.views = Object.fromEntries(Object.entries(VIEWS).map(([view, key]) =>
      [view, checkbox(view, `key ${key}`, () => state.toggle(view))]));
  }

  offerRuns() {
    const { state } = this;
    offer(this.study, state.get("studies"), state.get("study"));
    offer(this.first, state.get("runs"), state.get("first"));
    offer(this.second, ["", ...state.get("partners")], state.get("second"), (value) => value || "none");
  }

  offerOrders() {
    const names = Object.keys(ORDERS).filter((name) => this.state.paired || !PAIRED.includes(name));
    offer(this.order, names, this.state.get("order"), (name) => ORDERS[name]);
  }

  offerImages() {
    const { state } = this, { ids, order, level: k } = state;
    const scores = (row) => state.runs.map((run) => state.score(run, row, k).toFixed(3)).join(" / ");
    offer(this.image, order.map((row) => ids[row]), state.get("image"),
      (id, place) => `${id}  ${scores(order[place])}`);
  }

  showOrder() {
    this.order.select.value = this.state.get("order");
  }

  showViews() {
    for (const [view, { box }] of Object.entries(this.views)) box.checked = this.state.shows(view);
  }

  showValues() {
    this.image.select.value = this.state.get("image");
    for (const trait of ["threshold", "opacity"]) {
      const value = this.state.get(trait);
      this[trait].input.value = value;
      this[trait].shown.textContent = value.toFixed(2);
    }
  }
}

// ---- panels: one picture for each view and run -------------------------------------------------------------

// Columns of { view, index of the run }: image and label, probability, mask, errors, a line for each run. With one
// run, each picture is a column.
function columns(state) {
  const runs = state.runs.length;
  const content = ["image", "label"].filter((view) => state.shows(view)).map((view) => ({ view, index: 0 }));
  const results = ["probability", "mask", "errors"].filter((view) => state.shows(view))
    .map((view) => state.runs.map((_, index) => ({ view, index })));
  const all = [content, ...results].filter((cells) => cells.length);
  return runs === 1 ? all.flat().map((cell) => [cell]) : all;
}

// The caption of a picture and its description for a screen reader.
function describe({ view, index }, state, results) {
  const name = state.paired ? `, ${state.runs[index].name}` : "";
  const { tp, fp, fn } = results[index];
  switch (view) {
    case "image": return ["image", `Photograph or drawing ${state.get("image")}`];
    case "label": return ["label", `Label: ${number(tp + fn)} positive pixels`];
    case "probability": return [`probability${name}`, `Predicted probability${name}, black 0 to white 1`];
    case "mask": return [`mask${name}`, `Predicted mask${name}: ${number(tp + fp)} positive pixels`];
    default: return [`errors${name}`, `Errors${name}: ${number(tp)} true positive, ${number(fp)} false positive, `
      + `${number(fn)} false negative pixels`];
  }
}

function legend(state) {
  const item = (colour, name, properties) => element("li", { ...properties, style: `--swatch: ${colour}` }, name);
  const { errors } = state.get("content"), items = [];
  if (errors && state.shows("errors")) {
    for (const [name, colour] of Object.entries(errors)) items.push(item(colour, name));
  }
  if (state.shows("mask")) items.push(...state.runs.map((run) => item(run.colour, `mask, ${run.name}`)));
  if (state.shows("contours")) items.push(item(OUTLINE, "outline of the label", { className: "line" }));
  return items;
}

// The mouse on a picture: dragging moves, Ctrl and the wheel zoom.
function followMouse(canvas, zoom) {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("dragged");
    canvas.closest(".iou-inspector").focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const width = canvas.clientWidth * zoom.scale;
    zoom.move(zoom.x - event.movementX / width, zoom.y - event.movementY / width);
  });
  canvas.addEventListener("pointerup", () => canvas.classList.remove("dragged"));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom.magnify(event.deltaY < 0 ? 1.25 : 0.8,
      event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight);
  }, { passive: false });
}

class Panels {
  grid = element("div", { className: "panels" });
  key = element("ul", { className: "key", "aria-label": "Legend" });
  tiles = [];

  constructor(state, zoom) {
    this.state = state;
    this.zoom = zoom;
  }

  build() {
    const all = columns(this.state), width = this.state.runs.length === 1 ? 300 : 360;
    this.tiles = all.flatMap((cells, column) =>
      cells.map((cell, line) => this.tile(cell, column + 1, line + 1)));
    this.grid.replaceChildren(...this.tiles.map((tile) => tile.figure));
    this.grid.style.gridTemplateColumns = `repeat(${Math.max(all.length, 1)}, minmax(0, ${width}px))`;
    this.key.replaceChildren(...legend(this.state));
  }

  tile({ view, index }, column, line) {
    const canvas = element("canvas", { role: "img" }), caption = element("figcaption");
    const figure = element("figure", {}, caption, canvas);
    figure.style.gridColumn = column;
    figure.style.gridRow = line;
    followMouse(canvas, this.zoom);
    return { view, index, canvas, caption, figure, source: document.createElement("canvas") };
  }

  draw(picture, results, k) {
    for (const tile of this.tiles) {
      this.drawTile(tile, picture, k);
      const [caption, text] = describe(tile, this.state, results);
      tile.caption.textContent = caption;
      tile.canvas.setAttribute("aria-label", text);
    }
  }

  drawTile(tile, picture, k) {  // only if it has changed
    const { scale, x, y } = this.zoom, contours = this.state.shows("contours");
    const stale = tile.picture !== picture || ["mask", "errors"].includes(tile.view);  // these depend on the sliders
    const seen = String([scale, x, y, contours]);
    if (!stale && tile.seen === seen) return;
    if (stale) this.fillSource(tile, picture, k);
    tile.picture = picture;
    tile.seen = seen;
    this.magnified(tile, picture, contours && tile.view !== "label");
  }

  fillSource({ source, view, index }, picture, k) {  // one pixel for each pixel of the image
    const colours = Object.values(this.state.get("content").errors).map(rgb);
    source.width = source.height = picture.size;
    source.getContext("2d").putImageData(
      pixels(view, picture, picture.runs[index], k, this.state.get("opacity"), colours), 0, 0);
  }

  magnified({ canvas, source }, { size, outline }, outlined) {
    const { zoom } = this, factor = Math.max(1, Math.round(448 / size)), scale = factor * zoom.scale;
    if (canvas.width !== size * factor) canvas.width = canvas.height = size * factor;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, -zoom.x * size * scale, -zoom.y * size * scale);
    context.imageSmoothingEnabled = false;
    context.drawImage(source, 0, 0);
    if (!outlined) return;
    context.lineWidth = 2 / scale * Math.max(1, factor / 2);
    context.strokeStyle = OUTLINE;
    context.stroke(outline);
  }
}

// ---- numbers: the status line and the table ----------------------------------------------------------------

function statusLine(state, k) {
  const { runs, row, order } = state, difference = state.difference(row, k);
  const values = runs.map((run) => `${state.score(run, row, k).toFixed(3)} after ${run.name}`).join(", ");
  return `${state.get("image")}, ${order.indexOf(row) + 1} of ${order.length}: IoU ${values}`
    + (state.paired ? `, difference ${difference >= 0 ? "+" : "−"}${Math.abs(difference).toFixed(3)}` : "")
    + ` at threshold ${state.get("threshold").toFixed(2)}`;
}

const HEADS = ["at this threshold", "IoU", "accuracy", "true pos.", "false pos.", "false neg.", "true neg.", "mean IoU",
  "mean accuracy"];

function table(state, results, k) {
  return element("table", { "aria-label": "Scores of this image and means of the runs at this threshold" },
    element("thead", {}, element("tr", {}, ...HEADS.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...state.runs.map((run, index) => tableLine(state, run, results && results[index], k))));
}

function tableLine(state, run, result, k) {  // no result until the pixels have arrived
  const ofImage = result
    ? [result.iou.toFixed(4), result.accuracy.toFixed(4),
      ...["tp", "fp", "fn", "tn"].map((name) => number(result[name]))]
    : [state.score(run, state.row, k).toFixed(4), "", "", "", "", ""];
  const cells = [...ofImage, state.mean(run, k).toFixed(4), run.accuracy[k].toFixed(4)];
  return element("tr", {}, element("th", { scope: "row", title: run.id }, run.name),
    ...cells.map((cell) => element("td", {}, cell)));
}

// ---- charts ------------------------------------------------------------------------------------------------

const W = 420, H = 190, LEFT = 34, BOTTOM = 30, TOP = 18, FLOOR = H - BOTTOM;
const chartX = (value) => LEFT + (W - LEFT - 12) * value;
const chartY = (most) => (value) => FLOOR - (FLOOR - TOP) * value / most;

// An empty chart, from 0 to 1 along x.
function chart(xLabel, yLabel, yTicks, y) {
  const text = (left, top, anchor, words) => drawing("text", { x: left, y: top, "text-anchor": anchor }, words);
  return drawing("svg", { viewBox: `0 0 ${W} ${H}` },
    drawing("path", { class: "axis", fill: "none", d: `M${LEFT},${TOP}V${FLOOR}H${W}` }),
    ...[0, 0.2, 0.4, 0.6, 0.8, 1].map((tick) => text(chartX(tick), FLOOR + 13, "middle", tick.toFixed(1))),
    ...yTicks.map((tick) => text(LEFT - 4, y(tick) + 4, "end", `${+tick.toFixed(1)}`)),
    text(W, H - 4, "end", xLabel), drawing("text", { x: 0, y: 10 }, yLabel));
}

// The distribution of IoU over the images of each run; a bar selects its images.
const BINS = 20;

class Histogram {
  figure = element("figure");
  groups = [];  // by bin and run: the rows of its images
  filled = [];  // the bins that have any
  bin = 0;  // the bin with the focus of the Tab key

  constructor(state) { this.state = state; }

  draw(k) {
    const focused = this.figure.contains(document.activeElement);
    this.group(k);
    const most = Math.max(...this.groups.flat().map((rows) => rows.length)), y = chartY(most);
    const svg = chart("IoU of an image", "images", [0, most], y);
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "Histogram of the IoU of each image; each bar selects an image");
    svg.append(...this.filled.map((bin) => this.bar(bin, y)), ...this.state.runs.map((run) => this.mark(run, k)));
    this.figure.replaceChildren(svg, element("figcaption", {},
      "All test images at this threshold; the triangle marks this image. Click a bar to see its images."));
    if (focused) this.focus({ preventScroll: true });
  }

  group(k) {
    const { state } = this, n = state.ids.length;
    this.groups = Array.from({ length: BINS }, () => state.runs.map(() => []));
    state.runs.forEach((run, index) => {
      for (let row = 0; row < n; row++) {
        this.groups[Math.min(BINS - 1, Math.floor(BINS * state.score(run, row, k)))][index].push(row);
      }
    });
    this.filled = [...this.groups.keys()].filter((bin) => this.groups[bin].some((rows) => rows.length));
    if (!this.filled.includes(this.bin)) this.bin = this.filled[0];
  }

  bar(bin, y) {
    const { runs } = this.state, left = chartX(bin / BINS), whole = (chartX(1) - chartX(0)) / BINS;
    const groups = this.groups[bin], width = (whole - 2) / runs.length;
    const label = `IoU ${(bin / BINS).toFixed(2)} to ${((bin + 1) / BINS).toFixed(2)}: `
      + runs.map((run, index) => `${groups[index].length} images, ${run.name}`).join("; ");
    const bar = drawing("g", { class: "bin", role: "button", tabindex: bin === this.bin ? 0 : -1, "aria-label": label,
      "data-bin": bin });
    bar.append(...groups.map(({ length }, index) => drawing("rect", { x: left + 1 + index * width, y: y(length), width,
      height: FLOOR - y(length), fill: runs[index].colour })));
    bar.append(drawing("title", {}, label),
      drawing("rect", { class: "hit", x: left, y: TOP, width: whole, height: FLOOR - TOP }));
    bar.addEventListener("click", () => this.choose(bin));
    bar.addEventListener("keydown", (event) => this.press(event, bin));
    return bar;
  }

  mark(run, k) {  // a triangle above the IoU of the image shown
    const x = chartX(this.state.score(run, this.state.row, k));
    return drawing("path", { d: `M${x - 5},${TOP - 8}h10l-5,8z`, fill: run.colour, "aria-hidden": "true" });
  }

  choose(bin) {  // the next of the bin's images, in the order of the list
    const { state } = this, rows = new Set(this.groups[bin].flat());
    const members = state.order.filter((row) => rows.has(row));
    this.bin = bin;
    state.select(members[(members.indexOf(state.row) + 1) % members.length]);
  }

  press(event, bin) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.choose(bin);
    else if (by) this.walk(bin, by);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  walk(bin, by) {
    const place = this.filled.indexOf(bin) + by;
    this.bin = this.filled[Math.min(this.filled.length - 1, Math.max(0, place))];
    for (const bar of this.figure.querySelectorAll(".bin")) {
      bar.setAttribute("tabindex", +bar.dataset.bin === this.bin ? 0 : -1);
    }
    this.focus();
  }

  focus(how) { this.figure.querySelector(`[data-bin="${this.bin}"]`).focus(how); }
}

// IoU over the threshold, of this image and the mean of all.
function curveChart(state, k) {
  const y = chartY(1), x = chartX(state.get("threshold"));
  const svg = chart("threshold", "IoU", [0, 0.5, 1], y);
  const texts = state.runs.map((run) => curveText(state, run, k)).join(". ");
  svg.append(drawing("path", { d: `M${x},${TOP}V${FLOOR}`, class: "axis", "stroke-dasharray": "3 3" }),
    ...state.runs.flatMap((run) => curvesOfRun(state, run, x, y, k)));
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `IoU over the threshold. ${texts}`);
  return [svg, element("figcaption", {}, `Line: this image; dashes: mean of all. ${texts}.`)];
}

const line = (value, y) => Array.from({ length: 255 }, (_, k) =>
  `${k ? "L" : "M"}${chartX(k / 255).toFixed(1)},${y(value(k)).toFixed(1)}`).join("");

function means(state, run) {  // computed once per run
  return run.means ??= Float32Array.from({ length: 256 }, (_, k) => state.mean(run, k));
}

function curvesOfRun(state, run, x, y, k) {
  const { row } = state, { colour } = run, all = means(state, run);
  run.meansLine ??= line((k) => all[k], y);
  return [drawing("path", { d: run.meansLine, fill: "none", stroke: colour, "stroke-dasharray": "4 3" }),
    drawing("path", { d: line((k) => state.score(run, row, k), y), fill: "none", stroke: colour, "stroke-width": 2 }),
    drawing("circle", { cx: x, cy: y(state.score(run, row, k)), r: 4, fill: colour })];
}

function curveText(state, run, k) {
  const all = means(state, run), best = all.reduce((most, value, at) => value > all[most] ? at : most, 0);
  return `${run.name}: this image ${state.score(run, state.row, k).toFixed(3)}, mean ${all[k].toFixed(3)}, `
    + `largest mean ${all[best].toFixed(3)} at threshold ${(best / 255).toFixed(2)}`;
}

// ---- layout ------------------------------------------------------------------------------------------------

const KEYS = "<kbd>←</kbd> <kbd>→</kbd> previous, next image · <kbd>w</kbd> worst · <kbd>b</kbd> best · "
  + "<kbd>d</kbd> largest disagreement · <kbd>i</kbd> <kbd>l</kbd> <kbd>p</kbd> <kbd>m</kbd> <kbd>e</kbd> <kbd>c</kbd> "
  + "show or hide image, label, probability, mask, errors, contours · <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom; "
  + "drag a picture to move, Ctrl and the wheel to zoom";

const division = (className, ...children) => element("div", { className }, ...children);

function imageRow(state, controls) {
  return division("row", button("‹", "previous image", () => state.step(-1)), controls.image.label,
    button("›", "next image", () => state.step(1)), controls.order.label,
    button("Worst", "worst image of the first run", () => state.jump("worst")),
    button("Median", "median image of the first run", () => state.jump("median")),
    button("Best", "best image of the first run", () => state.jump("best")),
    button("Largest disagreement", "image of the largest difference in IoU between the runs",
      () => state.jumpToDisagreement()));
}

function viewRow(controls, zoom) {
  const boxes = Object.values(controls.views).map((item) => item.label);
  return division("row", controls.threshold.label, controls.opacity.label,
    element("fieldset", {}, element("legend", {}, "Show"), ...boxes),
    element("span", { role: "group", "aria-label": "Zoom" }, button("−", "zoom out", () => zoom.magnify(1 / 1.5)),
      button("+", "zoom in", () => zoom.magnify(1.5)), button("reset", "reset zoom", () => zoom.magnify(0))));
}

function layout({ controls, message, body }) {
  return element("section", { className: "iou-inspector", tabIndex: -1, "aria-label": "Inspector of masks",
    "data-lm-suppress-shortcuts": "true" },
  division("row", controls.study.label, controls.first.label, controls.second.label), message, body);
}

function layoutBody({ state, zoom, controls, status, panels, numbers, histogram, curves }) {
  return element("div", {}, imageRow(state, controls), viewRow(controls, zoom),
    status, panels.grid, panels.key, numbers, division("charts", histogram.figure, curves),
    element("details", { className: "help" }, element("summary", {}, "Keys"), element("p", { innerHTML: KEYS })));
}

// ---- keys --------------------------------------------------------------------------------------------------

// The action of a key if `target` has the focus; undefined if the browser handles the key.
function keyAction(key, target, state, zoom) {
  if (target.closest(".bin") && key.startsWith("Arrow")) return undefined;  // for the histogram
  const arrow = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (arrow && !target.matches("select, input[type=range]")) return () => state.step(arrow);
  if (target.matches("select")) return undefined;  // letters select an option there
  const view = Object.keys(VIEWS).find((name) => VIEWS[name] === key);
  if (view) return () => state.toggle(view);
  return { w: () => state.jump("worst"), b: () => state.jump("best"),
    d: () => state.paired && state.jumpToDisagreement(), 0: () => zoom.magnify(0),
    "+": () => zoom.magnify(1.5), "=": () => zoom.magnify(1.5), "-": () => zoom.magnify(1 / 1.5) }[key];
}

function followKeys(root, state, zoom) {
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keyAction(event.key, event.target, state, zoom);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
}

// ---- the widget: its elements, and the reactions to changes ------------------------------------------------

class Inspector {
  message = element("p", { className: "message", role: "alert" });
  status = element("p", { className: "status", role: "status" });
  numbers = division("scroll");
  curves = element("figure");
  frame = 0;

  constructor(model) {
    this.state = new State(model);
    this.zoom = new Zoom(() => this.update());
    this.pictures = new Pictures(this.state);
    this.controls = new Controls(this.state);
    this.panels = new Panels(this.state, this.zoom);
    this.histogram = new Histogram(this.state);
    this.body = layoutBody(this);
    this.root = layout(this);
    followKeys(this.root, this.state, this.zoom);
    this.controls.threshold.input.addEventListener("change", () => this.sort());  // when the slider is released
  }

  follow(model) {
    const { controls } = this;
    model.on("msg:custom", (content, buffers) => { if (this.pictures.take(content, buffers)) this.update(); });
    model.on("change:content", () => this.load());
    for (const name of ["studies", "study", "runs", "partners", "first", "second"]) {
      model.on(`change:${name}`, () => controls.offerRuns());
    }
    model.on("change:message", () => this.say());
    model.on("change:image", () => this.want());
    model.on("change:threshold", () => this.update());
    model.on("change:opacity", () => this.update());
    model.on("change:order", () => { controls.showOrder(); this.sort(); this.update(); });
    model.on("change:views", () => { this.build(); this.update(); });
  }

  say() {
    this.message.textContent = this.state.get("message");
    this.message.hidden = !this.state.get("message");
  }

  load() {  // new content: other runs or images
    this.pictures.forget();
    this.state.readContent();
    this.controls.offerOrders();
    this.body.hidden = !this.state.runs.length;
    this.controls.offerRuns();
    this.sort();
    this.build();
    this.want();
  }

  sort() {
    if (!this.state.runs.length) return;
    this.state.sort();
    this.controls.offerImages();
  }

  build() {
    this.panels.build();
    this.controls.showViews();
  }

  want() {
    this.pictures.ask();
    this.update();
  }

  update() {  // at most once per frame
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { state } = this;
    if (!state.runs.length) return;
    const k = state.level, picture = this.pictures.shown;
    const results = picture && picture.runs.map((run) => counts(picture.label, run.probability, k));
    if (picture) this.panels.draw(picture, results, k);
    this.controls.showValues();
    this.status.textContent = statusLine(state, k);
    this.numbers.replaceChildren(table(state, results, k));
    this.histogram.draw(k);
    this.curves.replaceChildren(...curveChart(state, k));
    this.root.dataset.painted = JSON.stringify([state.get("image"), k]);
  }

  stop() { cancelAnimationFrame(this.frame); }
}

function render({ model, el }) {
  const inspector = new Inspector(model);
  el.append(inspector.root);
  inspector.follow(model);
  inspector.say();
  inspector.load();
  return () => inspector.stop();
}

export default { render };
