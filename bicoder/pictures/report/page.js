// What moves in the report: pins, lists of images, strips of pictures, and how they go together.

const MOST_PINS = 8, WORST = 20, MOST_LISTED = 40;
const MOST_DIMENSIONS = 10, MOST_ROWS = 20; // of traversals; each view has a row of its own
const FARTHEST = 2.5, STEPS = 11; // standard deviations to the ends of a row, and pictures in it
const WAY = 9; // pictures of an interpolation

// The images that stay side by side, each with a letter that the map shows too.
class Pins {
  constructor(report, list, changed) {
    Object.assign(this, { report, list, changed, all: [] });
  }

  // The last one pinned is the last of all; of too many, the first goes.
  pin(i) {
    const old = this.all.find((pin) => pin.i === i);
    if (old) this.all.splice(this.all.indexOf(old), 1);
    const first = !old && this.all.length === MOST_PINS ? this.all.shift() : null;
    first?.card.remove();
    const letter = old?.letter ?? [..."ABCDEFGH"].find((one) => this.all.every((pin) => pin.letter !== one));
    const pin = old ?? { i, letter, card: this.card(i, letter) };
    this.all.push(pin);
    this.list.append(pin.card);
    this.changed(`Pinned ${letter}: ${this.report.name(i)}${first ? `; ${first.letter} has gone` : ""}`);
  }

  remove(i) {
    const at = this.all.findIndex((pin) => pin.i === i), [{ card, letter }] = this.all.splice(at, 1);
    card.remove();
    this.changed(`${letter} is taken away`);
    const next = this.all[Math.min(at, this.all.length - 1)]?.card.querySelector("button");
    (next ?? document.getElementById("map")).focus();
  }

  card(i, letter) {
    const { report } = this, away = element("button", { type: "button", title: `take ${letter} away` }, "×");
    away.setAttribute("aria-label", `take ${letter}, ${report.name(i)}, away`);
    away.addEventListener("click", () => this.remove(i));
    const head = element("p", {}, element("b", {}, letter), ` ${report.name(i)}`, away);
    const pair = new Pair(report, report.views.length > 1 ? 56 : 84).show(i);
    return element("li", {}, head, pair.element, element("p", {}, report.measured(i).join("\n")));
  }
}

// Images to choose from, such as the worst: each is a button that pins it.
class Listed {
  constructor(report, box, pin) {
    Object.assign(this, { report, box, pin });
  }

  show(title, points) {
    this.box.hidden = !points.length;
    this.box.querySelector("h3").textContent = title;
    const buttons = points.map((i) => this.button(i));
    this.box.querySelector(".strip").replaceChildren(...buttons.map(({ button }) => button));
    later("listed", (function* () {
      for (const { pair, i } of buttons) yield pair.show(i);
    })());
  }

  button(i) {
    const { report } = this, pair = new Pair(report, 56), all = [report.name(i), ...report.measured(i)];
    const text = element("small", {}, `${report.rows[i]}: ${told(report.measures[0]?.values[i])}`);
    const button = element("button", { type: "button", title: all.join("\n") }, pair.element, text);
    button.setAttribute("aria-label", `pin ${all.join(", ")}`);
    button.addEventListener("click", () => this.pin(i));
    return { button, pair, i };
  }
}

// Rows of pictures with a name each and heads over some columns, drawn when there is time; then the picture that stood
// there before goes.
class Strips {
  constructor(report, section, columns, heads) {
    Object.assign(this, { report, columns, views: report.views.filter((view) => view.decoder) });
    [this.key, this.said, this.rows] = [section.id, section.querySelector(".of"), section.querySelector(".rows")];
    this.before = document.getElementById(`${section.id}-picture`)?.closest("figure");
    this.heads = heads;
    this.canvases = [];
  }

  // Make the rows, named; of several views, one for each of them.
  make(names) {
    const all = names.flatMap((name) => this.views.map((view) => [view.name ? `${name}, ${view.name}` : name, view]));
    this.canvases = all.map(([name, view]) => this.canvas(view, name));
    const texts = Array.from({ length: this.columns }, (_, column) => element("span", {}, this.heads[column] ?? ""));
    const heads = element("div", { className: "heads" }, ...texts);
    const cells = all.flatMap(([name], r) => [element("span", {}, name), this.canvases[r]]);
    this.rows.replaceChildren(element("span"), heads, ...cells);
  }

  canvas(view, name) {
    const canvas = pictureCanvas(view, 56, name), width = this.columns * (view.width + 1) - 1;
    canvas.style.width = `${(parseFloat(canvas.style.width) / view.width) * width}px`;
    canvas.width = width;
    return canvas;
  }

  // Draw anew: `paint(row, column, canvas, view, left)` paints one picture.
  draw(said, paint) {
    this.said.textContent = said;
    later(this.key, this.pictures(paint));
  }

  * pictures(paint) {
    for (const [r, canvas] of this.canvases.entries()) {
      const view = this.views[r % this.views.length], row = Math.floor(r / this.views.length);
      for (let c = 0; c < this.columns; c++) yield paint(row, c, canvas, view, c * (view.width + 1));
    }
    this.rows.hidden = this.said.hidden = false;
    if (this.before) this.before.hidden = true;
  }
}

// What each dimension does to the image that was pinned last.
function traversals(report, section) {
  const most = Math.min(MOST_DIMENSIONS, Math.ceil(MOST_ROWS / report.views.length));
  const dimensions = report.order.slice(0, Math.min(most, report.active)), { mean, deviation } = report;
  if (!dimensions.length) return () => {};
  const heads = { 0: `−${FARTHEST}`, [(STEPS - 1) / 2]: "0", [STEPS - 1]: `${FARTHEST}` };
  const strips = new Strips(report, section, STEPS, heads);
  strips.make(dimensions.map((d) => `z${d + 1}, ${report.worthName} ${told(report.worth[d])}`));
  return (pins) => {
    const pin = pins.at(-1);
    if (!pin) return;
    strips.draw(`${report.name(pin.i)} (${pin.letter})`, (row, column, canvas, view, left) => {
      const code = report.code(pin.i), d = dimensions[row], away = FARTHEST * ((2 * column) / (STEPS - 1) - 1);
      code[d] = mean[d] + away * deviation[d];
      paintDecoded(report, canvas, view, code, report.besideOf(pin.i), left);
    });
  };
}

function straight(a, b, t) {
  return a.map((value, d) => (1 - t) * value + t * b[d]);
}

// (sin((1 - t) w) a + sin(t w) b) / sin(w), with w the angle between a and b; where there is no arc, straight.
function spherical(a, b, t) {
  const dot = (one, other) => one.reduce((sum, value, d) => sum + value * other[d], 0);
  const lengths = Math.sqrt(dot(a, a) * dot(b, b)), cosine = lengths > 0 ? dot(a, b) / lengths : 1;
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine))), sine = Math.sin(angle);
  if (sine <= 1e-4) return straight(a, b, t);
  return a.map((value, d) => (Math.sin((1 - t) * angle) * value + Math.sin(t * angle) * b[d]) / sine);
}

// The ways from one of the last two pins to the other, between their test images.
function interpolation(report, section) {
  const ways = report.latent > 1 ? { straight, spherical } : { straight };
  const heads = { 0: "x", 1: "0", [(WAY + 1) / 2]: "share of the way", [WAY]: "1", [WAY + 1]: "x" };
  const strips = new Strips(report, section, WAY + 2, heads);
  strips.make(Object.keys(ways));
  return (pins) => {
    if (pins.length < 2) return;
    const [first, last] = pins.slice(-2), row = report.besideOf(first.i), other = report.besideOf(last.i);
    const [a, b] = [first, last].map(({ i }) => report.code(i)), way = Object.values(ways);
    const given = row === other ? "" : "; all the way the model is told what it is told of the first";
    const said = [first, last].map(({ i, letter }) => `${report.name(i)} (${letter})`).join(" to ") + given;
    strips.draw(said, (r, column, canvas, view, left) => {
      if (column === 0) paintOriginal(report, canvas, view, first.i, left);
      else if (column === WAY + 1) paintOriginal(report, canvas, view, last.i, left);
      else paintDecoded(report, canvas, view, way[r](a, b, (column - 1) / (WAY - 1)), row, left);
    });
  };
}

// The choice of what colours the map, by the select or by a bar of the dimension.
class Colours {
  constructor(report, map, legend) {
    Object.assign(this, { report, map, legend, select: document.getElementById("colour") });
    this.bars = [...document.querySelectorAll("#kl button")];
    this.choices = new Map();
    if (report.labels) this.add("label", "label", () => byLabel(report), this.select);
    for (const [k, { name, unit, values }] of report.measures.entries()) {
      this.add(`measure-${k}`, name, () => byValue(values, name, unit), this.select);
    }
    const group = element("optgroup", { label: "dimension" });
    this.select.append(group);
    for (const d of report.order) this.add(`dimension-${d}`, `z${d + 1}`, () => this.byDimension(d), group);
    this.select.addEventListener("change", () => this.choose(this.select.value));
    this.first = this.select.options[0].value;
    for (const bar of this.bars) {
      const key = `dimension-${bar.dataset.dimension}`;
      bar.addEventListener("click", () => this.choose(this.select.value === key ? this.first : key));
    }
    this.choose(this.first);
  }

  add(key, name, colouring, parent) {
    parent.append(new Option(name, key));
    this.choices.set(key, colouring);
  }

  byDimension(d) {
    const { codes, latent, rows } = this.report;
    return byValue(Float32Array.from(rows, (_, i) => codes[i * latent + d]), `z${d + 1}`, "");
  }

  choose(key) {
    const colouring = this.choices.get(key)();
    this.select.value = key;
    this.map.show(colouring);
    this.legend.replaceChildren(...(colouring.scale ? this.scale(colouring) : this.classes(colouring)));
    for (const bar of this.bars) bar.setAttribute("aria-pressed", `dimension-${bar.dataset.dimension}` === key);
  }

  // A button for each class, which shows it alone.
  classes({ styles }) {
    const ink = getComputedStyle(this.legend).color;
    const buttons = styles.map((style, k) => {
      const { canvas, half } = stamp(style, 5.5, 2, ink);
      const button = element("button", { type: "button" }, canvas, style.name);
      canvas.style.width = `${2 * half}px`;
      button.setAttribute("aria-pressed", false);
      button.addEventListener("click", () => {
        this.map.only = this.map.only === k ? -1 : k;
        for (const [other, one] of buttons.entries()) one.setAttribute("aria-pressed", this.map.only === other);
        this.map.redraw();
      });
      return button;
    });
    return buttons;
  }

  scale({ scale: { low, high, name, unit } }) {
    const canvas = element("canvas", { width: LEVELS, height: 1, className: "scale" });
    const context = canvas.getContext("2d");
    for (let i = 0; i < LEVELS; i++) {
      context.fillStyle = viridis(i / (LEVELS - 1));
      context.fillRect(i, 0, 1, 1);
    }
    return [`${name}${unit ? `, ${unit}` : ""}: ${told(low)} or less `, canvas, ` ${told(high)} or more`];
  }
}

// Everything of the map and around it.
class Page {
  constructor(report) {
    const find = (id) => document.getElementById(id), sections = { traversals, interpolation };
    this.report = report;
    this.said = find("said");
    find("pins").classList.toggle("several", report.views.length > 1);
    this.pins = new Pins(report, find("pins"), (said) => this.changed(said));
    this.map = new LatentMap(report, find("map"), {
      look: (i, aloud) => this.look(i, aloud), pin: (i) => this.pins.pin(i),
    });
    this.tooltip = new Tooltip(report, find("tooltip"), this.map);
    this.colours = new Colours(report, this.map, find("legend"));
    this.listed = new Listed(report, find("listed"), (i) => this.pins.pin(i));
    this.explorer = new Explorer(report, find("explorer"));
    const there = Object.keys(sections).filter((id) => find(id) && report.decodes);
    this.strips = there.map((id) => sections[id](report, find(id)));
    this.listen(find);
  }

  listen(find) {
    find("worst").hidden = !this.report.measures.length;
    find("worst").textContent = `the ${Math.min(WORST, this.report.count)} worst`;
    find("worst").addEventListener("click", () => this.showWorst());
    find("whole").addEventListener("click", () => this.map.whole());
    find("nearer").addEventListener("click", () => this.map.zoom(1.4));
    find("farther").addEventListener("click", () => this.map.zoom(1 / 1.4));
    find("search").addEventListener("keydown", (event) => event.key === "Enter" && this.search(find("search").value));
    find("find").addEventListener("click", () => this.search(find("search").value));
    find("search").placeholder = this.report.names ? "number or file" : "number";
  }

  changed(said) {
    this.said.textContent = said;
    document.getElementById("no-pins").hidden = this.pins.all.length > 0;
    this.map.pins = this.pins.all;
    this.map.remark();
    this.explorer.pinned(this.pins.all);
    for (const show of this.strips) show(this.pins.all);
  }

  look(i, aloud) {
    this.tooltip.show(i);
    if (aloud && i >= 0) this.said.textContent = [this.report.name(i), ...this.report.measured(i)].join(", ");
  }

  // The worst, in a list and with a ring on the map; once more, and they are gone.
  showWorst() {
    const button = document.getElementById("worst"), shown = button.getAttribute("aria-pressed") === "true";
    const points = shown ? [] : this.report.worstFirst.slice(0, WORST), { name } = this.report.measures[0];
    button.setAttribute("aria-pressed", !shown);
    this.listed.show(`The ${points.length} worst, of the lowest ${name}`, points);
    this.map.worst = points;
    this.map.remark();
  }

  search(text) {
    const wanted = text.trim(), points = wanted ? this.report.found(wanted) : [], { count, noun } = this.report;
    if (!wanted) return;
    if (points.length === 1) {
      this.map.lookAt(points[0], true);
      this.pins.pin(points[0]);
    } else if (points.length) {
      this.listed.show(`${points.length} with “${wanted}” in their names`, points.slice(0, MOST_LISTED));
    }
    if (points.length !== 1) {
      const among = `the ${count.toLocaleString("en")} of the map`;
      this.said.textContent = points.length ? `${points.length} found` : `No ${noun} “${wanted}” among ${among}`;
    }
  }

  // Two images, so that there is something to see: of two classes, or, if the model is told the class, of one.
  begin() {
    const { report } = this, kinds = report.beside ? report.beside.of : report.labels, same = Boolean(report.beside);
    const fits = (i) => i > 0 && (!kinds || (kinds[i] === kinds[0]) === same);
    const second = report.rows.findIndex((_, i) => fits(i));
    for (const i of [second, 0]) if (i >= 0 && i < report.count) this.pins.pin(i);
    this.said.textContent = "";
  }
}

async function begin() {
  const block = document.getElementById("data");
  if (block) {
    const report = new Report(JSON.parse(block.textContent));
    await Promise.allSettled(report.sheets.map((sheet) => sheet.decode()));
    for (const element of document.querySelectorAll(".live")) element.hidden = false;
    const page = new Page(report), decode = (z, row = 0, view = 0) => report.decode(report.views[view], z, row);
    page.begin();
    const waiting = () => jobs.size + thisFrame.size; // what is still to be drawn
    globalThis.bicoder = { page, report, decode, codes: report.codes, waiting };
  }
  onFrame("ready", () => {
    document.body.dataset.ready = "yes";
    performance.mark("ready");
  });
}

begin();
