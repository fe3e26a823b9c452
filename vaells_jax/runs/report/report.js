"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const trouble = (text) => {
    $("trouble").hidden = false;
    $("trouble").textContent = text;
  };
  window.addEventListener("error", (event) =>
    trouble(`This page has a fault: ${event.message}. The tables below are whole.`),
  );
  const data = JSON.parse($("data").textContent);

  // ---- Arrays ------------------------------------------------------------------

  /** Read an array that was written as base64, its numbers little end first. */
  function unpack({ shape, kind, data: text }) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    if (kind === "uint8") return { shape, numbers: bytes };
    const view = new DataView(bytes.buffer);
    const numbers = new Float32Array(bytes.length / 4);
    for (let i = 0; i < numbers.length; i++) numbers[i] = view.getFloat32(4 * i, true);
    return { shape, numbers };
  }

  /** Return a part of an array by its leading indices. */
  function part(array, ...index) {
    const size = product(array.shape.slice(index.length));
    const at = index.reduce((sum, i, axis) => sum * array.shape[axis] + i, 0);
    return array.numbers.subarray(at * size, (at + 1) * size);
  }

  const product = (sizes) => sizes.reduce((all, size) => all * size, 1);
  const range = (count) => Array.from({ length: count }, (_, i) => i);
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const length = (x) => Math.hypot(...x);
  const short = (x) => {
    if (!Number.isFinite(x)) return "∞";
    const tiny = x !== 0 && Math.abs(x) < 1e-3;
    return (tiny ? x.toExponential(2) : String(Number(x.toPrecision(3)))).replaceAll("-", "−");
  };

  // ---- The model: decoder and operators --------------------------------------------

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  function dense(x, kernel, bias) {
    const [rows, columns] = kernel.shape;
    const y = Float64Array.from(bias.numbers);
    for (let i = 0; i < rows; i++) {
      if (x[i] === 0) continue;
      for (let j = 0, k = i * columns; j < columns; j++, k++) y[j] += x[i] * kernel.numbers[k];
    }
    return y;
  }

  /** Input row i and kernel row k add to output row stride i + size - 1 - k - padding. */
  function transposed(x, [height, width, channels], { kernel, bias, stride, padding }) {
    const [size, , , features] = kernel.shape;
    const rows = (height - 1) * stride + size - 2 * padding;
    const columns = (width - 1) * stride + size - 2 * padding;
    const y = new Float64Array(rows * columns * features);
    for (let i = 0; i < y.length; i++) y[i] = bias.numbers[i % features];
    const w = kernel.numbers;
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const from = (i * width + j) * channels;
        for (let a = 0; a < size; a++) {
          const row = stride * i + size - 1 - a - padding;
          if (row < 0 || row >= rows) continue;
          for (let b = 0; b < size; b++) {
            const column = stride * j + size - 1 - b - padding;
            if (column < 0 || column >= columns) continue;
            const to = (row * columns + column) * features;
            for (let c = 0; c < channels; c++) {
              const value = x[from + c];
              if (value === 0) continue;
              const k = ((a * size + b) * channels + c) * features;
              for (let f = 0; f < features; f++) y[to + f] += value * w[k + f];
            }
          }
        }
      }
    }
    return { numbers: y, shape: [rows, columns, features] };
  }

  function crop(x, [height, width, channels], [rows, columns]) {
    const y = new Float64Array(rows * columns * channels);
    for (let i = 0; i < rows; i++) {
      const from = i * width * channels;
      y.set(x.subarray(from, from + columns * channels), i * columns * channels);
    }
    return { numbers: y, shape: [rows, columns, channels] };
  }

  const layers = data.decoder
    ? data.decoder.layers.map((layer) =>
        Object.fromEntries(
          Object.entries(layer).map(([name, value]) => [name, value.data === undefined ? value : unpack(value)]),
        ),
      )
    : null;

  /** Decode a latent: the numbers of one data point. */
  function decode(latent) {
    let x = Float64Array.from(latent);
    let shape = [x.length];
    for (const layer of layers) {
      switch (layer.kind) {
        case "dense":
          x = dense(x, layer.kernel, layer.bias);
          shape = [x.length];
          break;
        case "gated": {
          const gate = dense(x, layer.gate, layer.gate_bias);
          x = dense(x, layer.kernel, layer.bias).map((value, i) => value * sigmoid(gate[i]));
          shape = [x.length];
          break;
        }
        case "relu":
          x = x.map((value) => Math.max(value, 0));
          break;
        case "sigmoid":
          x = x.map(sigmoid);
          break;
        case "reshape":
          shape = layer.shape;
          break;
        case "transposed":
          ({ numbers: x, shape } = transposed(x, shape, layer));
          break;
        case "crop":
          ({ numbers: x, shape } = crop(x, shape, layer.shape));
          break;
        case "affine": {
          const of = ({ numbers }, i) => numbers[i % numbers.length];
          x = x.map((value, i) => value * of(layer.scale, i) + of(layer.shift, i));
          break;
        }
        default:
          throw new Error(`no layer is called ${layer.kind}`);
      }
    }
    return x;
  }

  const operators = data.operators ? unpack(data.operators.matrices) : null;
  const shown = data.operators ? data.operators.shown : [];

  /** Return sum_m c_m Psi_m of coefficients of all operators. */
  function generator(coefficients) {
    const size = operators.shape[1];
    const A = new Float64Array(size * size);
    coefficients.forEach((c, m) => {
      if (c === 0) return;
      const psi = part(operators, m);
      for (let i = 0; i < A.length; i++) A[i] += c * psi[i];
    });
    return A;
  }

  /** Return expm(A) z: steps of norm 1 or less, each by its series to rounding. */
  function exponential(A, z) {
    const size = z.length;
    let norm = 0;
    for (let i = 0; i < size; i++) {
      let row = 0;
      for (let j = 0; j < size; j++) row += Math.abs(A[i * size + j]);
      norm = Math.max(norm, row);
    }
    const steps = clamp(Math.ceil(norm), 1, 10000);
    let y = Float64Array.from(z);
    for (let step = 0; step < steps; step++) {
      let term = y;
      const sum = Float64Array.from(y);
      for (let k = 1; k <= 18; k++) {
        const next = new Float64Array(size);
        for (let i = 0; i < size; i++) {
          let value = 0;
          for (let j = 0; j < size; j++) value += A[i * size + j] * term[j];
          next[i] = value / (k * steps);
          sum[i] += next[i];
        }
        term = next;
      }
      y = sum;
    }
    return y;
  }

  const transport = (coefficients, z) => exponential(generator(coefficients), z);

  // ---- How things look ---------------------------------------------------------------

  let printing = false;
  const LIGHT = { paper: "#ffffff", raised: "#f5f6f8", ink: "#1b1f24", soft: "#566070", line: "#d4d9e0" };

  function theme() {
    if (printing) return { ...LIGHT, dark: false };
    const style = getComputedStyle(document.documentElement);
    const colours = Object.fromEntries(
      Object.keys(LIGHT).map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
    );
    return { ...colours, dark: matchMedia("(prefers-color-scheme: dark)").matches };
  }

  /** Return a colour of the palette, the darkest made lighter on a dark page. */
  function colour(index) {
    const hex = data.palette[index % data.palette.length];
    if (!theme().dark) return hex;
    const rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const light = (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
    const mix = light < 0.05 ? 0.85 : light < 0.42 ? 0.4 : 0;
    return `rgb(${rgb.map((x) => Math.round(x + (255 - x) * mix)).join(" ")})`;
  }

  const RAMP = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

  /** Return a colour of a scale that colour-blind eyes read, dark to light. */
  function ramp(share) {
    const margin = theme().dark ? [0.3, 1] : [0, 0.88];
    const at = (margin[0] + clamp(share, 0, 1) * (margin[1] - margin[0])) * (RAMP.length - 1);
    const i = Math.min(Math.floor(at), RAMP.length - 2);
    const mixed = RAMP[i].map((x, k) => Math.round(x + (at - i) * (RAMP[i + 1][k] - x)));
    return `rgb(${mixed.join(" ")})`;
  }

  const polygon = (sides, turn) =>
    range(sides).map((i) => {
      const angle = turn + (2 * Math.PI * i) / sides;
      return [Math.cos(angle), Math.sin(angle)];
    });
  const MARKS = [
    null,
    polygon(4, Math.PI / 4),
    polygon(3, -Math.PI / 2),
    polygon(4, 0),
    polygon(3, Math.PI / 2),
    polygon(3, Math.PI),
    polygon(3, 0),
    [[-0.3, -1], [0.3, -1], [0.3, -0.3], [1, -0.3], [1, 0.3], [0.3, 0.3], [0.3, 1], [-0.3, 1], [-0.3, 0.3], [-1, 0.3], [-1, -0.3], [-0.3, -0.3]],
    polygon(6, 0),
    polygon(4, 0).map(([x, y]) => [0.55 * x, y]),
  ];

  function mark(context, x, y, size, kind) {
    const corners = MARKS[kind % MARKS.length];
    context.beginPath();
    if (corners) {
      for (const [a, b] of corners) context.lineTo(x + 1.2 * size * a, y + 1.2 * size * b);
      context.closePath();
    } else {
      context.arc(x, y, size, 0, 2 * Math.PI);
    }
    context.fill();
  }

  /** Size a canvas to the screen's pixels and clear it: its context and its side lengths. */
  function prepare(canvas) {
    const box = canvas.getBoundingClientRect();
    const width = box.width || Number(canvas.dataset.side) || 64;
    const height = box.height || width;
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const { raised } = theme();
    context.fillStyle = raised;
    context.fillRect(0, 0, width, height);
    return { context, width, height };
  }

  /** Return data as shown: a decoded data point's grey levels, or its numbers. */
  function show(values) {
    const { view } = data;
    if (!view.image) return Float32Array.from(values);
    const [height, width, kept] = view.shape;
    const channels = values.length / (height * width);
    const span = Math.max(view.high - view.low, 1e-12);
    const levels = new Uint8ClampedArray(height * width * kept);
    for (let i = 0; i < height * width; i++)
      for (let c = 0; c < kept; c++)
        levels[i * kept + c] = Math.round(255 * clamp((values[i * channels + c] - view.low) / span, 0, 1));
    return levels;
  }

  const scratch = document.createElement("canvas");

  function drawImage(canvas, levels) {
    const [rows, columns, channels] = data.view.shape;
    const { context, width, height } = prepare(canvas);
    scratch.width = columns;
    scratch.height = rows;
    const image = new ImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = levels[i * channels + (channels === 3 ? c : 0)];
      image.data[4 * i + 3] = 255;
    }
    scratch.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = Math.max(rows, columns) > 64;
    const scale = Math.min(width / columns, height / rows);
    const [wide, high] = [columns * scale, rows * scale];
    context.drawImage(scratch, (width - wide) / 2, (height - high) / 2, wide, high);
  }

  const backdrop = data.view.image
    ? null
    : { points: unpack(data.view.points), centre: unpack(data.view.centre).numbers, axes: unpack(data.view.axes) };
  const backdropExtent = backdrop ? extentOf(backdrop.points) : null;

  function extentOf(points) {
    const ends = [0, 1].map((axis) => {
      const values = range(points.shape[0]).map((i) => points.numbers[2 * i + axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const half = 0.56 * Math.max(ends[0][1] - ends[0][0], ends[1][1] - ends[1][0], 1e-9);
    return ends.flatMap(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
  }

  const project = (point, { centre, axes }) =>
    [0, 1].map((axis) => point.reduce((sum, x, i) => sum + (x - centre[i]) * axes.numbers[axis * point.length + i], 0));

  /** Return a map from a plane to a square of pixels. */
  function onto([left, right, low, high], x, y, side) {
    return ([a, b]) => [x + ((a - left) / (right - left)) * side, y + ((high - b) / (high - low)) * side];
  }

  /** Draw a vector: its place among the test data, and its entries as a curve. */
  function drawVector(canvas, vector, trail = []) {
    const { context, width, height } = prepare(canvas);
    const { ink, soft, line } = theme();
    const small = width < 120;
    if (small && !data.view.planar) {
      drawEntries(context, vector, [3, 3, width - 6, height - 6]);
      return;
    }
    const curve = vector.length > 2 && !small;
    const side = curve ? 0.74 * height : height;
    const at = onto(backdropExtent, (width - side) / 2, 0, side);
    const every = small ? 1 + Math.floor(backdrop.points.shape[0] / 150) : 1;
    context.fillStyle = soft;
    context.globalAlpha = 0.35;
    for (let i = 0; i < backdrop.points.shape[0]; i += every)
      mark(context, ...at(part(backdrop.points, i)), (small ? 0.5 : 0.8) * dotSize(backdrop.points.shape[0]), 0);
    context.globalAlpha = 1;
    if (trail.length) {
      stroke(context, trail.map((x) => at(project(x, backdrop))), colour(0), 2);
    }
    context.fillStyle = colour(1);
    context.strokeStyle = ink;
    const place = at(project(vector, backdrop));
    mark(context, ...place, small ? 3 : 5.5, 0);
    if (!small) context.stroke();
    if (!curve) return;
    context.lineWidth = 1;
    context.strokeStyle = line;
    context.strokeRect(0.5, side + 0.5, width - 1, height - side - 1);
    drawEntries(context, vector, [8, side + 6, width - 16, height - side - 12]);
  }

  /** Draw a vector's entries as a curve in a box: left, top, width, height. */
  function drawEntries(context, vector, [left, top, width, height]) {
    const { low, high } = data.view;
    const level = (x) => top + height * (1 - clamp((x - low) / Math.max(high - low, 1e-12), 0, 1));
    const across = (i) => left + (width * i) / Math.max(vector.length - 1, 1);
    stroke(context, Array.from(vector, (x, i) => [across(i), level(x)]), colour(1), 1.6);
  }

  function stroke(context, places, style, width, dash = []) {
    context.beginPath();
    context.strokeStyle = style;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dash);
    for (const [x, y] of places) if (Number.isFinite(x + y)) context.lineTo(clamp(x, -1e5, 1e5), clamp(y, -1e5, 1e5));
    context.stroke();
    context.setLineDash([]);
  }

  const draw = (canvas, item, trail) => (data.view.image ? drawImage(canvas, item) : drawVector(canvas, item, trail));

  // ---- The examples and the latent map ----------------------------------------------

  const examples = {
    items: unpack(data.examples.data),
    latents: unpack(data.examples.latents),
    values: unpack(data.examples.values).numbers,
    names: data.examples.names,
    count: data.examples.names.length,
  };
  const named = (i) => `example ${i + 1}${examples.names[i] ? `, class ${examples.names[i]}` : ""}`;
  const frames = data.frames
    ? Object.fromEntries(Object.entries(data.frames).map(([name, value]) => [name, unpack(value)]))
    : null;
  const plane = {
    points: unpack(data.map.points),
    values: unpack(data.map.values).numbers,
    anchors: unpack(data.map.anchors),
    centre: unpack(data.map.centre).numbers,
    axes: unpack(data.map.axes),
    extent: data.map.extent,
  };
  const size = examples.latents.shape[1];
  const scaleEnds = [Math.min(...plane.values), Math.max(...plane.values)];
  const pointColour = (value) => {
    if (data.map.names.length) return colour(value);
    if (data.map.scale) return ramp((value - scaleEnds[0]) / Math.max(scaleEnds[1] - scaleEnds[0], 1e-12));
    return colour(0);
  };

  /** Return the latent at a point of the map. */
  function lift([a, b]) {
    return Float64Array.from(range(size), (i) => plane.centre[i] + a * plane.axes.numbers[i] + b * plane.axes.numbers[size + i]);
  }

  /** Return how large dots are, the smaller the more there are. */
  const dotSize = (count) => clamp(60 / Math.sqrt(count), 1.4, 4);

  const ticks = (low, high) => {
    const raw = (high - low) / 4;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((x) => x * unit).find((x) => x >= raw);
    const first = Math.ceil(low / step);
    return range(Math.floor(high / step) - first + 1).map((i) => (first + i) * step);
  };

  /** Draw the map's points; returns where a point of the plane lies in pixels. */
  function drawPoints(canvas, faint) {
    const { context, width } = prepare(canvas);
    const { line, soft, ink } = theme();
    const at = onto(plane.extent, 0, 0, width);
    context.lineWidth = 1;
    context.font = "11px system-ui, sans-serif";
    if (!faint) {
      const [left, right, low, high] = plane.extent;
      for (const x of ticks(left, right)) {
        const [place] = at([x, 0]);
        stroke(context, [[place, 0], [place, width]], line, 0.5);
        context.fillStyle = soft;
        if (place > 14 && place < width - 14) context.fillText(short(x), place + 3, width - 5);
      }
      for (const y of ticks(low, high)) {
        const [, place] = at([0, y]);
        stroke(context, [[0, place], [width, place]], line, 0.5);
        context.fillStyle = soft;
        if (place > 14 && place < width - 24) context.fillText(short(y), 4, place - 3);
      }
    }
    const radius = dotSize(plane.points.shape[0]) * (faint ? 0.8 : 1);
    context.globalAlpha = faint ? 0.3 : 0.75;
    for (let i = 0; i < plane.points.shape[0]; i++) {
      context.fillStyle = pointColour(plane.values[i]);
      mark(context, ...at(part(plane.points, i)), radius, data.map.names.length ? plane.values[i] : 0);
    }
    context.globalAlpha = 1;
    if (!faint) {
      for (let i = 0; i < plane.anchors.shape[0]; i++) {
        const [x, y] = at(part(plane.anchors, i));
        stroke(context, [[x - 3, y - 3], [x + 3, y + 3]], ink, 1.1);
        stroke(context, [[x - 3, y + 3], [x + 3, y - 3]], ink, 1.1);
      }
    }
    return { context, at, width };
  }

  function ring(context, [x, y], radius, style, width) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }

  /** Mark a place so that it is seen on any points; beyond the edge, by a thin ring there. */
  function probe(context, place, width) {
    const { ink, paper } = theme();
    const inside = place.map((x) => clamp(Number.isFinite(x) ? x : 0, 9, width - 9));
    const out = place.some((x) => !(x >= 0 && x <= width));
    ring(context, inside, 7, paper, 5);
    ring(context, inside, 7, ink, out ? 1 : 2.5);
  }

  /** Write the map's legend: marks of classes, or a scale, and the anchors' crosses. */
  function legend() {
    const entries = data.map.names.map((name, i) => ({ name, kind: i, style: colour(i) }));
    const nodes = entries.map(({ name, kind, style }) => {
      const corners = MARKS[kind % MARKS.length];
      const shape = corners
        ? svg("polygon", { points: corners.map(([x, y]) => `${x},${y}`).join(" "), fill: style })
        : svg("circle", { r: 0.85, fill: style });
      return tag("span", {}, svg("svg", { viewBox: "-1.1 -1.1 2.2 2.2", "aria-hidden": "true" }, shape), name);
    });
    if (data.map.scale) {
      const bar = tag("span", { class: "ramp", "aria-hidden": "true" });
      bar.style.background = `linear-gradient(to right, ${range(9).map((i) => ramp(i / 8)).join(", ")})`;
      nodes.push(tag("span", {}, `${data.map.scale}: ${short(scaleEnds[0])}`, bar, short(scaleEnds[1])));
    }
    if (plane.anchors.shape[0]) nodes.push(tag("span", {}, "× anchors"));
    $("legend").replaceChildren(...nodes);
  }

  function tag(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function svg(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  /** Make a row of buttons, one for each example; returns what marks the chosen one. */
  function choices(box, word, choose) {
    const buttons = examples.names.map((name, i) => {
      const canvas = tag("canvas", { class: "square", "data-side": "56", "aria-hidden": "true" });
      const button = tag("button", { type: "button", "aria-label": `${word} ${named(i)}` }, canvas, tag("span", { title: name }, name || String(i + 1)));
      button.addEventListener("click", () => choose(i));
      return button;
    });
    box.replaceChildren(...buttons);
    redraws.push(() => buttons.forEach((button, i) => draw(button.firstChild, part(examples.items, i))));
    return (chosen) => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
  }

  const redraws = [];

  // ---- Move a latent -----------------------------------------------------------------

  const state = { example: 0, point: null, coefficients: shown.map(() => 0) };
  let picture = null;

  /** Return coefficients of all operators from those of the ones with a slider. */
  function all(coefficients) {
    const full = new Array(operators.shape[0]).fill(0);
    shown.forEach((m, i) => (full[m] = coefficients[i]));
    return full;
  }

  const start = () => (state.point ? lift(state.point) : part(examples.latents, state.example));
  const where = () => (operators ? transport(all(state.coefficients), start()) : start());

  function nearestCell([a, b]) {
    const [left, right, low, high] = plane.extent;
    const last = frames.grid.shape[0] - 1;
    const column = clamp(Math.round((last * (a - left)) / (right - left)), 0, last);
    const row = clamp(Math.round((last * (high - b)) / (high - low)), 0, last);
    const place = [left + (column * (right - left)) / last, high - (row * (high - low)) / last];
    return { row, column, place };
  }

  function seen(latent) {
    if (layers) return show(decode(latent));
    if (state.point) {
      const { row, column } = nearestCell(state.point);
      return part(frames.grid, row, column);
    }
    const moved = state.coefficients.findIndex((c) => c !== 0);
    if (moved < 0) return part(frames.centres, state.example);
    const last = frames.sweeps.shape[2] - 1;
    const reach = data.operators.reach[moved];
    const frame = Math.round((last * (state.coefficients[moved] / reach + 1)) / 2);
    return part(frames.sweeps, moved, state.example, frame);
  }

  function drawMap() {
    const { context, at, width } = drawPoints($("map"), false);
    const from = start();
    if (operators) {
      shown.forEach((m, i) => {
        const unit = shown.map((_, k) => (k === i ? data.operators.reach[i] / 40 : 0));
        const step = generator(all(unit));
        for (const sign of [-1, 1]) {
          const A = step.map((x) => sign * x);
          const places = [at(project(from, plane))];
          for (let k = 0, z = from; k < 40; k++) places.push(at(project((z = exponential(A, z)), plane)));
          stroke(context, places, colour(i), 1.4, [5, 3]);
        }
      });
      const A = generator(all(state.coefficients)).map((x) => x / 40);
      const places = [at(project(from, plane))];
      for (let k = 0, z = from; k < 40; k++) places.push(at(project((z = exponential(A, z)), plane)));
      stroke(context, places, theme().ink, 2.5);
      ring(context, places[0], 3.5, theme().ink, 2);
    }
    probe(context, at(project(where(), plane)), width);
  }

  const list = (numbers, most = 8) =>
    Array.from(numbers).slice(0, most).map(short).join(", ") + (numbers.length > most ? ", …" : "");

  let waiting = 0;

  function explore() {
    const latent = where();
    picture = seen(latent);
    drawMap();
    draw($("picture"), picture, trailOfData());
    const from = state.point ? "a point of the map" : named(state.example);
    $("picture").setAttribute("aria-label", `What the latent decodes to, starting from ${from}`);
    $("picture-caption").textContent = "decoded";
    $("original-figure").style.visibility = state.point ? "hidden" : "visible";
    if (!state.point) {
      draw($("original"), part(examples.items, state.example));
      $("original").setAttribute("aria-label", `Itself: ${named(state.example)}`);
      $("original-caption").textContent = named(state.example);
    }
    const spot = project(latent, plane);
    $("map").setAttribute("aria-label", `Map of ${plane.points.shape[0]} test latents; the mark is at ${spot.map(short).join(", ")}`);
    markExample(state.point ? -1 : state.example);
    sliders.forEach((slider) => slider.update());
    // A screen reader hears where a movement ended.
    clearTimeout(waiting);
    waiting = setTimeout(() => ($("place").textContent = `z = (${list(latent)})`), 120);
  }

  /** Return the way of a vector through the data space, where it can be decoded. */
  function trailOfData() {
    if (data.view.image || !layers || !operators || state.coefficients.every((c) => c === 0)) return [];
    const A = generator(all(state.coefficients)).map((x) => x / 40);
    const trail = [show(decode(start()))];
    for (let k = 0, z = start(); k < 40; k++) trail.push(show(decode((z = exponential(A, z)))));
    return trail;
  }

  function makeSlider(i) {
    const id = `operator-${i}`;
    const reach = data.operators.reach[i];
    const steps = frames ? (frames.sweeps.shape[2] - 1) / 2 : 100;
    const dot = tag("span", { class: "mark", "aria-hidden": "true" });
    const output = tag("output", { for: id });
    const input = tag("input", { type: "range", id, min: -steps, max: steps, step: 1, value: 0 });
    const name = tag("span", {}, dot, `operator ${shown[i] + 1}`, tag("small", {}, ` norm ${short(data.operators.norms[i])}`));
    input.addEventListener("input", () => {
      if (frames) state.coefficients.fill(0);
      state.coefficients[i] = (reach * Number(input.value)) / steps;
      explore();
    });
    input.addEventListener("dblclick", () => {
      state.coefficients[i] = 0;
      explore();
    });
    $("sliders").append(tag("div", { class: "slider" }, tag("label", { for: id }, name, output), input));
    return {
      update() {
        dot.style.background = colour(i);
        input.value = Math.round((steps * state.coefficients[i]) / reach);
        input.disabled = Boolean(frames && state.point);
        const at = 50 + (50 * state.coefficients[i]) / reach;
        input.style.setProperty("--from", `${Math.min(50, at)}%`);
        input.style.setProperty("--to", `${Math.max(50, at)}%`);
        input.style.setProperty("--fill", colour(i));
        const text = `c = ${short(state.coefficients[i])}`;
        output.textContent = text;
        input.setAttribute("aria-valuetext", text);
      },
    };
  }

  const sliders = shown.map((_, i) => makeSlider(i));
  const markExample = choices($("examples"), "Start from", (i) => {
    Object.assign(state, { example: i, point: null });
    state.coefficients.fill(0);
    explore();
  });

  function goTo([a, b]) {
    const [left, right, low, high] = plane.extent;
    const point = [clamp(a, left, right), size > 1 ? clamp(b, low, high) : 0];
    state.point = frames ? nearestCell(point).place : point;
    state.coefficients.fill(0);
    explore();
  }

  function mapControls() {
    const map = $("map");
    const place = (event) => {
      const box = map.getBoundingClientRect();
      const [left, right, low, high] = plane.extent;
      return [
        left + ((event.clientX - box.left) / box.width) * (right - left),
        high - ((event.clientY - box.top) / box.height) * (high - low),
      ];
    };
    map.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") map.setPointerCapture(event.pointerId);
      goTo(place(event));
    });
    map.addEventListener("pointermove", (event) => {
      if (event.buttons && map.hasPointerCapture(event.pointerId)) goTo(place(event));
    });
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    map.addEventListener("keydown", (event) => {
      const way = ways[event.key];
      if (!way) return;
      event.preventDefault();
      const [left, right] = plane.extent;
      const cell = frames ? 1 / (frames.grid.shape[0] - 1) : event.shiftKey ? 0.1 : 0.02;
      const step = cell * (right - left);
      const [a, b] = project(where(), plane);
      goTo([a + step * way[0], b + step * way[1]]);
    });
  }

  // ---- From one example to another ---------------------------------------------------

  const paths = data.paths.pairs.length
    ? {
        pairs: data.paths.pairs,
        gaps: data.paths.gaps,
        coefficients: data.paths.coefficients ? unpack(data.paths.coefficients) : null,
        latents: data.paths.latents ? unpack(data.paths.latents) : null,
      }
    : null;
  const alike = examples.values.findIndex((value, i) => i > 0 && value === examples.values[0]);
  const travel = { from: 0, to: alike > 0 ? alike : examples.count - 1, time: 0, playing: 0 };
  const pair = () => paths.pairs.findIndex(([a, b]) => a === travel.from && b === travel.to);

  /** Return the latent at a time of the chosen path. */
  function along(time) {
    const p = pair();
    if (paths.coefficients)
      return transport(Array.from(part(paths.coefficients, p), (c) => c * time), part(examples.latents, travel.from));
    const last = paths.latents.shape[1] - 1;
    const i = Math.min(Math.floor(time * last), last - 1);
    const [a, b] = [part(paths.latents, p, i), part(paths.latents, p, i + 1)];
    return Float64Array.from(a, (x, k) => x + (time * last - i) * (b[k] - x));
  }

  function itemAlong(time) {
    if (layers) return show(decode(along(time)));
    const last = frames.paths.shape[1] - 1;
    return part(frames.paths, pair(), Math.round(time * last));
  }

  const STOPS = 9;
  const straight = Boolean(layers && paths && paths.coefficients);
  let stripCanvases = [];
  let straightCanvases = [];
  let markFrom = () => {};
  let markTo = () => {};

  function drawTravel() {
    const { context, at, width } = drawPoints($("travel-map"), true);
    const places = range(61).map((k) => at(project(along(k / 60), plane)));
    const goal = at(project(part(examples.latents, travel.to), plane));
    stroke(context, [places[0], goal], theme().soft, 1.2, [3, 3]);
    stroke(context, places, colour(0), 2.5);
    ring(context, places[0], 3.5, theme().ink, 2);
    ring(context, goal, 5, colour(1), 2.5);
    probe(context, at(project(along(travel.time), plane)), width);
    draw($("travel-picture"), itemAlong(travel.time), data.view.image || !layers ? [] : range(41).map((k) => itemAlong(k / 40)));
    $("time-value").textContent = `t = ${travel.time.toFixed(2)}`;
    $("time").value = travel.time;
    const names = `${named(travel.from)} to ${named(travel.to)}`;
    $("travel-map").setAttribute("aria-label", `The path from ${names} on the latent map`);
    $("travel-picture").setAttribute("aria-label", `The path from ${names}, decoded at t = ${travel.time.toFixed(2)}`);
  }

  function drawStrip() {
    const names = `${named(travel.from)} to ${named(travel.to)}`;
    $("strip").setAttribute("aria-label", `${STOPS} steps of the path from ${names}, between the two themselves`);
    draw(stripCanvases[0], part(examples.items, travel.from));
    range(STOPS).forEach((k) => draw(stripCanvases[k + 1], itemAlong(k / (STOPS - 1))));
    draw(stripCanvases[STOPS + 1], part(examples.items, travel.to));
    if (!straight) return;
    $("straight").setAttribute("aria-label", `The same of the straight line between the two latents`);
    const [a, b] = [part(examples.latents, travel.from), part(examples.latents, travel.to)];
    draw(straightCanvases[0], part(examples.items, travel.from));
    range(STOPS).forEach((k) => {
      const time = k / (STOPS - 1);
      draw(straightCanvases[k + 1], show(decode(a.map((x, i) => x + time * (b[i] - x)))));
    });
    draw(straightCanvases[STOPS + 1], part(examples.items, travel.to));
  }

  function join() {
    markFrom(travel.from);
    markTo(travel.to);
    drawStrip();
    drawTravel();
    const gap = paths.gaps[pair()];
    const words = [
      gap < 0.0005
        ? "The path reaches its goal."
        : `The path ends ${short(100 * gap)} % of the distance between the two away from its goal.`,
    ];
    if (paths.coefficients) words.unshift(`c* = (${list(part(paths.coefficients, pair()), 12)}).`);
    $("join-readout").textContent = words.join(" ");
  }

  function setUpJoin() {
    const choose = (end) => (i) => {
      const other = end === "from" ? "to" : "from";
      if (i === travel[other]) travel[other] = travel[end];
      travel[end] = i;
      travel.time = 0;
      join();
    };
    markFrom = choices($("from"), "From", choose("from"));
    markTo = choices($("to"), "To", choose("to"));
    stripCanvases = range(STOPS + 2).map(() => tag("canvas", { class: "square", "aria-hidden": "true" }));
    $("strip").replaceChildren(...stripCanvases);
    $("straight-row").hidden = !straight;
    straightCanvases = range(STOPS + 2).map(() => tag("canvas", { class: "square", "aria-hidden": "true" }));
    $("straight").replaceChildren(...straightCanvases);
    $("time").addEventListener("input", () => {
      stop();
      travel.time = Number($("time").value);
      drawTravel();
    });
    $("play").addEventListener("click", () => (travel.playing ? stop() : play()));
    redraws.push(join);
  }

  function stop() {
    cancelAnimationFrame(travel.playing);
    travel.playing = 0;
    $("play").textContent = "Play";
    $("play").setAttribute("aria-pressed", "false");
  }

  function play() {
    $("play").textContent = "Stop";
    $("play").setAttribute("aria-pressed", "true");
    if (travel.time >= 1) travel.time = 0;
    const begun = performance.now() - 4000 * travel.time;
    const tick = (now) => {
      travel.time = clamp((now - begun) / 4000, 0, 1);
      drawTravel();
      if (travel.time < 1) travel.playing = requestAnimationFrame(tick);
      else stop();
    };
    travel.playing = requestAnimationFrame(tick);
  }

  // ---- Samples around an example -------------------------------------------------------

  const around = { example: 0, seed: 1, latents: data.samples.latents ? unpack(data.samples.latents) : null };
  const drawsItself = data.samples.rate !== undefined;
  const ownSpread = drawsItself ? unpack(data.samples.own) : null;
  const inCloud = !data.view.image && data.view.planar;
  let sampleCanvases = [];
  let markAround = () => {};

  /** Return uniform numbers in (0, 1) from a seed. */
  function uniform(seed) {
    let state32 = seed >>> 0;
    return () => {
      state32 = (state32 + 0x6d2b79f5) >>> 0;
      let t = state32;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
  }

  /** Draw a latent around another as eq. 5 does: Laplace coefficients, then noise. */
  function sample(latent, own, scale, random) {
    const laplace = (m) => {
      const u = random() - 0.5;
      return -scale * own[m] * Math.sign(u) * Math.log1p(-2 * Math.abs(u));
    };
    const moved = transport(range(operators.shape[0]).map(laplace), latent);
    const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    return moved.map((x) => x + data.samples.noise * normal());
  }

  const spread = () => {
    const value = Number($("spread").value);
    return drawsItself ? 10 ** value : data.samples.spreads[value];
  };

  function drawSamples() {
    const factor = spread();
    const random = uniform(around.seed);
    $("spread-value").textContent = `${short(factor)} ×`;
    $("spread").setAttribute("aria-valuetext", `${short(factor)} times`);
    markAround(around.example);
    const items = range(data.samples.count).map((k) => {
      if (drawsItself) {
        const latent = part(examples.latents, around.example);
        const own = part(ownSpread, around.example);
        return show(decode(sample(latent, own, factor / data.samples.rate, random)));
      }
      const index = [Number($("spread").value), around.example, k];
      return layers ? show(decode(part(around.latents, ...index))) : part(frames.samples, ...index);
    });
    const label = `${items.length} samples around ${named(around.example)}, spread ${short(factor)} times`;
    $(inCloud ? "cloud" : "samples").setAttribute("aria-label", label);
    if (inCloud) drawCloud($("cloud"), items);
    else sampleCanvases.forEach((canvas, k) => draw(canvas, items[k]));
  }

  /** Draw samples of vectors among the test data, with the example that they are around. */
  function drawCloud(canvas, items) {
    const { context, width } = prepare(canvas);
    const at = onto(backdropExtent, 0, 0, width);
    const dots = (list, style, size, alpha) => {
      context.fillStyle = style;
      context.globalAlpha = alpha;
      for (const place of list) mark(context, ...at(place), size, 0);
      context.globalAlpha = 1;
    };
    dots(range(backdrop.points.shape[0]).map((i) => part(backdrop.points, i)), theme().soft, 0.8 * dotSize(backdrop.points.shape[0]), 0.35);
    dots(items.map((item) => project(item, backdrop)), colour(1), 2.4, 0.7);
    probe(context, at(project(part(examples.items, around.example), backdrop)), width);
  }

  function setUpAround() {
    const input = $("spread");
    const usual = drawsItself ? Math.log10(data.samples.usual) : 1;
    const ends = drawsItself ? [-1, 2, 0.001] : [0, data.samples.spreads.length - 1, 1];
    [input.min, input.max, input.step] = ends.map(String);
    input.value = String(usual);
    input.addEventListener("input", drawSamples);
    $("draw").hidden = !drawsItself;
    $("draw").addEventListener("click", () => {
      around.seed += 1;
      drawSamples();
    });
    markAround = choices($("around-examples"), "Around", (i) => {
      around.example = i;
      drawSamples();
    });
    $("cloud").hidden = !inCloud;
    $("samples").hidden = inCloud;
    sampleCanvases = range(inCloud ? 0 : data.samples.count).map(() => tag("canvas", { class: "square", "aria-hidden": "true" }));
    $("samples").replaceChildren(...sampleCanvases);
    redraws.push(drawSamples);
  }

  // ---- Curves -------------------------------------------------------------------------

  function panel({ title, lines }) {
    const curves = lines.map(({ name, steps, values }) => ({ name, x: unpack(steps).numbers, y: unpack(values).numbers }));
    const [left, right, top, bottom] = [54, 312, 8, 158];
    const flat = (key) => curves.flatMap((curve) => Array.from(curve[key]));
    const [xs, ys] = [flat("x"), flat("y")];
    if (!ys.length) return null;
    const ends = [Math.min(...xs, 0), Math.max(...xs)];
    let [low, high] = [Math.min(...ys), Math.max(...ys)];
    const log = low > 0 && high > 100 * low;
    const scaled = log ? Math.log10 : (y) => y;
    [low, high] = [scaled(low), scaled(high)];
    const margin = 0.05 * (high - low) || 0.5 * Math.abs(high) || 1;
    [low, high] = [low - margin, high + margin];
    const across = (x) => left + ((x - ends[0]) / Math.max(ends[1] - ends[0], 1e-12)) * (right - left);
    const up = (y) => bottom - ((scaled(y) - low) / (high - low)) * (bottom - top);
    const root = svg("svg", { viewBox: "0 0 320 180", role: "img", tabindex: "0" });
    const told = curves.slice(0, 4).map(({ name, x, y }) => {
      const last = y.length - 1;
      return `${name ? `operator ${name}: ` : ""}${short(y[0])} at step ${Math.round(x[0])}, ${short(y[last])} at step ${Math.round(x[last])}`;
    });
    root.setAttribute("aria-label", `${title}: ${told.join("; ")}`);
    if (data.warm_up > 0) {
      const width = Math.max(across(Math.min(data.warm_up, ends[1])) - left, 0);
      root.append(svg("rect", { x: left, y: top, width, height: bottom - top, class: "warm-up" }));
    }
    const levels = log ? range(Math.floor(high) - Math.ceil(low) + 1).map((i) => 10 ** (Math.ceil(low) + i)) : ticks(low, high);
    for (const y of levels) {
      const place = up(y);
      root.append(svg("line", { x1: left, x2: right, y1: place, y2: place, class: "axis", "stroke-width": 0.5 }));
      root.append(svg("text", { x: left - 5, y: place + 4, "text-anchor": "end" }, short(y)));
    }
    for (const x of ticks(...ends)) root.append(svg("text", { x: across(x), y: 174, "text-anchor": "middle" }, x >= 1000 ? `${short(x / 1000)}k` : short(x)));
    const drawn = curves.map(({ x, y }, i) => {
      const points = Array.from(x, (value, k) => `${across(value).toFixed(1)},${up(y[k]).toFixed(1)}`).join(" ");
      const line = svg("polyline", { points, fill: "none", "stroke-width": 1.6, "stroke-linejoin": "round" });
      root.append(line);
      return { line, i };
    });
    redraws.push(() => drawn.forEach(({ line, i }) => line.setAttribute("stroke", colour(i))));
    const cursor = svg("line", { y1: top, y2: bottom, class: "cursor", visibility: "hidden" });
    const readout = tag("span", { class: "readout" });
    readout.textContent = log ? "logarithmic" : " ";
    root.append(cursor);
    let chosen = curves[0].x.length - 1;
    const point = (index) => {
      chosen = clamp(index, 0, curves[0].x.length - 1);
      const x = curves[0].x[chosen];
      cursor.setAttribute("x1", across(x));
      cursor.setAttribute("x2", across(x));
      cursor.setAttribute("visibility", "visible");
      readout.textContent = `step ${Math.round(x)}: ${curves.map(({ y }) => short(y[Math.min(chosen, y.length - 1)])).join(", ")}`;
    };
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 320;
      const distances = Array.from(curves[0].x, (value) => Math.abs(across(value) - x));
      point(distances.indexOf(Math.min(...distances)));
    });
    root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
      if (!step) return;
      event.preventDefault();
      point(chosen + step);
    });
    return tag("figure", {}, tag("h3", {}, title), root, tag("figcaption", {}, readout));
  }

  function setUpCurves() {
    const panels = data.curves.map(panel).filter(Boolean);
    const words = ["Each point is the mean of the logged steps about it."];
    if (data.warm_up > 0) words.push("Shaded: the warm-up.");
    $("curves-lead").textContent = panels.length ? words.join(" ") : "There is no log of a training beside these results.";
    $("panels").append(...panels);
  }

  // ---- Set up -------------------------------------------------------------------------

  const has = { operators: Boolean(operators), pairs: Boolean(paths) };
  for (const node of document.querySelectorAll("[data-needs]")) if (!has[node.dataset.needs]) node.remove();
  for (const link of document.querySelectorAll("nav a")) if (!$(link.hash.slice(1))) link.remove();

  function words() {
    $("explore-lead").textContent = [
      operators ? "Start from an example or from any point of the map, and move it along the operators: expm(Σ c Ψ) z." : "Start from an example or from any point of the map.",
      layers ? "The page decodes as you go." : `The pictures were decoded beforehand, ${operators ? "along one operator at a time and " : ""}on a grid of the map.`,
    ].join(" ");
    $("map-help").textContent = [
      "Click the map, drag over it, or reach it by Tab and use the arrow keys" + (layers ? " (with Shift for longer steps)." : "."),
      size > 2 ? `Latents have ${size} entries: the map shows the plane of their first two principal components, and a click decodes a latent in that plane.` : "",
      operators ? "Dashed: where each operator alone leads, as far as its slider goes. Solid: the way taken." : "",
      backdrop ? "A data point is shown among the test data" + (data.view.shape[0] > 2 ? ", in the plane of their first two principal components, and below as the curve of its entries." : ".") : "",
    ].filter(Boolean).join(" ");
    const [x, y] = data.map.axis_names;
    $("map-axes").textContent = size > 1 ? `across: ${x}; up: ${y}` : `across: ${x}`;
    if (paths)
      $("join-lead").textContent = [
        paths.coefficients || (frames && operators) ? "The library has looked for the coefficients c* of every pair of these examples, anywhere (a global search);" : "The library has joined every pair of these examples in the model's own way;",
        "the examples themselves stand at both ends of the row.",
      ].join(" ");
    $("around-lead").textContent = drawsItself
      ? `Coefficients are Laplace, of scale 1/ζ₃ = ${short(1 / data.samples.rate)} times the spread; ${short(data.samples.usual)} times is the spread of the figures.`
      : "The library has drawn these from the model's posterior, and from the wider one of the figures.";
    $("spread-label").textContent = "Spread, times that of the posterior:";
  }

  /** Compare the page's decoder with what the library decoded; says the difference. */
  function check() {
    if (!layers) {
      $("checked").textContent = "This page does not decode: its decoder is not a stock one, or too large.";
      return;
    }
    const latents = unpack(data.decoder.check.latents);
    const outputs = unpack(data.decoder.check.outputs);
    const span = Math.max(data.view.high - data.view.low, 1e-12);
    let worst = 0;
    for (let i = 0; i < latents.shape[0]; i++) {
      const wanted = part(outputs, i);
      decode(part(latents, i)).forEach((x, k) => (worst = Math.max(worst, Math.abs(x - wanted[k]))));
    }
    const levels = (255 * worst) / span;
    const amount = levels < 0.01 ? "less than 0.01" : `up to ${short(levels)}`;
    $("checked").textContent = `This page decodes by itself: on ${latents.shape[0]} latents it differs from the library by ${amount} of 255 levels.`;
    if (!(levels <= 1)) trouble(`This page decodes other than the library does, by ${short(levels)} of 255 levels: do not trust its pictures.`);
  }

  function redraw() {
    legend();
    redraws.forEach((redrawOne) => redrawOne());
  }

  if (!operators) document.querySelector(".bench").classList.add("plain");
  words();
  mapControls();
  if (operators)
    $("still").addEventListener("click", () => {
      state.coefficients.fill(0);
      explore();
    });
  redraws.push(explore);
  if (paths) setUpJoin();
  setUpAround();
  setUpCurves();
  check();
  redraw();

  let resized = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(resized);
    resized = requestAnimationFrame(redraw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("details").forEach((node) => (node.open = true));
    redraw();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    redraw();
  });

  // For a console, and for the tests.
  window.report = {
    data,
    decode: (latent) => (layers ? Array.from(decode(latent)) : null),
    transport: (coefficients, latent) => Array.from(transport(coefficients, latent)),
    latent: () => Array.from(where()),
    picture: () => Array.from(picture),
    along: (time) => Array.from(along(time)),
  };
})();
