// The colours and shapes of the points of the map, as small pictures.

// The colours of the pictures of a run (Petroff 2021, for colour-blind readers too), and seventeen of viridis.
const COLOURS = [
  "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
];
const VIRIDIS = [
  "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c", "#1fa088",
  "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725",
];
const LEVELS = 65; // of a value: four from one of these colours to the next
const NO_LABEL = "#999999";
const OUTERMOST = 0.01; // share of the values at either end that are shown in the colour of the end

// Corners on circles whose radii take turns; the first is at `turn`, in quarters of a circle clockwise from the right.
function corners(count, turn, ...radii) {
  return Array.from({ length: count }, (_, i) => {
    const angle = ((turn + (4 * i) / count) * Math.PI) / 2, radius = radii[i % radii.length];
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

// A cross of four arms, with its corners in the order of a walk around it.
function cross(turn) {
  const w = 0.36, arm = [[1, -w], [1, w], [w, w]];
  return [0, 1, 2, 3].flatMap((quarter) => arm.map(([x, y]) => {
    const angle = ((quarter + turn) * Math.PI) / 2, cosine = Math.cos(angle), sine = Math.sin(angle);
    return [x * cosine - y * sine, x * sine + y * cosine];
  }));
}

// The shapes o ^ s X v P D * < > of the pictures of a run, in that order, about as large as a circle of radius 1.
const SHAPES = [
  corners(24, 0, 1), corners(3, 3, 1.3), corners(4, 0.5, 1.25), cross(0.5).map(([x, y]) => [1.2 * x, 1.2 * y]),
  corners(3, 1, 1.3), cross(0).map(([x, y]) => [1.2 * x, 1.2 * y]), corners(4, 0, 1.25),
  corners(10, 3, 1.5, 0.65), corners(3, 2, 1.3), corners(3, 0, 1.3),
];

// Colour and shape of the class that is number i: a hundred classes differ.
function styleOf(i) {
  return { colour: COLOURS[i % 10], shape: SHAPES[(i + Math.floor(i / 10)) % 10] };
}

function viridis(share) {
  const at = share * (VIRIDIS.length - 1), i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const channel = (hex, c) => parseInt(hex.slice(1 + 2 * c, 3 + 2 * c), 16);
  const mixed = [0, 1, 2].map((c) => {
    const low = channel(VIRIDIS[i], c), high = channel(VIRIDIS[i + 1], c);
    return Math.round(low + (at - i) * (high - low));
  });
  return `rgb(${mixed.join(" ")})`;
}

// Which style each point has. A style is a colour, a shape and, of a class, a name.
function byLabel(report) {
  const classes = [...new Set(report.labels)].sort((a, b) => a - b), numbers = new Map(classes.map((c, i) => [c, i]));
  const first = classes[0] < 0 ? 1 : 0; // what has no label is grey, and takes nobody's colour
  const styles = classes.map((label, i) => ({
    ...(label < 0 ? { colour: NO_LABEL, shape: SHAPES[0] } : styleOf(i - first)), name: report.nameOfLabel(label),
  }));
  return { styles, of: report.labels.map((label) => numbers.get(label)) };
}

function byValue(values, name, unit) {
  const sorted = values.filter(Number.isFinite).sort(), last = sorted.length - 1;
  const low = sorted[Math.floor(OUTERMOST * last)] ?? 0, high = sorted[Math.ceil((1 - OUTERMOST) * last)] ?? 0;
  const styles = Array.from({ length: LEVELS }, (_, i) => ({ colour: viridis(i / (LEVELS - 1)), shape: SHAPES[0] }));
  styles.push({ colour: NO_LABEL, shape: SHAPES[0] }); // for what is not known
  const level = (value) => Math.round(Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * (LEVELS - 1));
  const of = Array.from(values, (value) => (Number.isFinite(value) ? level(value) : LEVELS));
  return { styles, of, scale: { low, high, name, unit } };
}

// All of one colour, for images that have neither labels nor measures.
function plain(count) {
  return { styles: [styleOf(0)], of: new Array(count).fill(0) };
}

function outline(context, shape, radius, x, y) {
  context.beginPath();
  for (const [a, b] of shape) context.lineTo(x + radius * a, y + radius * b);
  context.closePath();
}

// A style as a small picture, which is faster to draw five thousand times than its outline.
function stamp(style, radius, ratio, ink) {
  const canvas = element("canvas"), context = canvas.getContext("2d"), half = 1.5 * radius + 1;
  canvas.width = canvas.height = Math.ceil(2 * half * ratio);
  context.scale(ratio, ratio);
  outline(context, style.shape, radius, half, half);
  context.fillStyle = style.colour;
  context.fill();
  context.globalAlpha = 0.35; // a thin edge: yellow is seen on white too, and dark violet on black
  context.lineWidth = 0.6;
  context.strokeStyle = ink;
  context.stroke();
  return { canvas, half };
}
