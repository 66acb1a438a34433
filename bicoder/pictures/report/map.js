// The latent map: a point for each test image. All points are drawn once, into a picture of their own; a mark that
// moves is drawn over it.

const FARTHEST_ZOOM = 60;
const LISTENED = ["pointermove", "pointerdown", "pointerup", "pointercancel", "pointerleave", "wheel", "keydown"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Round numbers from `low` to `high`, about as many as wanted.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
  const first = Math.ceil(low / step), digits = Math.max(0, -Math.floor(Math.log10(step)));
  if (!(step > 0) || !Number.isFinite(first)) return [];
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => [(first + i) * step, ((first + i) * step).toFixed(digits)]);
}

class LatentMap {
  constructor(report, canvas, { look, pin }) {
    Object.assign(this, { report, canvas, look, pin });
    this.colouring = plain(report.count);
    this.only = -1; // the style that is shown alone
    this.mark = -1; // the point that is looked at
    this.pins = [];
    this.worst = [];
    this.zoomed = { times: 1, x: 0, y: 0 };
    this.screen = new Float32Array(2 * report.count);
    this.picture = element("canvas");
    this.measure();
    this.fingers = new Map();
    for (const name of LISTENED) {
      canvas.addEventListener(name, (event) => this[name](event), { passive: false });
    }
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // The middle of the points and how far they reach; a direction without a unit fills its side.
  measure() {
    const { points, axes } = this.report, is = (odd) => points.filter((_, i) => i % 2 === odd);
    const [left, right] = ends(is(0)), [bottom, top] = ends(is(1));
    this.centre = [(left + right) / 2 || 0, (bottom + top) / 2 || 0];
    this.reach = [right - left || 1, top - bottom || 1];
    this.alike = !axes.length || Boolean(axes[1]);
    this.margin = axes.length ? { left: axes[1] ? 44 : 10, bottom: 34 } : { left: 0, bottom: 0 };
  }

  // Where the points are on the screen, for the size that the canvas has now.
  place() {
    const { width, height } = this.canvas.getBoundingClientRect(), { left, bottom } = this.margin;
    const { times } = this.zoomed;
    this.size = { width, height, middleX: (left + width) / 2, middleY: (height - bottom) / 2 };
    const scales = [(width - left) / this.reach[0], (height - bottom) / this.reach[1]].map((scale) => scale / 1.08);
    if (this.alike) scales.fill(Math.min(...scales));
    this.scales = scales.map((scale) => scale * times);
    for (let i = 0; i < this.report.count; i++) {
      this.screen[2 * i] = this.onScreen(0, this.report.points[2 * i]);
      this.screen[2 * i + 1] = this.onScreen(1, this.report.points[2 * i + 1]);
    }
    const base = Math.sqrt(Math.min(40, Math.max(14, 50000 / this.report.count))); // as latent.png has it
    this.radius = Math.min(9, 0.72 * base * times ** 0.4);
  }

  redraw() {
    const ratio = devicePixelRatio || 1;
    this.place();
    if (!this.size.width) return;
    for (const canvas of [this.canvas, this.picture]) {
      canvas.width = Math.round(this.size.width * ratio);
      canvas.height = Math.round(this.size.height * ratio);
    }
    const style = getComputedStyle(this.canvas);
    this.inks = { text: style.color, soft: style.getPropertyValue("--soft"), panel: style.getPropertyValue("--back") };
    this.drawPoints(this.picture.getContext("2d"), ratio);
    this.drawMarks();
  }

  drawPoints(context, ratio) {
    const { styles, of } = this.colouring, { width, height } = this.size, { left, bottom } = this.margin;
    const stamps = styles.map((style) => stamp(style, this.radius, ratio, this.inks.text));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.report.axes.length) this.drawAxes(context);
    context.save();
    context.beginPath();
    context.rect(left, 0, width - left, height - bottom);
    context.clip();
    for (let i = 0; i < this.report.count; i++) {
      const { canvas, half } = stamps[of[i]], x = this.screen[2 * i] - half, y = this.screen[2 * i + 1] - half;
      context.globalAlpha = this.only < 0 || this.only === of[i] ? 0.8 : 0.08;
      context.drawImage(canvas, x, y, canvas.width / ratio, canvas.height / ratio);
    }
    context.restore();
  }

  // Where a number of an axis is on the screen, and the number that is at a place; 0 is the axis across, 1 the other.
  onScreen(axis, value) {
    const { middleX, middleY } = this.size, away = (value - this.centre[axis]) * this.scales[axis];
    return axis ? middleY + this.zoomed.y - away : middleX + this.zoomed.x + away;
  }

  fromScreen(axis, at) {
    const { middleX, middleY } = this.size, away = axis ? middleY + this.zoomed.y - at : at - middleX - this.zoomed.x;
    return away / this.scales[axis] + this.centre[axis];
  }

  drawAxes(context) {
    const { width, height } = this.size, { left, bottom } = this.margin, floor = height - bottom;
    const [across, up] = this.report.axes, span = (axis, ...places) => places.map((at) => this.fromScreen(axis, at));
    Object.assign(context, { fillStyle: this.inks.soft, strokeStyle: this.inks.soft, lineWidth: 1 });
    context.textAlign = "center";
    context.font = "12px system-ui, sans-serif";
    context.strokeRect(left + 0.5, 0.5, width - left - 1, floor - 1);
    for (const [value, text] of ticks(...span(0, left + 8, width - 12), Math.max(2, width / 90))) {
      context.fillRect(this.onScreen(0, value), floor, 1, 4);
      context.fillText(text, this.onScreen(0, value), floor + 16);
    }
    context.fillText(across, (left + width) / 2, floor + 30);
    if (!up) return;
    context.textAlign = "right";
    for (const [value, text] of ticks(...span(1, floor - 6, 24), Math.max(2, height / 70))) {
      context.fillRect(left - 4, this.onScreen(1, value), 4, 1);
      context.fillText(text, left - 7, this.onScreen(1, value) + 4);
    }
    context.fillText(up, left - 7, 14);
  }

  // The points' picture, and over it what is worst, what is pinned, and what is looked at.
  drawMarks() {
    const context = this.canvas.getContext("2d"), ratio = devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.picture, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const i of this.worst) this.ring(context, i, 3, 1.5);
    for (const { i, letter } of this.pins) {
      this.ring(context, i, 4, 2.5);
      this.letter(context, i, letter);
    }
    if (this.mark >= 0) this.ring(context, this.mark, 6, 3);
  }

  // Draw the marks anew at the end of the frame.
  remark() {
    onFrame("marks", () => this.drawMarks());
  }

  ring(context, i, farther, wide) {
    for (const [colour, more] of [[this.inks.panel, 2], [this.inks.text, 0]]) {
      context.beginPath();
      context.arc(this.screen[2 * i], this.screen[2 * i + 1], this.radius + farther, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colour, lineWidth: wide + more });
      context.stroke();
    }
  }

  letter(context, i, letter) {
    const x = this.screen[2 * i] + this.radius + 9, y = this.screen[2 * i + 1] - this.radius - 3;
    context.font = "bold 14px system-ui, sans-serif";
    Object.assign(context, { textAlign: "left", lineWidth: 4, strokeStyle: this.inks.panel });
    context.fillStyle = this.inks.text;
    context.strokeText(letter, x, y);
    context.fillText(letter, x, y);
  }

  // The point nearest to a place, if one is near enough; else -1.
  nearest(x, y, far) {
    let best = -1, least = far * far;
    for (let i = 0; i < this.report.count; i++) {
      const distance = (this.screen[2 * i] - x) ** 2 + (this.screen[2 * i + 1] - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  // The point that one comes to from the mark in a direction: near, and rather ahead than aside.
  next([dx, dy]) {
    if (this.mark < 0) return this.pins.at(-1)?.i ?? this.nearest(this.size.middleX, this.size.middleY, Infinity);
    const [x, y] = this.screen.subarray(2 * this.mark, 2 * this.mark + 2);
    let best = this.mark, least = Infinity;
    for (let i = 0; i < this.report.count; i++) {
      const a = this.screen[2 * i] - x, b = this.screen[2 * i + 1] - y;
      const ahead = a * dx + b * dy, aside = Math.abs(a * dy - b * dx), far = ahead + 2 * aside;
      if (ahead > 0.5 && aside < 2 * ahead && far < least) [best, least] = [i, far];
    }
    return best;
  }

  lookAt(i, aloud = false) {
    this.mark = i;
    if (i >= 0 && aloud) this.reveal(i);
    onFrame("mark", () => {
      this.drawMarks();
      this.look(this.mark, aloud);
    });
  }

  // Move the map if a point lies outside of what is seen of it.
  reveal(i) {
    const { width, height } = this.size, x = this.screen[2 * i], y = this.screen[2 * i + 1];
    if (x > this.margin.left && x < width && y > 0 && y < height - this.margin.bottom) return;
    this.move(this.size.middleX - x, this.size.middleY - y);
  }

  move(x, y) {
    this.zoomed.x += x;
    this.zoomed.y += y;
    this.view();
  }

  zoom(factor, x = this.size.middleX, y = this.size.middleY) {
    const times = Math.min(FARTHEST_ZOOM, Math.max(1, this.zoomed.times * factor)), share = times / this.zoomed.times;
    const { middleX, middleY } = this.size;
    this.zoomed.x = times === 1 ? 0 : (this.zoomed.x + middleX - x) * share - middleX + x;
    this.zoomed.y = times === 1 ? 0 : (this.zoomed.y + middleY - y) * share - middleY + y;
    this.zoomed.times = times;
    this.view();
  }

  whole() {
    this.zoom(0);
  }

  // The page scrolls by a finger on the map as long as the whole map is seen.
  view() {
    this.canvas.classList.toggle("zoomed", this.zoomed.times > 1);
    this.place();
    onFrame("map", () => {
      this.redraw();
      this.look(this.mark, false);
    });
  }

  show(colouring) {
    Object.assign(this, { colouring, only: -1 });
    onFrame("map", () => this.redraw());
  }

  pointerdown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved = this.fingers.size > 1 ? Infinity : 0;
  }

  pointermove(event) {
    const here = [event.offsetX, event.offsetY], before = this.fingers.get(event.pointerId);
    if (!before) {
      const i = this.nearest(...here, 14);
      if (i !== this.mark) this.lookAt(i);
      return;
    }
    this.fingers.set(event.pointerId, here);
    const [x, y] = [here[0] - before[0], here[1] - before[1]];
    this.moved += Math.hypot(x, y);
    if (this.fingers.size === 2) this.pinch(event.pointerId, before, here);
    else if (this.moved > 4) this.move(x, y);
  }

  // Two fingers: as much nearer as they went apart.
  pinch(finger, before, here) {
    const other = [...this.fingers].find(([id]) => id !== finger)[1];
    const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
    this.zoom(apart(here) / apart(before), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  }

  pointerup(event) {
    if (!this.fingers.delete(event.pointerId) || this.moved > 4) return;
    const i = this.nearest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 24 : 14);
    if (i < 0) return;
    this.lookAt(i);
    this.pin(i);
  }

  pointercancel(event) {
    this.fingers.delete(event.pointerId);
  }

  pointerleave(event) {
    if (event.pointerType === "mouse" && !this.fingers.size) this.lookAt(-1);
  }

  wheel(event) {
    if (this.zoomed.times === 1 && event.deltaY > 0) return; // nothing is farther away: the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }

  keydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = ARROWS[event.key], keys = {
      Enter: () => this.mark >= 0 && this.pin(this.mark), " ": () => this.mark >= 0 && this.pin(this.mark),
      "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.whole(),
      Escape: () => this.lookAt(-1),
    };
    if (!way && !keys[event.key]) return;
    event.preventDefault();
    if (way) this.lookAt(this.next(way), true);
    else keys[event.key]();
  }
}

// What is said of the point that is looked at, beside it.
class Tooltip {
  constructor(report, box, map) {
    Object.assign(this, { report, box, map });
    this.pair = new Pair(report, report.views.length > 1 ? 56 : 84);
    this.text = element("p");
    box.append(this.pair.element, this.text);
    this.of = -1;
  }

  show(i) {
    this.box.hidden = i < 0;
    if (i < 0) return;
    if (i !== this.of) {
      this.pair.show(i);
      this.text.textContent = [this.report.name(i), ...this.report.measured(i)].join("\n");
    }
    this.of = i;
    const [left, top] = this.beside(this.map.screen[2 * i], this.map.screen[2 * i + 1]);
    this.box.style.left = `${left}px`;
    this.box.style.top = `${top}px`;
  }

  // Right of a point, or left of it, or, on a narrow screen, below or above it: it hides the point only if it must.
  beside(x, y) {
    const { width, height } = this.map.size, { offsetWidth, offsetHeight } = this.box, gap = 18;
    const within = (at, most) => Math.max(0, Math.min(at, most));
    const [right, bottom] = [width - offsetWidth, height - offsetHeight];
    if (x + gap <= right) return [x + gap, within(y - offsetHeight / 2, bottom)];
    if (x - gap >= offsetWidth) return [x - gap - offsetWidth, within(y - offsetHeight / 2, bottom)];
    const above = y - gap - offsetHeight;
    return [within(x - offsetWidth / 2, right), y + gap <= bottom || above < 0 ? within(y + gap, bottom) : above];
  }
}
