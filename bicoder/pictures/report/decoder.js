// The model's own decoder: one code at a time through the operations that decoder_program.py writes down. Values are
// float32, as the model's are, and sums are double. Images are (height, width, channels), row by row.

const BLOCK = 4; // rows and columns of a product that are summed up together: as many sums as a processor holds at hand

// From a number to a number; some of them have a parameter, which the program names.
const ACTIVATIONS = {
  continuous_bernoulli: () => continuousBernoulliMean,
  elu: ({ alpha = 1 }) => v => (v > 0 ? v : alpha * Math.expm1(v)),
  exponential: () => Math.exp,
  gelu: () => v => 0.5 * v * errorFunctionComplement(-v * Math.SQRT1_2),
  hard_shrink: () => v => (Math.abs(v) > 0.5 ? v : 0),
  hard_sigmoid: () => hardSigmoid,
  hard_silu: () => v => v * hardSigmoid(v),
  hard_tanh: () => v => Math.min(Math.max(v, -1), 1),
  log_sigmoid: () => v => -softplus(-v),
  mish: () => v => v * Math.tanh(softplus(v)),
  relu: ({ slope = 0, most = Infinity }) => v => (v > 0 ? Math.min(v, most) : slope * v),
  selu: () => v => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v)),
  sigmoid: () => sigmoid,
  silu: () => v => v * sigmoid(v),
  soft_shrink: () => v => Math.sign(v) * Math.max(Math.abs(v) - 0.5, 0),
  softplus: () => softplus,
  softsign: () => v => v / (1 + Math.abs(v)),
  sparse_plus: () => v => (v <= -1 ? 0 : v < 1 ? 0.25 * (v + 1) ** 2 : v),
  sparse_sigmoid: () => v => Math.min(Math.max(0.5 * (v + 1), 0), 1),
  squareplus: () => v => 0.5 * (v + Math.sqrt(v * v + 4)),
  tanh: () => Math.tanh,
  tanh_shrink: () => v => v - Math.tanh(v),
};

function sigmoid(v) {
  return 1 / (1 + Math.exp(-v));
}

function hardSigmoid(v) {
  return Math.min(Math.max(v + 3, 0), 6) / 6;
}

function softplus(v) { // log(1 + e^v), where e^v may be infinite
  return Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
}

// erfc by a Chebyshev fit, to 1.2e-7 of its value (Press et al. 1992, section 6.2).
const ERROR_FUNCTION = [
  0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
  -1.26551223,
];

function errorFunctionComplement(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const tail = t * Math.exp(ERROR_FUNCTION.reduce((sum, c) => sum * t + c, 0) - x * x);
  return x < 0 ? 2 - tail : tail;
}

function continuousBernoulliMean(logit) { // 1/2 + coth(l / 2) / 2 - 1 / l, of which nothing but rounding is left at 0
  const square = logit * logit;
  const inner = logit * (1 / 12 - square / 720 + square * square / 30240);
  return 0.5 + (square < 1 ? inner : 0.5 / Math.tanh(0.5 * logit) - 1 / logit);
}

function discretizedLogisticMean(location, rawLogScale) { // the integral of P(X > t) over [0, 1]
  const scale = Math.exp(softplus(rawLogScale + 8) - 8);
  return scale * (softplus(location / scale) - softplus((location - 1) / scale));
}

function channelsOf(shape) { // the last axis, whatever it is
  return shape[shape.length - 1];
}

function sizeOf(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

// A matrix (inner, columns) in bands of four columns, so that the innermost loop reads memory in order.
function inBands(matrix, inner, columns) {
  const bands = new Float32Array(inner * Math.ceil(columns / BLOCK) * BLOCK);
  for (let row = 0; row < inner; row++) {
    for (let column = 0; column < columns; column++) {
      const offset = column % BLOCK;
      bands[(column - offset) * inner + row * BLOCK + offset] = matrix[row * columns + column];
    }
  }
  return bands;
}

// Sixteen sums at once: `left` is (inner, 4 rows), and `right` has a band (inner, 4 columns) at `at`.
function multiply(left, right, at, inner, sums) {
  let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
  let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
  for (let a = 0, b = at; a < inner * 4; a += 4, b += 4) {
    const x0 = left[a], x1 = left[a + 1], x2 = left[a + 2], x3 = left[a + 3];
    const w0 = right[b], w1 = right[b + 1], w2 = right[b + 2], w3 = right[b + 3];
    s00 += x0 * w0; s01 += x0 * w1; s02 += x0 * w2; s03 += x0 * w3;
    s10 += x1 * w0; s11 += x1 * w1; s12 += x1 * w2; s13 += x1 * w3;
    s20 += x2 * w0; s21 += x2 * w1; s22 += x2 * w2; s23 += x2 * w3;
    s30 += x3 * w0; s31 += x3 * w1; s32 += x3 * w2; s33 += x3 * w3;
  }
  sums[0] = s00; sums[1] = s01; sums[2] = s02; sums[3] = s03;
  sums[4] = s10; sums[5] = s11; sums[6] = s12; sums[7] = s13;
  sums[8] = s20; sums[9] = s21; sums[10] = s22; sums[11] = s23;
  sums[12] = s30; sums[13] = s31; sums[14] = s32; sums[15] = s33;
}

// Function (gather, out): out (rows, columns) = rows times matrix, plus a bias if there is one. The function
// `gather(left, lane, row)` writes the numbers of a row to left[lane], left[lane + 4], and so on.
function makeProduct(rows, matrix, inner, columns, bias) {
  const bands = inBands(matrix, inner, columns), left = new Float32Array(inner * BLOCK);
  const sums = new Float64Array(BLOCK * BLOCK);
  return (gather, out) => {
    for (let row = 0; row < rows; row += BLOCK) {
      const height = Math.min(BLOCK, rows - row);
      for (let lane = 0; lane < height; lane++) gather(left, lane, row + lane);
      for (let column = 0; column < columns; column += BLOCK) {
        multiply(left, bands, column * inner, inner, sums);
        const width = Math.min(BLOCK, columns - column);
        for (let i = 0; i < height; i++) {
          for (let j = 0; j < width; j++) {
            out[(row + i) * columns + column + j] = sums[i * BLOCK + j] + (bias ? bias[column + j] : 0);
          }
        }
      }
    }
    return out;
  };
}

function gatherRow(x, inner) { // row by row, as they are
  return (left, lane, row) => {
    for (let k = 0, from = row * inner; k < inner; k++) left[k * BLOCK + lane] = x[from + k];
  };
}

// The pixels under the kernel for one pixel of the output; beyond the edge there are zeros.
function gatherPatch(x, op) {
  const [height, width, channels] = op.given;
  const [tall, wide] = op.size, [down, right] = op.strides, [top, leftEdge] = op.padding, columns = op.shape[1];
  return (left, lane, row) => {
    const y0 = Math.floor(row / columns) * down - top, x0 = (row % columns) * right - leftEdge;
    let to = lane;
    for (let i = y0; i < y0 + tall; i++) {
      for (let j = x0; j < x0 + wide; j++) {
        const inside = i >= 0 && i < height && j >= 0 && j < width, from = (i * width + j) * channels;
        for (let c = 0; c < channels; c++, to += BLOCK) left[to] = inside ? x[from + c] : 0;
      }
    }
  };
}

// What each pixel of the input adds to the output, (pixels, *size, channels), is put where it belongs.
function scatter(parts, op, out, bias) {
  const [height, width] = op.given;
  const [tall, wide] = op.size, [down, right] = op.strides, [top, left] = op.padding;
  const [rows, columns, channels] = op.shape;
  for (let k = 0; k < out.length; k++) out[k] = bias ? bias[k % channels] : 0;
  for (let i = 0, from = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      for (let a = 0; a < tall; a++) {
        for (let b = 0; b < wide; b++, from += channels) {
          const y = i * down + a - top, x = j * right + b - left;
          if (y < 0 || y >= rows || x < 0 || x >= columns) continue;
          for (let c = 0, to = (y * columns + x) * channels; c < channels; c++) out[to + c] += parts[from + c];
        }
      }
    }
  }
  return out;
}

// The sum of f(number, group) over the pixels and channels of each group; `group` says which one a channel belongs to.
function groupSums(x, group, groups, f) {
  const sums = new Float64Array(groups);
  for (let pixel = 0; pixel < x.length; pixel += group.length) {
    for (let c = 0; c < group.length; c++) sums[group[c]] += f(x[pixel + c], group[c]);
  }
  return sums;
}

// Kind of an operation -> function (op, weights) -> function (input, out) -> out. What need not be done for every code
// is done in the outer one. `op.given` is the shape of the input; `weights(at, count)` is null if the layer has none.
const OPERATIONS = {
  dense(op, weights) {
    const inner = channelsOf(op.given), columns = channelsOf(op.shape), rows = sizeOf(op.given) / inner;
    const matrix = weights(op.kernel, inner * columns), bias = weights(op.bias, columns);
    const product = makeProduct(rows, matrix, inner, columns, bias);
    return (x, out) => product(gatherRow(x, inner), out);
  },

  convolution(op, weights) {
    const [rows, columns, channels] = op.shape, inner = sizeOf(op.size) * op.given[2];
    const bias = weights(op.bias, channels), matrix = weights(op.kernel, inner * channels);
    const product = makeProduct(rows * columns, matrix, inner, channels, bias);
    return (x, out) => product(gatherPatch(x, op), out);
  },

  transposed_convolution(op, weights) {
    const [height, width, inner] = op.given, channels = op.shape[2], columns = sizeOf(op.size) * channels;
    const bias = weights(op.bias, channels), parts = new Float32Array(height * width * columns);
    const product = makeProduct(height * width, weights(op.kernel, inner * columns), inner, columns, null);
    return (x, out) => scatter(product(gatherRow(x, inner), parts), op, out, bias);
  },

  group_normalization(op, weights) {
    const channels = channelsOf(op.given), count = sizeOf(op.given) / op.groups;
    const scale = weights(op.scale, channels), shift = weights(op.shift, channels);
    const group = Array.from({ length: channels }, (_, c) => Math.floor((c * op.groups) / channels));
    return (x, out) => {
      const means = groupSums(x, group, op.groups, v => v).map(sum => sum / count);
      const squares = groupSums(x, group, op.groups, (v, g) => (v - means[g]) ** 2);
      const rates = squares.map(sum => 1 / Math.sqrt(sum / count + op.epsilon));
      for (let i = 0, c = 0; i < x.length; i++, c = (c + 1) % channels) {
        const standardised = (x[i] - means[group[c]]) * rates[group[c]];
        out[i] = standardised * (scale ? scale[c] : 1) + (shift ? shift[c] : 0);
      }
      return out;
    };
  },

  scale_and_shift(op, weights) {
    const channels = channelsOf(op.given);
    const scale = weights(op.scale, channels), shift = weights(op.shift, channels);
    return (x, out) => {
      for (let i = 0; i < x.length; i++) out[i] = x[i] * scale[i % channels] + shift[i % channels];
      return out;
    };
  },

  enlarge(op) { // each pixel becomes a rectangle of the same colour
    const [, width, channels] = op.given;
    const [rows, columns] = op.shape, [tall, wide] = op.size;
    return (x, out) => {
      for (let i = 0, to = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          const from = (Math.floor(i / tall) * width + Math.floor(j / wide)) * channels;
          for (let c = 0; c < channels; c++) out[to++] = x[from + c];
        }
      }
      return out;
    };
  },

  crop(op) {
    const [, width, channels] = op.given;
    const [rows, columns] = op.shape, [top, left] = op.from_pixel, length = columns * channels;
    return (x, out) => {
      for (let i = 0; i < rows; i++) {
        const from = ((i + top) * width + left) * channels;
        for (let k = 0; k < length; k++) out[i * length + k] = x[from + k];
      }
      return out;
    };
  },

  activation(op) {
    const f = ACTIVATIONS[op.name](op);
    return (x, out) => {
      for (let i = 0; i < x.length; i++) out[i] = f(x[i]);
      return out;
    };
  },

  softmax(op) {
    const classes = channelsOf(op.given);
    return (x, out) => {
      for (let first = 0; first < x.length; first += classes) {
        const logits = x.subarray(first, first + classes), largest = Math.max(...logits);
        const sum = logits.reduce((total, v) => total + Math.exp(v - largest), 0);
        for (let c = 0; c < classes; c++) out[first + c] = Math.exp(logits[c] - largest) / sum;
      }
      return out;
    };
  },

  first_half(op) { // of the channels: the means, beside which the scales are
    const channels = channelsOf(op.shape);
    return (x, out) => {
      for (let i = 0; i < out.length; i++) out[i] = x[2 * i - (i % channels)];
      return out;
    };
  },

  discretized_logistic(op) {
    const channels = channelsOf(op.shape);
    return (x, out) => {
      for (let i = 0; i < out.length; i++) {
        const location = 2 * i - (i % channels);
        out[i] = discretizedLogisticMean(x[location], x[location + channels]);
      }
      return out;
    };
  },
};

// Operations of several inputs: function (inputs, out) -> out.
function addUp(inputs, out) {
  out.set(inputs[0]);
  for (const x of inputs.slice(1)) for (let i = 0; i < x.length; i++) out[i] += x[i];
  return out;
}

// Function (values) -> the value of this operation, whose memory is kept from code to code.
function makeOperation(op, weights) {
  const out = new Float32Array(sizeOf(op.shape));
  if (op.kind === "add") return values => addUp(op.inputs.map(number => values[number]), out);
  const run = OPERATIONS[op.kind](op, weights);
  return values => run(values[op.inputs[0]], out);
}

// Function from a code, with what stands beside it, to the mean of p(x|z), a new Float32Array.
function makeDecoder(program, allWeights) {
  const own = allWeights.subarray(program.first);
  const weights = (at, count) => (at === null ? null : own.subarray(at, at + count));
  const operations = program.operations.map(op => makeOperation(op, weights));
  return code => {
    if (code.length !== program.inputs) {
      throw new RangeError(`code: expected ${program.inputs} numbers, received ${code.length}`);
    }
    const values = [Float32Array.from(code)];
    for (const operation of operations) values.push(operation(values));
    return values[program.output].slice();
  };
}
