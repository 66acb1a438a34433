// What the page knows of the run, and how one example becomes a picture on a canvas.

function floats(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

// An element with these properties and children. A text among them stays text, whatever is in it.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A number in as many digits as are of interest in a code or a measure of one image.
function told(value) {
  if (!Number.isFinite(value)) return "not known";
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(size < 0.1 ? 3 : 2);
}

// The lowest and the highest of the numbers, without those that are NaN.
function ends(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// The data block of the page. Text in it comes from outside: it is only ever set as text, never as markup.
class Report {
  constructor(block) {
    Object.assign(this, block);
    for (const name of ["codes", "points", "mean", "deviation"]) this[name] = floats(block[name]);
    this.measures = block.measures.map((measure) => ({ ...measure, values: floats(measure.values) }));
    this.priorCodes = floats(block.prior.codes);
    this.besideRows = block.beside ? floats(block.beside.values) : null;
    this.decoded = 0; // pictures, for tests
    const weights = floats(block.weights);
    for (const view of this.views) {
      view.sheet = document.getElementById(view.sheet);
      view.decoder = view.program ? makeDecoder(view.program, weights) : null;
      if (view.drawn) view.drawn.sheet = document.getElementById(view.drawn.sheet);
    }
    this.noun = this.views.length > 1 ? "example" : "image";
    this.byNumber = new Map(this.rows.map((row, i) => [row, i]));
  }

  get sheets() {
    return this.views.flatMap((view) => [view.sheet, view.drawn?.sheet]).filter(Boolean);
  }

  get decodes() {
    return this.views.some((view) => view.decoder);
  }

  code(i) {
    return this.codes.slice(i * this.latent, (i + 1) * this.latent);
  }

  // The row of `beside` that the model was told of an image; -1 if it is told nothing.
  besideOf(i) {
    return this.beside ? this.beside.of[i] : -1;
  }

  // The mean of p(x|z), or of p(x|z, y) with y the row of `beside`.
  decode(view, code, row) {
    this.decoded++;
    if (!this.beside) return view.decoder(code);
    const { width } = this.beside, whole = new Float32Array(this.latent + width);
    whole.set(code);
    whole.set(this.besideRows.subarray(row * width, (row + 1) * width), this.latent);
    return view.decoder(whole);
  }

  nameOfLabel(label) {
    return label < 0 ? "no label" : String(this.labelNames?.[label] ?? label);
  }

  name(i) {
    const file = this.names?.[i];
    const label = this.labels ? `, label ${this.nameOfLabel(this.labels[i])}` : "";
    return `${this.noun} ${this.rows[i]}${file ? `, ${file}` : ""}${label}`;
  }

  measured(i) {
    return this.measures.map(({ name, unit, values }) => `${name} ${told(values[i])}${unit ? ` ${unit}` : ""}`);
  }

  // The points, those of the lowest first measure first; what is NaN is worse than anything.
  get worstFirst() {
    const values = this.measures[0].values, rank = (i) => (Number.isNaN(values[i]) ? -Infinity : values[i]);
    return Array.from(values.keys()).sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : a - b));
  }

  // The points whose image has this number, or this in its file name.
  found(text) {
    const number = /^\d+$/.test(text) ? this.byNumber.get(Number(text)) : undefined;
    if (number !== undefined) return [number];
    const low = text.toLowerCase(), all = (this.names ?? []).map((name, i) => [name, i]);
    const exact = all.filter(([name]) => name === text);
    return (exact.length ? exact : all.filter(([name]) => name?.toLowerCase().includes(low))).map(([, i]) => i);
  }
}

// A canvas that shows a picture of a view, small ones at a whole factor, so that all pixels are of one size.
function pictureCanvas(view, size, title) {
  const canvas = element("canvas", { width: view.width, height: view.height, className: "picture" });
  const longest = Math.max(view.width, view.height), times = size / longest;
  const factor = times >= 1 ? Math.floor(times) : times;
  canvas.classList.toggle("shrunk", factor < 1);
  canvas.style.width = `${view.width * factor}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", title);
  return canvas;
}

// Values (height, width, channels) as red, green, blue and opacity, as the pictures of a run show them: of two channels
// the first, of more than four the first three.
function asPixels(view, values) {
  const { height, width, channels } = view, pixels = new ImageData(width, height), { data } = pixels;
  const [red, green, blue] = channels < 3 ? [0, 0, 0] : [0, 1, 2];
  for (let i = 0, from = 0, to = 0; i < height * width; i++, from += channels, to += 4) {
    data[to] = 255 * values[from + red];
    data[to + 1] = 255 * values[from + green];
    data[to + 2] = 255 * values[from + blue];
    data[to + 3] = channels === 4 ? 255 * values[from + 3] : 255;
  }
  return pixels;
}

// Paint tile `i` of a sheet at (left, top) of a canvas, or clear that place if there is no such tile.
function paintTile(canvas, view, sheet, columns, i, left = 0, top = 0) {
  const { height, width } = view, context = canvas.getContext("2d");
  context.clearRect(left, top, width, height);
  const x = (i % columns) * width, y = Math.floor(i / columns) * height;
  if (sheet?.naturalWidth) context.drawImage(sheet, x, y, width, height, left, top, width, height);
}

// The test image of a point; whether there is one.
function paintOriginal(report, canvas, view, i, left = 0, top = 0) {
  const there = i < report.pictured;
  if (there) paintTile(canvas, view, view.sheet, report.columns, i, left, top);
  else canvas.getContext("2d").clearRect(left, top, view.width, view.height);
  return there;
}

function paintDecoded(report, canvas, view, code, row, left = 0, top = 0) {
  canvas.getContext("2d").putImageData(asPixels(view, report.decode(view, code, row)), left, top);
}

// What the model makes of the image of a point: decoded here, or drawn beforehand for the first points.
function paintReconstruction(report, canvas, view, i) {
  if (view.decoder) paintDecoded(report, canvas, view, report.code(i), report.besideOf(i));
  const { drawn } = view, there = Boolean(view.decoder) || i < (drawn?.reconstructions ?? 0);
  if (view.decoder) return true;
  if (there) paintTile(canvas, view, drawn.sheet, drawn.columns, drawn.dimensions.length * drawn.steps + i);
  else canvas.getContext("2d").clearRect(0, 0, view.width, view.height);
  return there;
}

// The test image of a point beside its reconstruction; of several views, above it.
class Pair {
  constructor(report, size) {
    this.report = report;
    this.element = element("div", { className: report.views.length > 1 ? "pair several" : "pair" });
    this.canvases = report.views.map((view) => this.add(view, size));
  }

  add(view, size) {
    const several = this.report.views.length > 1;
    const captions = several ? { x: "", reconstruction: view.name } : { x: "x", reconstruction: "reconstruction" };
    const figures = Object.entries(captions).map(([what, caption]) => {
      const canvas = pictureCanvas(view, size, view.name ? `${what} of ${view.name}` : what);
      return element("figure", {}, canvas, element("figcaption", {}, caption));
    });
    this.element.append(element("div", {}, ...figures));
    return figures.map((figure) => figure.firstChild);
  }

  show(i) {
    for (const [index, [original, reconstruction]] of this.canvases.entries()) {
      const view = this.report.views[index];
      const seen = paintOriginal(this.report, original, view, i);
      const made = paintReconstruction(this.report, reconstruction, view, i);
      for (const [canvas, there] of [[original, seen], [reconstruction, made]]) {
        canvas.classList.toggle("absent", !there);
        canvas.title = there ? "" : "not in this file, which has pictures of the first points alone";
      }
    }
    return this;
  }
}

// What is asked for within one frame is drawn once, at its end: never more than one picture of a kind in a frame.
const thisFrame = new Map();
function onFrame(name, draw) {
  if (!thisFrame.size) requestAnimationFrame(drawFrame);
  thisFrame.set(name, draw);
}

function drawFrame() {
  const all = [...thisFrame.values()];
  thisFrame.clear();
  for (const draw of all) draw();
}

// Pictures that can wait are drawn while nothing else is to be done. A job is an iterator that draws a picture a step;
// a new job of a name takes the place of the old one.
const jobs = new Map();

// Safari has no requestIdleCallback: half of the time, then.
function whenIdle(work) {
  if (globalThis.requestIdleCallback) return requestIdleCallback(work);
  return setTimeout(() => {
    const end = performance.now() + 8;
    work({ timeRemaining: () => end - performance.now() });
  }, 16);
}

function later(name, job) {
  if (!jobs.size) whenIdle(drawSome);
  jobs.set(name, job);
}

function drawSome(deadline) {
  do {
    const [name, job] = jobs.entries().next().value;
    if (job.next().done) jobs.delete(name);
  } while (jobs.size && deadline.timeRemaining() > 2);
  if (jobs.size) whenIdle(drawSome);
}
