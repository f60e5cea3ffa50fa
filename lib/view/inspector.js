// The inspector of lib/view/inspector.py: pictures, numbers and charts of one test image after one or two runs.
// A probability is a byte, 255 P; at threshold t a pixel is positive where its byte is above k = floor(255 t).

const VIEWS = { image: "i", label: "l", probability: "p", mask: "m", errors: "e", contours: "c" };
const TITLES = { image: "image", label: "label", probability: "probability", mask: "mask", errors: "errors" };
const ORDERS = { name: "name", first: "IoU, first run", second: "IoU, second run", difference: "difference" };
const BINS = 20;
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
  const trace = (differs, at) => {  // runs of edges between pixels that differ become one line each
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

// ---- the widget --------------------------------------------------------------------------------------------

function render({ model, el }) {
  const get = (name) => model.get(name);
  const set = (name, value) => { model.set(name, value); model.save_changes(); };
  const cache = new Map();  // row -> pixels from the kernel, of the runs that are shown
  let runs = [], order = [], zoom = { scale: 1, x: 0, y: 0 }, frame = 0;

  // Controls.
  const choice = (name, label, change) => {
    const select = element("select", { "aria-label": label });
    select.addEventListener("change", () => change(select.value));
    return [element("label", {}, name, select), select];
  };
  const button = (text, label, action) => {
    const made = element("button", { type: "button", "aria-label": label, title: label }, text);
    made.addEventListener("click", action);
    return made;
  };
  const slider = (name, trait) => {
    const input = element("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": name });
    const shown = element("output", { "aria-hidden": "true" });
    input.addEventListener("input", () => { set(trait, Number(input.value)); });
    return { label: element("label", {}, name, input, shown), input, shown };
  };
  const [studyLabel, study] = choice("Study", "study", (value) => set("study", value));
  const [firstLabel, first] = choice("First run", "first run", (value) => set("first", value));
  const [secondLabel, second] = choice("Second run", "second run", (value) => set("second", value));
  const [imageLabel, images] = choice("Image", "image", (value) => set("image", value));
  const [orderLabel, orders] = choice("Sorted by", "order of the images", (value) => set("order", value));
  const threshold = slider("Threshold", "threshold");
  const opacity = slider("Opacity", "opacity");
  threshold.input.addEventListener("change", () => { sort(); });
  const boxes = Object.fromEntries(Object.entries(VIEWS).map(([view, key]) => {
    const box = element("input", { type: "checkbox" });
    box.addEventListener("change", () => toggle(view));
    return [view, { box, label: element("label", { title: `key ${key}` }, box, view) }];
  }));
  const message = element("p", { className: "message", role: "alert" });
  const status = element("p", { className: "status", role: "status" });
  const panels = element("div", { className: "panels" });
  const key = element("ul", { className: "key", "aria-label": "Legend" });
  const numbers = element("div", { className: "scroll" });
  const histogram = element("figure"), curves = element("figure");
  const help = element("details", { className: "help" }, element("summary", {}, "Keys"), element("p", { innerHTML:
    "<kbd>←</kbd> <kbd>→</kbd> previous, next image · <kbd>w</kbd> worst · <kbd>b</kbd> best · <kbd>d</kbd> largest "
    + "disagreement · <kbd>i</kbd> <kbd>l</kbd> <kbd>p</kbd> <kbd>m</kbd> <kbd>e</kbd> <kbd>c</kbd> show or hide image, "
    + "label, probability, mask, errors, contours · <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom; drag a picture to move, "
    + "Ctrl and the wheel to zoom" }));
  const body = element("div", {},
    element("div", { className: "row" }, button("‹", "previous image", () => step(-1)), imageLabel,
      button("›", "next image", () => step(1)), orderLabel,
      button("Worst", "worst image of the first run", () => jump("worst")),
      button("Median", "median image of the first run", () => jump("median")),
      button("Best", "best image of the first run", () => jump("best")),
      button("Largest disagreement", "image of the largest difference in IoU between the runs", () => jump("disagreement"))),
    element("div", { className: "row" }, threshold.label, opacity.label,
      element("fieldset", {}, element("legend", {}, "Show"), ...Object.values(boxes).map((item) => item.label)),
      element("span", { role: "group", "aria-label": "Zoom" }, button("−", "zoom out", () => magnify(1 / 1.5)),
        button("+", "zoom in", () => magnify(1.5)), button("reset", "reset zoom", () => magnify(0)))),
    status, panels, key, numbers, element("div", { className: "charts" }, histogram, curves), help);
  const root = element("section", { className: "iou-inspector", tabIndex: -1, "aria-label": "Inspector of masks",
    "data-lm-suppress-shortcuts": "true" },
  element("div", { className: "row" }, studyLabel, firstLabel, secondLabel), message, body);
  el.append(root);

  // Content from the kernel.
  const options = (select, values, chosen, text = (value) => value) => {
    select.replaceChildren(...values.map((value) => element("option", { value }, text(value))));
    select.value = chosen;
  };
  const fill = () => {
    options(study, get("studies"), get("study"));
    options(first, get("runs"), get("first"));
    options(second, ["", ...get("partners")], get("second"), (value) => value || "none");
  };
  const load = () => {
    const content = get("content");
    cache.clear();
    runs = (content.runs || []).map((run) => ({ ...run, rgb: rgb(run.colour), iou: floats(run.iou),
      accuracy: floats(run.accuracy) }));
    if (runs.length === 2 && runs[0].name === runs[1].name) runs.forEach((run) => { run.name = run.id; });
    for (const name of ["second", "difference"]) {
      if (runs.length < 2 && get("order") === name) set("order", "name");
    }
    options(orders, Object.keys(ORDERS).filter((name) => runs.length > 1 || !["second", "difference"].includes(name)),
      get("order"), (name) => ORDERS[name]);
    body.hidden = !runs.length;
    fill();
    sort();
    build();
    want();
  };
  const ids = () => get("content").ids || [];
  const row = () => Math.max(0, ids().indexOf(get("image")));
  const score = (run, at, k = level(get("threshold"))) => run.iou[256 * at + k];
  const difference = (at) => runs.length > 1 ? score(runs[0], at) - score(runs[1], at) : 0;
  const sort = () => {
    if (!runs.length) return;
    const by = { name: (at) => at, first: (at) => score(runs[0], at), difference,
      second: (at) => score(runs[runs.length - 1], at) }[get("order")];
    order = ids().map((_, at) => at).sort((a, b) => by(a) - by(b) || a - b);
    const text = (id) => {
      const at = ids().indexOf(id), shown = runs.map((run) => score(run, at).toFixed(3)).join(" / ");
      return `${id}  ${shown}`;
    };
    options(images, order.map((at) => ids()[at]), get("image"), text);
  };
  const want = () => {  // this image now, its neighbours in the order next
    const place = order.indexOf(row());
    for (const at of [row(), order[place + 1], order[place - 1]]) {
      if (at !== undefined && !cache.has(at)) { cache.set(at, null); model.send({ row: at }); }
    }
    update();
  };
  model.on("msg:custom", (content, buffers) => {
    const shown = runs.map((run) => run.id);
    if (String(content.runs) !== String(shown)) return;  // of runs chosen before
    const [image, label, ...probabilities] = buffers.map(bytes);
    const size = get("content").size;
    const grey = label.map((_, i) => (image[3 * i] + image[3 * i + 1] + image[3 * i + 2]) / 3);
    cache.set(content.row, { size, image, label, grey, outline: outline(size, (i) => label[i]),
      runs: probabilities.map((probability, i) => ({ probability, colour: runs[i].rgb })) });
    if (content.row === row()) update();
  });

  // Actions.
  const select = (at) => { set("image", ids()[at]); };
  const step = (by) => {
    const place = order.indexOf(row());
    select(order[Math.min(order.length - 1, Math.max(0, place + by))]);
  };
  const jump = (what) => {
    const all = ids().map((_, at) => at);
    const sorted = all.slice().sort((a, b) => score(runs[0], a) - score(runs[0], b) || a - b);
    if (what === "disagreement") select(all.reduce((a, b) => Math.abs(difference(b)) > Math.abs(difference(a)) ? b : a));
    else select(sorted[{ worst: 0, median: Math.floor((sorted.length - 1) / 2), best: sorted.length - 1 }[what]]);
  };
  const toggle = (view) => {
    const shown = get("views");
    set("views", Object.keys(VIEWS).filter((name) => shown.includes(name) !== (name === view)));
  };
  const magnify = (factor, x = 0.5, y = 0.5) => {
    const scale = factor ? Math.min(16, Math.max(1, zoom.scale * factor)) : 1;
    move(zoom.x + x * (1 / zoom.scale - 1 / scale), zoom.y + y * (1 / zoom.scale - 1 / scale), scale);
  };
  const move = (x, y, scale = zoom.scale) => {
    const most = 1 - 1 / scale;
    zoom = { scale, x: Math.min(most, Math.max(0, x)), y: Math.min(most, Math.max(0, y)) };
    update();
  };
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("select, input[type=range]");
    const view = Object.keys(VIEWS).find((name) => VIEWS[name] === event.key);
    const action = event.target.closest(".bin") && event.key.startsWith("Arrow") ? null
      : !typing && event.key === "ArrowLeft" ? () => step(-1) : !typing && event.key === "ArrowRight" ? () => step(1)
        : event.target.matches("select") ? null : view ? () => toggle(view)
          : { w: () => jump("worst"), b: () => jump("best"), d: () => runs.length > 1 && jump("disagreement"),
            "+": () => magnify(1.5), "=": () => magnify(1.5), "-": () => magnify(1 / 1.5), 0: () => magnify(0) }[event.key];
    if (action) { event.preventDefault(); event.stopPropagation(); action(); }
  });

  // Pictures.
  let tiles = [];
  const tile = (view, index) => {
    const canvas = element("canvas", { role: "img" });
    const caption = element("figcaption");
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("dragged");
      root.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const width = canvas.clientWidth * zoom.scale;
      move(zoom.x - event.movementX / width, zoom.y - event.movementY / width);
    });
    canvas.addEventListener("pointerup", () => canvas.classList.remove("dragged"));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      magnify(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight);
    }, { passive: false });
    return { view, index, canvas, caption, figure: element("figure", {}, caption, canvas), source: document.createElement("canvas") };
  };
  const build = () => {  // columns: image and label, probability, mask, errors; a line for each run
    const shown = get("views");
    const columns = [["image", "label"].filter((view) => shown.includes(view)),
      ...["probability", "mask", "errors"].filter((view) => shown.includes(view)).map((view) => [view])];
    const lines = runs.length;
    tiles = [];
    panels.replaceChildren();
    let column = 0;
    for (const views of columns) {
      if (!views.length) continue;
      const cells = views[0] === "image" || views[0] === "label" ? views.map((view) => [view, 0])
        : runs.map((_, index) => [views[0], index]);
      cells.forEach(([view, index], place) => {
        const made = tile(view, index);
        made.figure.style.gridColumn = lines === 1 ? ++column : column + 1;
        made.figure.style.gridRow = lines === 1 ? 1 : place + 1;
        tiles.push(made);
        panels.append(made.figure);
      });
      if (lines > 1) column++;
    }
    panels.style.gridTemplateColumns = `repeat(${Math.max(column, 1)}, minmax(0, ${lines === 1 ? 300 : 360}px))`;
    const { errors } = get("content");
    key.replaceChildren();
    if (errors && shown.includes("errors")) {
      for (const [name, colour] of Object.entries(errors)) {
        key.append(element("li", { style: `--swatch: ${colour}` }, name));
      }
    }
    for (const run of runs) {
      if (shown.includes("mask")) key.append(element("li", { style: `--swatch: ${run.colour}` }, `mask, ${run.name}`));
    }
    if (shown.includes("contours")) key.append(element("li", { className: "line", style: "--swatch: #e8006f" }, "outline of the label"));
    for (const [view, { box }] of Object.entries(boxes)) box.checked = shown.includes(view);
  };
  const describe = ({ view, index }, results) => {
    const name = runs.length > 1 ? `, ${runs[index].name}` : "";
    const result = results && results[index];
    if (view === "image") return ["image", `Photograph or drawing ${get("image")}`];
    if (view === "label") return ["label", results ? `Label: ${number(result.tp + result.fn)} positive pixels` : "Label"];
    if (view === "probability") return [`probability${name}`, `Predicted probability${name}, black 0 to white 1`];
    const positive = result ? number(result.tp + result.fp) : "";
    if (view === "mask") return [`mask${name}`, `Predicted mask${name}: ${positive} positive pixels`];
    return [`errors${name}`, result ? `Errors${name}: ${number(result.tp)} true positive, ${number(result.fp)} false `
      + `positive, ${number(result.fn)} false negative pixels` : "Errors"];
  };
  const draw = (item, picture, k) => {
    const { canvas, source, view } = item, { size } = picture;
    const factor = Math.max(1, Math.round(448 / size)), contours = get("views").includes("contours");
    const moving = ["mask", "errors"].includes(view), seen = JSON.stringify([zoom, contours]);
    if (!moving && item.drawn === picture && item.seen === seen) return;
    item.seen = seen;
    if (moving || item.drawn !== picture) {
      source.width = source.height = size;
      const colours = Object.values(get("content").errors).map(rgb);
      source.getContext("2d").putImageData(
        pixels(view, picture, picture.runs[item.index], k, get("opacity"), colours), 0, 0);
      item.drawn = picture;
    }
    if (canvas.width !== size * factor) canvas.width = canvas.height = size * factor;
    const context = canvas.getContext("2d");
    const scale = factor * zoom.scale;
    context.setTransform(scale, 0, 0, scale, -zoom.x * size * scale, -zoom.y * size * scale);
    context.imageSmoothingEnabled = false;
    context.drawImage(source, 0, 0);
    if (contours && view !== "label") {
      context.lineWidth = 2 / scale * Math.max(1, factor / 2);
      context.strokeStyle = "#e8006f";
      context.stroke(picture.outline);
    }
  };

  // Numbers and charts.
  const tabulate = (results, k) => {
    const heads = ["at this threshold", "IoU", "accuracy", "true pos.", "false pos.", "false neg.", "true neg.",
      "mean IoU", "mean accuracy"];
    const lines = runs.map((run, index) => {
      const result = results ? results[index] : { iou: score(run, row(), k) };
      const cells = [result.iou.toFixed(4), results ? result.accuracy.toFixed(4) : "",
        ...["tp", "fp", "fn", "tn"].map((name) => results ? number(result[name]) : ""),
        mean(run, k).toFixed(4), run.accuracy[k].toFixed(4)];
      return element("tr", {}, element("th", { scope: "row", title: run.id }, run.name),
        ...cells.map((cell) => element("td", {}, cell)));
    });
    numbers.replaceChildren(element("table", { "aria-label": "Scores of this image and means of the runs at this threshold" },
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...lines)));
  };
  const mean = (run, k) => {
    const n = run.iou.length / 256;
    let sum = 0;
    for (let at = 0; at < n; at++) sum += run.iou[256 * at + k];
    return sum / n;
  };
  const W = 420, H = 190, LEFT = 34, BOTTOM = 30, TOP = 18;
  const frameOf = (xLabel, yLabel, xTicks, yTicks, x, y) => {
    const svg = drawing("svg", { viewBox: `0 0 ${W} ${H}` });
    svg.append(drawing("path", { class: "axis", fill: "none", d: `M${LEFT},${TOP}V${H - BOTTOM}H${W}` }));
    for (const tick of xTicks) {
      svg.append(drawing("text", { x: x(tick), y: H - BOTTOM + 13, "text-anchor": "middle" }, tick.toFixed(1)));
    }
    for (const tick of yTicks) svg.append(drawing("text", { x: LEFT - 4, y: y(tick) + 4, "text-anchor": "end" }, `${+tick.toFixed(1)}`));
    svg.append(drawing("text", { x: W, y: H - 4, "text-anchor": "end" }, xLabel),
      drawing("text", { x: 0, y: 10 }, yLabel));
    return svg;
  };
  const scaleX = (low) => (value) => LEFT + (W - LEFT - 12) * (value - low) / (1 - low);
  let bin = 0;
  const drawHistogram = (k) => {
    const n = ids().length, focused = histogram.contains(document.activeElement);
    const x = scaleX(0);
    const groups = Array.from({ length: BINS }, () => runs.map(() => []));
    runs.forEach((run, index) => {
      for (let at = 0; at < n; at++) groups[Math.min(BINS - 1, Math.floor(BINS * score(run, at, k)))][index].push(at);
    });
    const most = Math.max(...groups.flat().map((group) => group.length));
    const y = (count) => H - BOTTOM - (H - BOTTOM - TOP) * count / most;
    const svg = frameOf("IoU of an image", "images", [0, 0.2, 0.4, 0.6, 0.8, 1], [0, most], x, y);
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "Histogram of the IoU of each image; each bar selects an image");
    const filled = groups.map((group, at) => group.some((members) => members.length) ? at : -1).filter((at) => at >= 0);
    if (!filled.includes(bin)) bin = filled[0];
    for (const at of filled) {
      const width = (x(1) - x(0)) / BINS, left = x(at / BINS);
      const label = `IoU ${(at / BINS).toFixed(2)} to ${((at + 1) / BINS).toFixed(2)}: `
        + runs.map((run, index) => `${groups[at][index].length} images, ${run.name}`).join("; ");
      const bar = drawing("g", { class: "bin", role: "button", tabindex: at === bin ? 0 : -1, "aria-label": label, "data-bin": at });
      groups[at].forEach((members, index) => bar.append(drawing("rect", { x: left + 1 + index * (width - 2) / runs.length,
        y: y(members.length), width: (width - 2) / runs.length, height: H - BOTTOM - y(members.length), fill: runs[index].colour })));
      bar.append(drawing("title", {}, label),
        drawing("rect", { class: "hit", x: left, y: TOP, width, height: H - BOTTOM - TOP }));
      const choose = () => {  // the next of the bin's images, in the order of the list
        bin = at;
        const members = order.filter((member) => groups[at].some((group) => group.includes(member)));
        select(members[(members.indexOf(row()) + 1) % members.length]);
      };
      bar.addEventListener("click", choose);
      bar.addEventListener("keydown", (event) => {
        const next = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (event.key === "Enter" || event.key === " ") choose();
        else if (next) {
          bin = filled[Math.min(filled.length - 1, Math.max(0, filled.indexOf(at) + next))];
          svg.querySelectorAll(".bin").forEach((other) => other.setAttribute("tabindex", +other.dataset.bin === bin ? 0 : -1));
          svg.querySelector(`[data-bin="${bin}"]`).focus();
        } else return;
        event.preventDefault();
        event.stopPropagation();
      });
      svg.append(bar);
    }
    runs.forEach((run) => {
      const at = x(score(run, row(), k));
      svg.append(drawing("path", { d: `M${at - 5},${TOP - 8}h10l-5,8z`, fill: run.colour, "aria-hidden": "true" }));
    });
    histogram.replaceChildren(svg, element("figcaption", {}, "All test images at this threshold; the triangle is this image. Click a bar to see its images."));
    if (focused) svg.querySelector(`[data-bin="${bin}"]`).focus({ preventScroll: true });
  };
  const drawCurves = (k) => {
    const x = scaleX(0), y = (value) => H - BOTTOM - (H - BOTTOM - TOP) * value;
    const svg = frameOf("threshold", "IoU", [0, 0.2, 0.4, 0.6, 0.8, 1], [0, 0.5, 1], x, y);
    const line = (value) => Array.from({ length: 255 }, (_, at) => `${at ? "L" : "M"}${x(at / 255).toFixed(1)},${y(value(at)).toFixed(1)}`).join("");
    const texts = [];
    svg.append(drawing("path", { d: `M${x(get("threshold"))},${TOP}V${H - BOTTOM}`, class: "axis", "stroke-dasharray": "3 3" }));
    for (const run of runs) {
      run.means ??= Float32Array.from({ length: 256 }, (_, at) => mean(run, at));
      run.meansLine ??= line((at) => run.means[at]);
      svg.append(drawing("path", { d: run.meansLine, fill: "none", stroke: run.colour, "stroke-dasharray": "4 3" }),
        drawing("path", { d: line((at) => score(run, row(), at)), fill: "none", stroke: run.colour, "stroke-width": 2 }),
        drawing("circle", { cx: x(get("threshold")), cy: y(score(run, row(), k)), r: 4, fill: run.colour }));
      let best = 0;
      run.means.forEach((value, at) => { if (value > run.means[best]) best = at; });
      texts.push(`${run.name}: this image ${score(run, row(), k).toFixed(3)}, mean ${run.means[k].toFixed(3)}, `
        + `largest mean ${run.means[best].toFixed(3)} at threshold ${(best / 255).toFixed(2)}`);
    }
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `IoU over the threshold. ${texts.join(". ")}`);
    curves.replaceChildren(svg, element("figcaption", {}, `Line: this image; dashes: mean of all. ${texts.join(". ")}.`));
  };

  const update = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      if (!runs.length) return;
      const k = level(get("threshold")), picture = cache.get(row());
      const results = picture && picture.runs.map((run) => counts(picture.label, run.probability, k));
      if (picture) {
        for (const item of tiles) {
          draw(item, picture, k);
          const [caption, text] = describe(item, results);
          item.caption.textContent = caption;
          item.canvas.setAttribute("aria-label", text);
        }
      }
      images.value = get("image");
      for (const [control, trait] of [[threshold, "threshold"], [opacity, "opacity"]]) {
        control.input.value = get(trait);
        control.shown.textContent = get(trait).toFixed(2);
      }
      const values = runs.map((run) => `${score(run, row(), k).toFixed(3)} after ${run.name}`).join(", ");
      status.textContent = `${get("image")}, ${order.indexOf(row()) + 1} of ${order.length}: IoU ${values}`
        + (runs.length > 1 ? `, difference ${difference(row()) >= 0 ? "+" : "−"}${Math.abs(difference(row())).toFixed(3)}` : "")
        + ` at threshold ${get("threshold").toFixed(2)}`;
      tabulate(results, k);
      drawHistogram(k);
      drawCurves(k);
      root.dataset.painted = JSON.stringify([get("image"), k]);
    });
  };

  const say = () => { message.textContent = get("message"); message.hidden = !get("message"); };
  model.on("change:content", load);
  for (const name of ["studies", "study", "runs", "partners", "first", "second"]) model.on(`change:${name}`, fill);
  model.on("change:message", say);
  model.on("change:image", want);
  model.on("change:threshold", update);
  model.on("change:opacity", update);
  model.on("change:order", () => { orders.value = get("order"); sort(); update(); });
  model.on("change:views", () => { build(); update(); });
  say();
  load();
  return () => cancelAnimationFrame(frame);
}

export default { render };
