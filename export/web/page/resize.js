// Pictures as the network was trained on them: the same window, the same antialiased filter, the same border as
// keras_inception.preprocessing, so that the answers are those of the exported file in Python.

/** @typedef {{top: number, left: number, rows: number, columns: number}} Box */

/**
 * Where a picture of this height and width goes: the window that is used, and its place in the input.
 * @returns {{window: Box, place: Box}}
 */
export function geometry(height, width, { size: [rows, columns], mode, crop: [part, of] }) {
  if (mode === "crop") {
    const fit = part * Math.min(height * columns, width * rows);
    const window = central(height, width, nearest(fit, of * columns), nearest(fit, of * rows));
    return { window, place: { top: 0, left: 0, rows, columns } };
  }
  const whole = { top: 0, left: 0, rows: height, columns: width };
  if (mode === "stretch") return { window: whole, place: { top: 0, left: 0, rows, columns } };
  const fit = Math.min(rows * width, columns * height);
  return { window: whole, place: central(rows, columns, nearest(fit, width), nearest(fit, height)) };
}

/** Pixels of a canvas (RGBA bytes) as the network's input: Float32Array of rows x columns x 3, RGB, 0..255. */
export function prepare(rgba, height, width, input) {
  const { window, place } = geometry(height, width, input);
  const [rows, columns] = input.size;
  const down = filter(window.rows, place.rows, input.interpolation);
  const across = filter(window.columns, place.columns, input.interpolation);
  const narrow = new Float32Array(window.rows * place.columns * 3);
  for (let y = 0; y < window.rows; y++) {
    const line = (window.top + y) * width + window.left;
    for (let x = 0; x < place.columns; x++) {
      const { start, weights } = across[x];
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * rgba[4 * (line + start + i) + c];
        narrow[3 * (y * place.columns + x) + c] = sum;
      }
    }
  }
  const pixels = new Float32Array(rows * columns * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = input.fill[i % 3];
  for (let y = 0; y < place.rows; y++) {
    const { start, weights } = down[y];
    for (let x = 0; x < place.columns; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[3 * ((start + i) * place.columns + x) + c];
        pixels[3 * ((place.top + y) * columns + place.left + x) + c] = Math.min(255, Math.max(0, sum));
      }
    }
  }
  return pixels;
}

const triangle = (x) => Math.max(0, 1 - x);
const cubic = (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0);
const KERNELS = { bilinear: [triangle, 1], bicubic: [cubic, 2] };

/** Of each new line the old lines that it is made of: the first one, and their weights. */
function filter(length, resized, interpolation) {
  const [kernel, radius] = KERNELS[interpolation];
  const scale = length / resized;
  const width = Math.max(scale, 1);
  const taps = Math.min(Math.floor(2 * radius * width) + 1, length);
  return Array.from({ length: resized }, (_, line) => {
    const centre = (line + 0.5) * scale - 0.5;
    const start = Math.min(Math.max(Math.ceil(centre - radius * width), 0), length - taps);
    const weights = Array.from({ length: taps }, (_, i) => kernel(Math.abs(start + i - centre) / width));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { start, weights: weights.map((weight) => weight / sum) };
  });
}

/** The nearest integer of a quotient, at least 1; a half is rounded up. */
const nearest = (numerator, denominator) => Math.max(1, Math.floor((2 * numerator + denominator) / (2 * denominator)));

/** The box of so many rows and columns in the middle. */
const central = (height, width, rows, columns) => ({
  top: Math.floor((height - rows) / 2),
  left: Math.floor((width - columns) / 2),
  rows,
  columns,
});
