// Draws a dashboard whose queries are answered: `board`, made by viewer.py. Panels of Grafana are imitated as far as these dashboards use them.
// Not drawn: tooltips, hover, links (underlined), sparklines, pages of long tables. What does not fit is marked in red as cut: Grafana scrolls there.
"use strict";

const COLORS = {
  green: "#73BF69", "semi-dark-green": "#56A64B", "dark-green": "#37872D", "light-green": "#96D98D", yellow: "#FADE2A", "dark-yellow": "#E0B400", orange: "#FF9830", "dark-orange": "#FA6400",
  red: "#F2495C", "semi-dark-red": "#E02F44", "dark-red": "#C4162A", blue: "#5794F2", "light-blue": "#8AB8FF", "dark-blue": "#1F60C4", purple: "#B877D9", "dark-purple": "#8F3BB8", text: "#ccccdc", transparent: "transparent",
};
const PALETTE = ["#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A", "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477", "#B7DBAB", "#F4D598", "#70DBED", "#F9BA8F"];
const REDUCERS = {
  lastNotNull: ["Last *", values => values.at(-1)],
  max: ["Max", values => Math.max(...values)],
  min: ["Min", values => Math.min(...values)],
  mean: ["Mean", values => values.reduce((sum, value) => sum + value, 0) / values.length],
  sum: ["Total", values => values.reduce((sum, value) => sum + value, 0)],
};

const color = name => {
  if (!name) return COLORS.text;
  if (!COLORS[name] && !name.startsWith("#")) throw new Error(`no colour ${name}`);
  return COLORS[name] ?? name;
};
const faded = (hex, share) => hex.slice(0, 7) + Math.round(share * 255).toString(16).padStart(2, "0");
// The same before a panel, but hiding what is behind.
const mixed = (hex, share) => "#" + [1, 3, 5].map(at => Math.round(share * parseInt(hex.slice(at, at + 2), 16) + (1 - share) * parseInt("#181b1f".slice(at, at + 2), 16)).toString(16).padStart(2, "0")).join("");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key === "style" ? Object.assign(made.style, value) : (made[key] = value);
  made.append(...children);
  return made;
}

// Values as text.

function fixed(value, decimals) {
  if (decimals == null) decimals = value === 0 || value % 1 === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}

function scaled(value, decimals, base, names, end = "") {
  let at = 0;
  while (Math.abs(value) >= base && at < names.length - 1) [value, at] = [value / base, at + 1];
  return fixed(value, decimals) + names[at] + end;
}

const LENGTHS = [[31536000, "year"], [2592000, "month"], [604800, "week"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
function spoken(value) {
  const [length, name] = LENGTHS.find(([length]) => Math.abs(value) >= length) ?? LENGTHS.at(-1);
  const count = Math.floor(Math.abs(value) / length);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

const UNITS = {
  none: fixed,
  short: (value, decimals) => scaled(value, decimals, 1000, ["", " K", " Mil", " Bil"]),
  bytes: (value, decimals) => scaled(value, decimals, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]),
  Bps: (value, decimals) => scaled(value, decimals, 1000, [" B/s", " kB/s", " MB/s", " GB/s"]),
  cps: (value, decimals) => scaled(value, decimals, 1000, ["", " K", " Mil"], " c/s"),
  ops: (value, decimals) => scaled(value, decimals, 1000, ["", " K", " Mil"], " ops/s"),
  percent: (value, decimals) => fixed(value, decimals) + "%",
  percentunit: (value, decimals) => fixed(Number((value * 100).toPrecision(12)), decimals) + "%",
  s: (value, decimals) => {
    const size = Math.abs(value);
    if (size === 0) return "0 s";
    for (const [least, by, name] of [[31536000, 31536000, "years"], [604800, 604800, "weeks"], [86400, 86400, "days"], [3600, 3600, "hours"], [60, 60, "mins"], [1, 1, "s"], [1e-3, 1e-3, "ms"], [1e-6, 1e-6, "µs"]])
      if (size >= least) return `${fixed(Number((value / by).toPrecision(12)), decimals)} ${name}`;
    return `${fixed(value * 1e9, decimals)} ns`;
  },
  dtdurations: value => spoken(value),
  dateTimeFromNow: value => `${spoken(board.end - value / 1000)} ago`,
};

function numeric(config, value) {
  if (config.unit?.startsWith("suffix:")) return `${fixed(value, config.decimals)} ${config.unit.slice(7)}`;
  if (!UNITS[config.unit ?? "none"]) throw new Error(`no unit ${config.unit}`);
  return UNITS[config.unit ?? "none"](value, config.decimals);
}

// What Grafana shows for a value of a field: text and colour.
function display(config, value) {
  const number = typeof value === "number" ? value : null;
  let shade = null;
  if (number !== null) for (const step of config.thresholds?.steps ?? []) if (step.value === null || number >= step.value) shade = step.color;
  if (value === null || value === undefined || value === "") return { text: config.noValue ?? "", color: color(config.thresholds?.steps[0]?.color) };
  for (const mapping of config.mappings ?? []) {
    let found = null;
    if (mapping.type === "value") found = mapping.options[String(value)];
    else if (mapping.type === "range" && number !== null && number >= (mapping.options.from ?? -Infinity) && number <= (mapping.options.to ?? Infinity)) found = mapping.options.result;
    else if (mapping.type === "special" || mapping.type === "regex") throw new Error(`no mapping ${mapping.type}`);
    if (found) return { text: found.text ?? numeric(config, number), color: color(found.color ?? shade) };
  }
  return { text: number === null ? String(value) : numeric(config, number), color: color(shade ?? "text") };
}

// The configuration of a field of this name after the overrides; their fields of `custom.` stand beside the others.
function configured(panel, name, ref) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = { ...defaults, ...Object.fromEntries(Object.entries(defaults.custom ?? {}).map(([key, value]) => [`custom.${key}`, value])) };
  for (const { matcher, properties } of overrides) {
    const { id, options } = matcher;
    const expression = /^\/(.*)\/$/.exec(options);
    if (id === "byName" ? options === name : id === "byRegexp" ? new RegExp(expression ? expression[1] : options).test(name) : id === "byFrameRefID" && options === ref)
      for (const property of properties) config[property.id] = property.value;
  }
  return config;
}

// All series of the panel: name, numbers on the steps of the range (null where there is none), configuration.
function lines({ panel, step, frames }) {
  const first = Math.floor(board.start / step) * step;
  const times = Array.from({ length: Math.round((Math.floor(board.end / step) * step - first) / step) + 1 }, (_, at) => first + at * step);
  const series = frames.flatMap(frame => frame.series.map(one => {
    const values = times.map(() => null);
    for (const [at, value] of one.points) {
      const number = Number(value);
      values[Math.min(values.length - 1, Math.max(0, Math.round((at - first) / step)))] = Number.isFinite(number) ? number : null;
    }
    const config = configured(panel, one.name, frame.ref);
    return { name: config.displayName ?? one.name, values, config, last: Number(one.points.at(-1)[1]) };
  }));
  return { times, series };
}

const nothing = panel => element("div", { className: "nothing" }, panel.fieldConfig.defaults.noValue ?? "No data");

function stat(body, item) {
  const { panel } = item;
  let { series } = lines(item);
  if (!series.length) series = [{ name: "", last: null, config: panel.fieldConfig.defaults }];
  const names = panel.options.textMode === "name", both = panel.options.textMode === "auto" && series.length > 1;
  const row = element("div", { className: "stat" });
  row.style.flexDirection = body.clientWidth > body.clientHeight ? "row" : "column";
  const wide = row.style.flexDirection === "row" ? (body.clientWidth - 16) / series.length - 6 : body.clientWidth - 16;
  const high = (row.style.flexDirection === "row" ? body.clientHeight : body.clientHeight / series.length) - 12;
  const size = (text, most) => Math.max(8, Math.min(most, (wide * 0.9) / (text.length * 0.58), 60));
  for (const one of series) {
    const shown = display(one.config, one.last);
    const text = names && one.last !== null ? one.name : shown.text;
    const box = element("div", { style: { background: shown.color } });
    if (both) box.append(element("span", { textContent: one.name, style: { fontSize: `${size(one.name, high * 0.28)}px` } }));
    box.append(element("span", { textContent: text, style: { fontSize: `${size(text, high * (both ? 0.5 : 0.7))}px` } }));
    row.append(box);
  }
  body.append(row);
}

function bargauge(body, item) {
  const { panel } = item, { series } = lines(item);
  if (!series.length) return body.append(nothing(panel));
  const { minVizHeight, maxVizHeight } = panel.options;
  const high = Math.max(minVizHeight, Math.min(maxVizHeight, (body.clientHeight - 8) / series.length - 6));
  const most = Math.max(...series.map(one => one.last));
  const longest = Math.min(body.clientWidth * 0.4, 8 * Math.max(...series.map(one => one.name.length)));
  for (const one of series) {
    const { min = 0, max = most } = one.config, shown = display(one.config, one.last);
    body.append(element("div", { className: "bar", style: { height: `${high}px` } }, element("span", { textContent: one.name, style: { width: `${longest}px` } }),
      element("div", {}, element("div", { style: { width: `${max > min ? Math.min(100, (100 * (one.last - min)) / (max - min)) : 0}%`, background: shown.color } })),
      element("b", { textContent: shown.text, style: { color: shown.color } })));
  }
}

// The rows and columns of a table after the transformations. A row has columns by name.
function transformed({ panel, frames }) {
  const several = frames.length > 1;
  let tables = frames.map(frame => frame.series.map(one => ({ Time: one.points.at(-1)[0] * 1000, ...Object.fromEntries(Object.entries(one.labels).filter(([key]) => key !== "__name__")),
    [several ? `Value #${frame.ref}` : "Value"]: Number(one.points.at(-1)[1]) })));
  const columns = rows => [...new Set(rows.flatMap(row => Object.keys(row)))];
  let names = [];
  for (const { id, options } of panel.transformations ?? []) {
    if (id === "merge") {
      tables = tables.filter(rows => rows.length);
      const shared = tables.map(columns).reduce((kept, own) => kept.filter(name => own.includes(name)), columns(tables[0] ?? []));
      const merged = new Map();
      for (const row of tables.flat()) {
        const key = JSON.stringify(shared.map(name => row[name]));
        const same = (merged.get(key) ?? []).find(other => Object.keys(row).every(name => !(name in other) || other[name] === row[name]));
        if (same) Object.assign(same, row);
        else merged.set(key, [...(merged.get(key) ?? []), { ...row }]);
      }
      tables = [[...merged.values()].flat()];
    } else if (id === "convertFieldType") {
      for (const { targetField, destinationType } of options.conversions) for (const row of tables.flat()) if (targetField in row) row[targetField] = destinationType === "number" ? Number(row[targetField]) : String(row[targetField]);
    } else if (id === "organize") {
      const place = name => options.indexByName[name] ?? Infinity;
      names = columns(tables[0] ?? []).filter(name => !options.excludeByName[name]).sort((one, other) => place(one) === place(other) ? 0 : place(one) - place(other));
    } else throw new Error(`no transformation ${id}`);
  }
  return { rows: tables[0] ?? [], names };
}

function table(body, item) {
  const { panel } = item, { rows, names } = transformed(item);
  if (!rows.length) return body.append(nothing(panel));
  const configs = names.map(name => configured(panel, name));
  const title = at => configs[at].displayName ?? names[at];
  const compare = (one, other) => one === other ? 0 : one === undefined ? 1 : other === undefined ? -1 : one < other ? -1 : 1;
  rows.sort((one, other) => {
    for (const { displayName, desc } of panel.options.sortBy) {
      const name = names[configs.findIndex((_, at) => title(at) === displayName)];
      const order = compare(one[name], other[name]);
      if (order) return desc ? -order : order;
    }
    return 0;
  });
  const numbers = names.map(name => rows.some(row => typeof row[name] === "number"));
  const told = configs.map(config => config["custom.width"]);
  const share = (body.clientWidth - 16 - told.reduce((sum, width) => sum + (width ?? 0), 0)) / Math.max(1, told.filter(width => !width).length);
  const widths = configs.map((config, at) => told[at] ?? Math.max(config["custom.minWidth"], share));
  const head = element("tr", {}, ...names.map((_, at) => element("th", { textContent: title(at), className: numbers[at] ? "number" : "" })));
  const made = element("table", {}, element("colgroup", {}, ...widths.map(width => element("col", { style: { width: `${width}px` } }))), head);
  made.style.width = `${widths.reduce((sum, width) => sum + width, 0)}px`;
  for (const row of rows) made.append(element("tr", {}, ...names.map((name, at) => {
    const config = configs[at], shown = display(config, row[name]);
    const tinted = config["custom.cellOptions"].type === "color-text";
    return element("td", { textContent: shown.text, className: `${numbers[at] ? "number" : ""} ${config.links?.length ? "link" : ""}`, style: tinted ? { color: shown.color } : {} });
  })));
  body.append(made);
}

// Vertical lines where an annotation is, and horizontal ones at thresholds.
const marks = thresholds => chart => {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.setLineDash([4, 4]);
  const line = (shade, ...points) => { ctx.strokeStyle = shade; ctx.beginPath(); ctx.moveTo(points[0], points[1]); ctx.lineTo(points[2], points[3]); ctx.stroke(); };
  for (const { value, color: name } of thresholds) {
    const y = chart.valToPos(value, "y", true);
    if (value !== null && y >= bbox.top) line(color(name), bbox.left, y, bbox.left + bbox.width, y);
  }
  for (const { at, color: name } of board.annotations) {
    const x = chart.valToPos(at, "x", true);
    line(color(name), x, bbox.top, x, bbox.top + bbox.height);
    ctx.fillStyle = color(name);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + bbox.height); ctx.lineTo(x - 4, bbox.top + bbox.height + 6); ctx.lineTo(x + 4, bbox.top + bbox.height + 6);
    ctx.fill();
  }
  ctx.restore();
};

const axis = { stroke: "#9a9ba8", font: "12px DejaVu Sans", grid: { stroke: "#24262c", width: 1 }, ticks: { show: false } };
const clock = at => new Date(at * 1000).toLocaleTimeString("en-GB");

function legend(body, panel, unsorted) {
  const { calcs, placement, sortBy, sortDesc } = panel.options.legend;
  const by = Object.values(REDUCERS).find(([name]) => name === sortBy)?.[1], known = one => one.values.filter(value => value !== null);
  const series = by ? unsorted.toSorted((one, other) => (sortDesc ? -1 : 1) * (by(known(one)) - by(known(other)))) : unsorted;
  const used = element("div", { className: "legend" });
  const made = element("table", {}, element("tr", {}, element("th", { textContent: "Name" }), ...calcs.map(calc => element("th", { textContent: REDUCERS[calc][0] }))));
  for (const one of series) {
    const values = known(one);
    made.append(element("tr", {}, element("td", {}, element("span", { className: "swatch", style: { background: one.shade } }), one.name),
      ...calcs.map(calc => element("td", { textContent: values.length ? numeric(one.config, REDUCERS[calc][1](values)) : "" }))));
  }
  used.append(made);
  // On a small screen Grafana puts every legend below.
  used.style.cssText = placement === "right" && !board.narrow ? `position: absolute; right: 8px; top: 0; max-width: 60%; max-height: ${body.clientHeight - 8}px` : `max-height: ${0.35 * body.clientHeight}px`;
  body.append(used);
  return used;
}

function timeseries(body, item) {
  const { panel } = item, { times, series } = lines(item);
  if (!series.length) return body.append(nothing(panel));
  const { defaults } = panel.fieldConfig, custom = defaults.custom;
  series.forEach((one, at) => one.shade = one.config.color.mode === "fixed" ? color(one.config.color.fixedColor) : PALETTE[at % PALETTE.length]);
  const room = body.clientHeight - 8, place = element("div");
  body.append(place);
  const under = legend(body, panel, series), right = panel.options.legend.placement === "right" && !board.narrow;
  const stacked = custom.stacking.mode === "normal", sums = times.map(() => 0), scales = {};
  const plots = series.map(one => {
    const values = stacked ? one.values.map((value, at) => value === null ? null : (sums[at] += value)) : one.values;
    const scale = one.config["custom.axisPlacement"] === "right" ? "y2" : "y";
    scales[scale] ??= one.config;
    const options = { label: one.name, scale, stroke: one.shade, width: 1, spanGaps: false, fill: (stacked ? mixed : faded)(one.shade, custom.fillOpacity / 100), points: { size: 4 } };
    if (custom.drawStyle === "bars") Object.assign(options, { paths: uPlot.paths.bars({ size: [custom.barWidthFactor, Infinity], align: custom.barAlignment }), points: { show: false } });
    return { values, options };
  });
  // Higher stacks are drawn first, so that lower ones stay seen.
  if (stacked) plots.reverse();
  const range = config => (_, least, most) => {
    const low = config.min ?? least, high = config.max ?? Math.max(most, config["custom.axisSoftMax"] ?? most);
    return [config.min ?? uPlot.rangeNum(low, high, 0.1, true)[0], config.max ?? Math.max(uPlot.rangeNum(Math.min(low, high), high, 0.1, true)[1], low + 1e-9)];
  };
  const options = {
    width: body.clientWidth - (right ? under.offsetWidth + 32 : 16), height: right ? room : room - under.offsetHeight, pxAlign: false, cursor: { show: false }, legend: { show: false },
    scales: { x: { range: () => [board.start, board.end] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map(clock), space: 75 }],
    series: [{}, ...plots.map(plot => plot.options)],
    hooks: { draw: [marks(custom.thresholdsStyle.mode === "off" ? [] : defaults.thresholds.steps)] },
  };
  for (const [scale, config] of Object.entries(scales)) {
    options.scales[scale] = { range: range(config) };
    options.axes.push({ ...axis, scale, side: scale === "y" ? 3 : 1, grid: { ...axis.grid, show: scale === "y" }, size: (_, texts) => 16 + 7 * Math.max(4, ...(texts ?? []).map(text => text.length)), values: (_, ticks) => ticks.map(tick => tick === null ? "" : numeric({ ...config, decimals: null }, Number(tick.toPrecision(10))).replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "")) });
  }
  new uPlot(options, [times, ...plots.map(plot => plot.values)], place);
}

function stateTimeline(body, item) {
  const { panel } = item, { times, series } = lines(item);
  if (!series.length) return body.append(nothing(panel));
  const states = new Map(), room = body.clientHeight - 8, place = element("div");
  body.append(place);
  const shown = series.slice(0, panel.options.perPage);
  const cells = shown.map(one => {
    const boxes = [];
    one.values.forEach((value, at) => {
      if (value === null) return;
      const last = boxes.at(-1);
      if (last && last.value === value && last.end === times[at]) last.end = times[at] + item.step;
      else boxes.push({ value, start: times[at], end: times[at] + item.step, ...display(one.config, value) });
    });
    // A change is drawn when it was seen: a box ends where the next begins.
    boxes.forEach(box => states.set(box.text, box.color));
    return boxes;
  });
  const list = element("div", { className: "legend states" }, ...[...states].map(([text, shade]) => element("span", {}, element("i", { className: "swatch", style: { background: shade } }), text)));
  body.append(list);
  const pages = series.length > shown.length ? 24 : 0;
  if (pages) list.prepend(element("div", { textContent: `‹ 1 of ${Math.ceil(series.length / shown.length)} ›`, style: { textAlign: "center" } }));
  const width = body.clientWidth - 16, height = room - list.offsetHeight, top = 4, bottom = 24;
  const canvas = element("canvas", { width, height });
  place.append(canvas);
  const ctx = canvas.getContext("2d");
  ctx.font = axis.font;
  const left = Math.min(width * 0.4, 10 + Math.max(...shown.map(one => ctx.measureText(one.name).width)));
  const row = (height - top - bottom) / shown.length, x = at => left + ((Math.min(Math.max(at, board.start), board.end) - board.start) / (board.end - board.start)) * (width - left);
  ctx.textBaseline = "middle";
  shown.forEach((one, at) => {
    const y = top + at * row, high = row * panel.options.rowHeight;
    ctx.textAlign = "right";
    ctx.fillStyle = axis.stroke;
    ctx.fillText(one.name, left - 8, y + row / 2, left - 10);
    ctx.textAlign = "left";
    for (const box of cells[at]) {
      ctx.fillStyle = faded(box.color, 0.75);
      ctx.fillRect(x(box.start), y + (row - high) / 2, x(box.end) - x(box.start), high);
      if (high > 12 && ctx.measureText(box.text).width + 8 < x(box.end) - x(box.start)) { ctx.fillStyle = "#fff"; ctx.fillText(box.text, x(box.start) + 4, y + row / 2); }
    }
  });
  ctx.fillStyle = axis.stroke;
  ctx.textAlign = "center";
  const every = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200].find(gap => ((width - left) * gap) / (board.end - board.start) > 90) ?? 14400;
  for (let at = Math.ceil(board.start / every) * every; at < board.end; at += every) if (x(at) - left > 30 && width - x(at) > 30) ctx.fillText(clock(at), x(at), height - 10);
  marks([])({ ctx, bbox: { left, top, width: width - left, height: height - top - bottom }, valToPos: at => x(at) });
}

const KINDS = { stat, bargauge, table, timeseries, "state-timeline": stateTimeline };
const grid = element("div", { id: "grid", style: { height: `${board.height}px` } });
document.body.append(element("header", {}, element("h1", { textContent: board.title }), ...board.variables.map(({ label, value }) => element("span", { className: "chip" }, `${label} `, element("b", { textContent: value === ".*" ? "All" : value }))),
  ...board.links.map(link => element("span", { className: "chip", textContent: link })), element("span", { className: "chip", textContent: `${clock(board.start)} – ${clock(board.end)}` })), grid);
for (const item of board.panels) {
  const { panel, box } = item, style = Object.fromEntries(Object.entries(box).map(([key, value]) => [key, `${value}px`]));
  if (panel.type === "row") {
    const count = panel.panels.length;
    grid.append(element("div", { className: "row", style }, `${item.opened ? "⌄" : "›"} ${panel.title} `, element("small", { textContent: item.opened ? "" : `(${count} panel${count === 1 ? "" : "s"})` })));
    continue;
  }
  const body = element("div", { className: "body" });
  const made = element("div", { className: "panel", style }, element("h2", {}, panel.title, element("i", { textContent: "i" })), body);
  grid.append(made);
  if (!KINDS[panel.type]) throw new Error(`no panel ${panel.type}`);
  KINDS[panel.type](body, item);
  const cut = [body, ...body.querySelectorAll(".legend")].some(one => one.scrollHeight > one.clientHeight + 2 || one.scrollWidth > one.clientWidth + 2);
  if (cut) {
    made.append(element("div", { className: "cut", textContent: "cut" }));
    console.log(`cut: ${panel.title}`);
  }
}
console.log("drawn");
