// Planes through the latent space, and a pad on which one moves in them.

const REACH = 3; // standard deviations of the codes from their mean to the edges of the plane
const PLANE_TILES = 7, TRIANGLE_STEPS = 4; // pictures along a side of the plane and of the triangle

// The plane through the code along two of its dimensions. Places in it are (x, y) in [0, 1], y downwards.
class Square {
  constructor(report, across, up) {
    Object.assign(this, { report, across, up });
  }

  ends(dimension) {
    const reach = REACH * (this.report.deviation[dimension] || 1), middle = this.report.mean[dimension];
    return [middle - reach, middle + reach];
  }

  code([x, y], base) {
    const code = base.slice();
    for (const [dimension, share] of [[this.across, x], [this.up, 1 - y]]) {
      const [low, high] = this.ends(dimension);
      code[dimension] = low + share * (high - low);
    }
    return code;
  }

  // Where a code is in the plane.
  placeOf(code) {
    const share = (dimension) => {
      const [low, high] = this.ends(dimension);
      return (code[dimension] - low) / (high - low);
    };
    return [share(this.across), 1 - share(this.up)];
  }

  inside(place) {
    return place.map((share) => Math.min(1, Math.max(0, share)));
  }

  get tiles() {
    const at = Array.from({ length: PLANE_TILES }, (_, i) => (i + 0.5) / PLANE_TILES);
    return at.flatMap((y) => at.map((x) => [x, y]));
  }

  get size() {
    return 1 / PLANE_TILES;
  }

  told(place, code) {
    return [this.across, this.up].map((d) => `z${d + 1} ${told(code[d])}`).join(", ");
  }
}

// The plane through the codes of three pinned images: a code is their mean, weighted by how near the place is to each.
class Triangle {
  constructor(report, pins) {
    Object.assign(this, { report, pins });
    this.codes = pins.map(({ i }) => report.code(i));
    this.corners = [[0.5, 0.1], [0.1, 0.86], [0.9, 0.86]];
  }

  // Barycentric coordinates of a place; outside of the triangle, those of a place on its edge.
  weights([x, y]) {
    const [[ax, ay], [bx, by], [cx, cy]] = this.corners, area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
    const a = ((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area;
    const b = ((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area;
    const positive = [a, b, 1 - a - b].map((weight) => Math.max(0, weight));
    const total = positive[0] + positive[1] + positive[2];
    return positive.map((weight) => weight / total);
  }

  at(weights) {
    return [0, 1].map((axis) => weights.reduce((sum, weight, k) => sum + weight * this.corners[k][axis], 0));
  }

  inside(place) {
    return this.at(this.weights(place));
  }

  code(place) {
    const weights = this.weights(place);
    return Float32Array.from(this.codes[0], (_, d) => weights.reduce((sum, w, k) => sum + w * this.codes[k][d], 0));
  }

  get tiles() {
    const steps = [...Array(TRIANGLE_STEPS + 1).keys()];
    const weights = steps.flatMap((a) => steps.slice(0, TRIANGLE_STEPS + 1 - a).map((b) => [a, b]));
    return weights.map(([a, b]) => this.at([a, b, TRIANGLE_STEPS - a - b].map((w) => w / TRIANGLE_STEPS)));
  }

  get size() {
    return 0.16;
  }

  told(place) {
    const shares = this.weights(place).map((weight) => Math.round(100 * weight));
    return this.pins.map(({ letter }, k) => `${letter} ${shares[k]} %`).join(", ");
  }
}

// A plane under one's hand, over pictures of it that are drawn when there is time.
class Pad {
  constructor(explorer, canvas, said) {
    Object.assign(this, { explorer, canvas, said });
    this.behind = element("canvas");
    this.view = explorer.report.views.find((view) => view.decoder); // whose pictures are behind
    this.place = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.follow(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && this.follow(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(plane) {
    this.plane = plane;
    this.leave(this.explorer.code);
    const ratio = devicePixelRatio || 1, side = Math.round(this.canvas.clientWidth * ratio) || 300;
    for (const canvas of [this.canvas, this.behind]) canvas.width = canvas.height = side;
    later("plane", this.pictures(plane));
    this.draw();
  }

  * pictures(plane) {
    const { report, base, row } = this.explorer, { view } = this;
    const one = pictureCanvas(view, 1, ""), context = this.behind.getContext("2d"), side = this.behind.width;
    const longest = Math.max(view.width, view.height);
    const [width, height] = [view.width, view.height].map((pixels) => (0.94 * plane.size * side * pixels) / longest);
    context.imageSmoothingEnabled = false;
    for (const place of plane.tiles) {
      paintDecoded(report, one, view, plane.code(place, base), row);
      context.drawImage(one, place[0] * side - width / 2, place[1] * side - height / 2, width, height);
      onFrame("pad", () => this.draw());
      yield;
    }
  }

  draw() {
    const context = this.canvas.getContext("2d"), side = this.canvas.width, style = getComputedStyle(this.canvas);
    const [ink, panel] = [style.color, style.getPropertyValue("--back")];
    context.clearRect(0, 0, side, side);
    context.drawImage(this.behind, 0, 0);
    if (this.plane instanceof Triangle) this.drawLetters(context, side, ink, panel);
    if (!this.place) return;
    for (const [colour, wide] of [[panel, 0.02], [ink, 0.01]]) {
      context.beginPath();
      context.arc(this.place[0] * side, this.place[1] * side, 0.028 * side, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colour, lineWidth: wide * side });
      context.stroke();
    }
  }

  drawLetters(context, side, ink, panel) {
    context.font = `bold ${0.055 * side}px system-ui, sans-serif`;
    Object.assign(context, { textAlign: "center", strokeStyle: panel, fillStyle: ink, lineWidth: 0.015 * side });
    for (const [k, [x, y]] of this.plane.corners.entries()) {
      const at = [x * side, (k ? y + 0.13 : y - 0.01 + 0.13) * side];
      context.strokeText(this.plane.pins[k].letter, ...at);
      context.fillText(this.plane.pins[k].letter, ...at);
    }
  }

  follow(event) {
    const box = this.canvas.getBoundingClientRect();
    this.go([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  }

  key(event) {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = this.place ?? (this.plane.corners ? this.plane.at([1 / 3, 1 / 3, 1 / 3]) : [0.5, 0.5]);
    this.go([x + 0.02 * way[0], y + 0.02 * way[1]]);
  }

  go(place) {
    this.place = this.plane.inside(place);
    const code = this.plane.code(this.place, this.explorer.base);
    this.say(code);
    this.explorer.move(code);
  }

  say(code) {
    const behind = this.explorer.report.views.length > 1 ? `pictures of ${this.view.name}` : "";
    const place = this.place ? this.plane.told(this.place, code) : "";
    this.said.textContent = [place, behind].filter(Boolean).join("; ");
  }

  // The code was moved from elsewhere.
  leave(code) {
    if (!this.plane) return;
    this.place = this.plane instanceof Square ? this.plane.placeOf(code) : null;
    this.say(code);
  }
}
