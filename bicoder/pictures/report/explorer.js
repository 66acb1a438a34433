// The latent explorer: a code under one's hand, and the picture that the decoder makes of it.

const SLIDERS = 20; // that are seen at once
const STOPS = 241; // of a slider, if pictures are decoded here

class Explorer {
  constructor(report, section) {
    this.report = report;
    this.find = (id) => section.querySelector(`#${id}`);
    this.code = report.mean.slice();
    this.base = this.code; // through which the plane goes
    this.row = report.beside ? 0 : -1;
    this.pins = [];
    this.moved = -1; // the dimension that was moved last, for what is drawn beforehand
    this.sliders = new Map();
    const drawn = report.views.find((view) => view.drawn)?.drawn;
    this.stops = report.decodes ? STOPS : drawn?.steps ?? 0;
    this.spans = this.spansOf(drawn);
    this.makePictures();
    this.makeSliders(report.decodes ? report.order : drawn?.dimensions ?? []);
    this.makeButtons();
    if (report.decodes && report.latent > 1) this.makePlane();
  }

  // From where to where each dimension goes: all codes that one can come to.
  spansOf(drawn) {
    const { report } = this, { latent, mean, deviation } = report;
    const reach = report.decodes ? REACH : drawn?.reach ?? 0;
    const low = mean.map((value, d) => value - reach * deviation[d]);
    const high = mean.map((value, d) => value + reach * deviation[d]);
    for (const codes of report.decodes ? [report.codes, report.priorCodes] : []) {
      for (let i = 0; i < codes.length; i++) {
        low[i % latent] = Math.min(low[i % latent], codes[i]);
        high[i % latent] = Math.max(high[i % latent], codes[i]);
      }
    }
    return { low, high };
  }

  makePictures() {
    const { views } = this.report, size = (innerWidth < 600 ? 140 : 252) / (views.length > 1 ? 2.25 : 1);
    this.canvases = views.map((view) => {
      const canvas = pictureCanvas(view, size, ["picture of the code", view.name].filter(Boolean).join(", "));
      const caption = [view.name, view.decoder ? "" : "drawn beforehand"].filter(Boolean).join(", ");
      const said = element("figcaption", {}, caption || "mean of p(x|z)");
      this.find("explored").append(element("figure", {}, canvas, said));
      return canvas;
    });
    const said = views.map((view) => this.why(view)).filter(Boolean);
    this.find("explorer-why").hidden = !said.length;
    this.find("explorer-why").textContent = said.map((one) => `${one[0].toUpperCase()}${one.slice(1)}.`).join(" ");
  }

  // What is to be said of the pictures of a view: of a decoder that is not here, or not quite the model's.
  why({ name, why, decoder, drawn }) {
    const beforehand = "pictures were drawn beforehand, one dimension at a time around the mean code";
    const said = [why, decoder ? "" : beforehand, drawn?.said].filter(Boolean).join("; ");
    return said && name ? `${name}: ${said}` : said;
  }

  makeSliders(dimensions) {
    const seen = this.report.decodes ? Math.min(SLIDERS, this.report.active || dimensions.length) : dimensions.length;
    this.find("sliders").append(...dimensions.slice(0, seen).flatMap((d) => this.makeSlider(d)));
    const rest = dimensions.slice(seen), more = this.find("more-sliders");
    if (!rest.length) return;
    more.hidden = false;
    more.querySelector("summary").textContent = `${rest.length} more`;
    more.addEventListener("toggle", () => { // hundreds of sliders are made when somebody wants them
      more.querySelector(".sliders").append(...rest.splice(0).flatMap((d) => this.makeSlider(d)));
      this.request();
    });
  }

  makeSlider(d) {
    const id = `slider-${d}`, worth = `${this.report.worthName} ${told(this.report.worth[d])}`;
    const label = element("label", { htmlFor: id }, `z${d + 1} `, element("small", {}, worth));
    const input = element("input", { type: "range", min: 0, max: this.stops - 1, step: 1, id });
    const output = element("output");
    input.addEventListener("input", () => this.slide(d, Number(input.value)));
    input.addEventListener("change", () => this.settle());
    this.sliders.set(d, { input, output });
    return [label, input, output];
  }

  slide(d, stop) {
    const { low, high } = this.spans, code = (this.report.decodes ? this.code : this.report.mean).slice();
    code[d] = low[d] + (stop / (this.stops - 1)) * (high[d] - low[d]);
    this.moved = d;
    this.pad?.leave(code);
    this.move(code);
  }

  // A slider has come to rest: the plane goes through this code.
  settle() {
    this.base = this.code;
    if (this.pad?.plane instanceof Square) this.pad.show(this.pad.plane);
  }

  makeButtons() {
    const { report } = this, { beside, prior } = report, choice = this.find("class"), draws = report.decodes;
    this.find("to-mean").addEventListener("click", () => this.start(report.mean.slice(), this.row, "the mean code"));
    this.find("to-pinned").addEventListener("click", () => this.fromPinned());
    this.find("to-prior").addEventListener("click", () => {
      const k = Math.floor(Math.random() * prior.count), code = report.priorCodes.subarray(k * report.latent);
      const row = prior.beside ? prior.beside[k] : this.row;
      this.start(code.slice(0, report.latent), row, "a code from the prior");
    });
    this.find("to-prior").hidden = !draws || !prior.count;
    this.find("to-pinned").hidden = !draws;
    if (!beside?.names || !draws) return;
    this.find("class-choice").hidden = false;
    for (const [row, name] of beside.names.entries()) choice.add(new Option(name, row));
    choice.addEventListener("change", () => {
      this.row = Number(choice.value);
      this.settle();
      this.request();
    });
  }

  makePlane() {
    const { report } = this, [across, up, kind] = ["plane-across", "plane-up", "plane-kind"].map(this.find);
    this.find("plane").hidden = false;
    for (const [select, first] of [[across, report.order[0]], [up, report.order[1]]]) {
      for (const d of report.order) select.add(new Option(`z${d + 1}`, d));
      select.value = first;
      select.addEventListener("change", () => this.showPlane());
    }
    kind.addEventListener("change", () => this.showPlane());
    this.pad = new Pad(this, this.find("pad"), this.find("plane-said"));
  }

  // The plane that is chosen; the one between pins only as long as there are three of them.
  showPlane() {
    if (!this.pad) return;
    const kind = this.find("plane-kind"), [, between] = kind.options, three = this.pins.slice(-3);
    between.disabled = three.length < 3;
    if (between.disabled) kind.value = "dimensions";
    this.find("plane-axes").hidden = kind.value !== "dimensions";
    const [across, up] = ["plane-across", "plane-up"].map((id) => Number(this.find(id).value));
    const square = kind.value === "dimensions";
    this.pad.show(square ? new Square(this.report, across, up) : new Triangle(this.report, three));
  }

  // Pins have come or gone: what is explored starts from the last one, if it has changed.
  pinned(pins) {
    const before = this.pins.at(-1)?.i;
    this.pins = [...pins];
    if (pins.length && pins.at(-1).i !== before) this.fromPinned();
    else this.showPlane();
  }

  fromPinned() {
    const last = this.pins.at(-1);
    if (!last) return;
    const { report } = this;
    this.start(report.code(last.i), report.besideOf(last.i), `${report.name(last.i)} (${last.letter})`);
  }

  start(code, row, name) {
    if (!this.report.decodes) [code, name] = [this.report.mean.slice(), "the mean code"];
    Object.assign(this, { row, moved: -1, base: code });
    this.find("explored-from").textContent = `starts from ${name}`;
    if (this.report.beside?.names) this.find("class").value = row;
    this.move(code);
    this.showPlane();
  }

  move(code) {
    this.code = code;
    this.request();
  }

  request() {
    onFrame("explorer", () => this.draw());
  }

  draw() {
    for (const [v, canvas] of this.canvases.entries()) {
      const view = this.report.views[v];
      if (view.decoder) paintDecoded(this.report, canvas, view, this.code, this.row);
      else if (view.drawn) paintTile(canvas, view, view.drawn.sheet, view.drawn.columns, this.drawnTile(view.drawn));
    }
    const { low, high } = this.spans;
    for (const [d, { input, output }] of this.sliders) {
      const share = (this.code[d] - low[d]) / (high[d] - low[d] || 1);
      input.value = Math.round(share * (this.stops - 1));
      output.textContent = told(this.code[d]);
      input.setAttribute("aria-valuetext", output.textContent);
    }
    this.pad?.draw();
  }

  // The tile nearest to the code: of the dimension that was moved last, if there are pictures of it.
  drawnTile({ dimensions, steps, reach }) {
    const row = Math.max(0, dimensions.indexOf(this.moved)), d = dimensions[row], half = (steps - 1) / 2;
    const away = dimensions.includes(this.moved) ? (this.code[d] - this.report.mean[d]) / this.report.deviation[d] : 0;
    return row * steps + Math.min(steps - 1, Math.max(0, Math.round(half + (half * away) / reach)));
  }
}
