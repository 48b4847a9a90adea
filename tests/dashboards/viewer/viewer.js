// Draws a dashboard with the data in `dashboard`, which viewer.py collects. Imitates Grafana's
// panels as far as these dashboards use them. Not drawn: tooltips, hover, links (only underlined),
// sparklines, pages of long tables. Panels with text that does not fit are marked "cut" in red.
"use strict";

const COLORS = {
  green: "#73BF69",
  "semi-dark-green": "#56A64B",
  "dark-green": "#37872D",
  "light-green": "#96D98D",
  yellow: "#FADE2A",
  "dark-yellow": "#E0B400",
  orange: "#FF9830",
  "dark-orange": "#FA6400",
  red: "#F2495C",
  "semi-dark-red": "#E02F44",
  "dark-red": "#C4162A",
  blue: "#5794F2",
  "light-blue": "#8AB8FF",
  "dark-blue": "#1F60C4",
  purple: "#B877D9",
  "dark-purple": "#8F3BB8",
  text: "#ccccdc",
  transparent: "transparent",
};
const PALETTE = [
  "#73BF69",
  "#F2CC0C",
  "#8AB8FF",
  "#FF780A",
  "#F2495C",
  "#5794F2",
  "#B877D9",
  "#705DA0",
  "#37872D",
  "#FADE2A",
  "#447EBC",
  "#C15C17",
  "#890F02",
  "#0A437C",
  "#6D1F62",
  "#584477",
  "#B7DBAB",
  "#F4D598",
  "#70DBED",
  "#F9BA8F",
];
const REDUCERS = {
  lastNotNull: ["Last *", values => values.at(-1)],
  max: ["Max", values => Math.max(...values)],
  min: ["Min", values => Math.min(...values)],
  mean: ["Mean", values => values.reduce((sum, value) => sum + value, 0) / values.length],
  sum: ["Total", values => values.reduce((sum, value) => sum + value, 0)],
};

// Returns the hexadecimal colour of one of Grafana's colour names.
const color = name => {
  if (!name) return COLORS.text;
  if (!COLORS[name] && !name.startsWith("#")) throw new Error(`unknown colour ${name}`);
  return COLORS[name] ?? name;
};
// Returns a translucent colour.
const translucent = (hex, share) =>
  hex.slice(0, 7) +
  Math.round(share * 255)
    .toString(16)
    .padStart(2, "0");
// Returns the opaque colour that looks like the translucent one on the background of a panel.
const opaque = (hex, share) =>
  "#" +
  [1, 3, 5]
    .map(index =>
      Math.round(
        share * parseInt(hex.slice(index, index + 2), 16) +
          (1 - share) * parseInt("#181b1f".slice(index, index + 2), 16),
      )
        .toString(16)
        .padStart(2, "0"),
    )
    .join("");

function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    key === "style" ? Object.assign(created.style, value) : (created[key] = value);
  created.append(...children);
  return created;
}

// Numbers as text.

function fixed(value, decimals) {
  if (decimals == null)
    decimals =
      value === 0 || value % 1 === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}

function scaled(value, decimals, base, names, end = "") {
  let index = 0;
  while (Math.abs(value) >= base && index < names.length - 1)
    [value, index] = [value / base, index + 1];
  return fixed(value, decimals) + names[index] + end;
}

const LENGTHS = [
  [31536000, "year"],
  [2592000, "month"],
  [604800, "week"],
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];
function longDuration(value) {
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
  reqps: (value, decimals) => scaled(value, decimals, 1000, ["", " K", " Mil"], " req/s"),
  ops: (value, decimals) => scaled(value, decimals, 1000, ["", " K", " Mil"], " ops/s"),
  percent: (value, decimals) => fixed(value, decimals) + "%",
  percentunit: (value, decimals) => fixed(Number((value * 100).toPrecision(12)), decimals) + "%",
  s: (value, decimals) => {
    const size = Math.abs(value);
    if (size === 0) return "0 s";
    for (const [least, by, name] of [
      [31536000, 31536000, "years"],
      [604800, 604800, "weeks"],
      [86400, 86400, "days"],
      [3600, 3600, "hours"],
      [60, 60, "mins"],
      [1, 1, "s"],
      [1e-3, 1e-3, "ms"],
      [1e-6, 1e-6, "µs"],
    ])
      if (size >= least) return `${fixed(Number((value / by).toPrecision(12)), decimals)} ${name}`;
    return `${fixed(value * 1e9, decimals)} ns`;
  },
  dtdurations: value => longDuration(value),
  dateTimeFromNow: value => `${longDuration(dashboard.end - value / 1000)} ago`,
};

// Returns the text of a number in the unit of its field.
function numeric(config, value) {
  if (config.unit?.startsWith("suffix:"))
    return `${fixed(value, config.decimals)} ${config.unit.slice(7)}`;
  if (!UNITS[config.unit ?? "none"]) throw new Error(`unknown unit ${config.unit}`);
  return UNITS[config.unit ?? "none"](value, config.decimals);
}

// Returns the text and the colour that Grafana shows for a value of a field.
function display(config, value) {
  const number = typeof value === "number" ? value : null;
  let shade = null;
  if (number !== null)
    for (const step of config.thresholds?.steps ?? [])
      if (step.value === null || number >= step.value) shade = step.color;
  if (value === null || value === undefined || value === "")
    return { text: config.noValue ?? "", color: color(config.thresholds?.steps[0]?.color) };
  for (const mapping of config.mappings ?? []) {
    let found = null;
    if (mapping.type === "value") found = mapping.options[String(value)];
    else if (
      mapping.type === "range" &&
      number !== null &&
      number >= (mapping.options.from ?? -Infinity) &&
      number <= (mapping.options.to ?? Infinity)
    )
      found = mapping.options.result;
    else if (mapping.type === "special" || mapping.type === "regex")
      throw new Error(`unsupported mapping ${mapping.type}`);
    if (found)
      return { text: found.text ?? numeric(config, number), color: color(found.color ?? shade) };
  }
  return {
    text: number === null ? String(value) : numeric(config, number),
    color: color(shade ?? "text"),
  };
}

// Returns the configuration of the field with this name, with overrides applied. Custom fields have
// the prefix "custom.".
function fieldConfig(panel, name, ref) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = {
    ...defaults,
    ...Object.fromEntries(
      Object.entries(defaults.custom ?? {}).map(([key, value]) => [`custom.${key}`, value]),
    ),
  };
  for (const { matcher, properties } of overrides) {
    const { id, options } = matcher;
    const expression = /^\/(.*)\/$/.exec(options);
    if (
      id === "byName"
        ? options === name
        : id === "byRegexp"
          ? new RegExp(expression ? expression[1] : options).test(name)
          : id === "byFrameRefID" && options === ref
    )
      for (const property of properties) config[property.id] = property.value;
  }
  return config;
}

// Returns all series of a panel: name, one number or null per step, and configuration.
function seriesOf({ panel, step, frames }) {
  const first = Math.floor(dashboard.start / step) * step;
  const times = Array.from(
    { length: Math.round((Math.floor(dashboard.end / step) * step - first) / step) + 1 },
    (_, index) => first + index * step,
  );
  const series = frames.flatMap(frame =>
    frame.series.map(one => {
      const values = times.map(() => null);
      for (const [time, value] of one.points) {
        const number = Number(value);
        values[Math.min(values.length - 1, Math.max(0, Math.round((time - first) / step)))] =
          Number.isFinite(number) ? number : null;
      }
      const config = fieldConfig(panel, one.name, frame.ref);
      return {
        name: config.displayName ?? one.name,
        values,
        config,
        last: Number(one.points.at(-1)[1]),
      };
    }),
  );
  return { times, series };
}

// Returns the text of a panel without data.
const noData = panel =>
  element("div", { className: "no-data" }, panel.fieldConfig.defaults.noValue ?? "No data");

function stat(body, item) {
  const { panel } = item;
  let { series } = seriesOf(item);
  if (!series.length) series = [{ name: "", last: null, config: panel.fieldConfig.defaults }];
  const names = panel.options.textMode === "name",
    both = panel.options.textMode === "auto" && series.length > 1;
  const row = element("div", { className: "stat" });
  row.style.flexDirection = body.clientWidth > body.clientHeight ? "row" : "column";
  const wide =
    row.style.flexDirection === "row"
      ? (body.clientWidth - 16) / series.length - 6
      : body.clientWidth - 16;
  const high =
    (row.style.flexDirection === "row" ? body.clientHeight : body.clientHeight / series.length) -
    12;
  const size = (text, most) => Math.max(8, Math.min(most, (wide * 0.9) / (text.length * 0.58), 60));
  for (const one of series) {
    const shown = display(one.config, one.last);
    const text = names && one.last !== null ? one.name : shown.text;
    const box = element("div", { style: { background: shown.color } });
    if (both)
      box.append(
        element("span", {
          textContent: one.name,
          style: { fontSize: `${size(one.name, high * 0.28)}px` },
        }),
      );
    box.append(
      element("span", {
        textContent: text,
        style: { fontSize: `${size(text, high * (both ? 0.5 : 0.7))}px` },
      }),
    );
    row.append(box);
  }
  body.append(row);
}

function bargauge(body, item) {
  const { panel } = item,
    { series } = seriesOf(item);
  if (!series.length) return body.append(noData(panel));
  const { minVizHeight, maxVizHeight } = panel.options;
  const high = Math.max(
    minVizHeight,
    Math.min(maxVizHeight, (body.clientHeight - 8) / series.length - 6),
  );
  const most = Math.max(...series.map(one => one.last));
  const longest = Math.min(
    body.clientWidth * 0.4,
    8 * Math.max(...series.map(one => one.name.length)),
  );
  for (const one of series) {
    const { min = 0, max = most } = one.config,
      shown = display(one.config, one.last);
    body.append(
      element(
        "div",
        { className: "bar", style: { height: `${high}px` } },
        element("span", { textContent: one.name, style: { width: `${longest}px` } }),
        element(
          "div",
          {},
          element("div", {
            style: {
              width: `${max > min ? Math.min(100, (100 * (one.last - min)) / (max - min)) : 0}%`,
              background: shown.color,
            },
          }),
        ),
        element("b", { textContent: shown.text, style: { color: shown.color } }),
      ),
    );
  }
}

// Applies the transformations of a table. Returns rows, by column name, and the column names.
function transform({ panel, frames }) {
  const several = frames.length > 1;
  let tables = frames.map(frame =>
    frame.series.map(one => ({
      Time: one.points.at(-1)[0] * 1000,
      ...Object.fromEntries(Object.entries(one.labels).filter(([key]) => key !== "__name__")),
      [several ? `Value #${frame.ref}` : "Value"]: Number(one.points.at(-1)[1]),
    })),
  );
  const columns = rows => [...new Set(rows.flatMap(row => Object.keys(row)))];
  let names = [];
  for (const { id, options } of panel.transformations ?? []) {
    if (id === "merge") {
      tables = tables.filter(rows => rows.length);
      const shared = tables
        .map(columns)
        .reduce((kept, own) => kept.filter(name => own.includes(name)), columns(tables[0] ?? []));
      const merged = new Map();
      for (const row of tables.flat()) {
        const key = JSON.stringify(shared.map(name => row[name]));
        const same = (merged.get(key) ?? []).find(other =>
          Object.keys(row).every(name => !(name in other) || other[name] === row[name]),
        );
        if (same) Object.assign(same, row);
        else merged.set(key, [...(merged.get(key) ?? []), { ...row }]);
      }
      tables = [[...merged.values()].flat()];
    } else if (id === "convertFieldType") {
      for (const { targetField, destinationType } of options.conversions)
        for (const row of tables.flat())
          if (targetField in row)
            row[targetField] =
              destinationType === "number" ? Number(row[targetField]) : String(row[targetField]);
    } else if (id === "organize") {
      const position = name => options.indexByName[name] ?? Infinity;
      names = columns(tables[0] ?? [])
        .filter(name => !options.excludeByName[name])
        .sort((one, other) =>
          position(one) === position(other) ? 0 : position(one) - position(other),
        );
    } else throw new Error(`unsupported transformation ${id}`);
  }
  return { rows: tables[0] ?? [], names };
}

function table(body, item) {
  const { panel } = item,
    { rows, names } = transform(item);
  if (!rows.length) return body.append(noData(panel));
  const configs = names.map(name => fieldConfig(panel, name));
  const title = index => configs[index].displayName ?? names[index];
  const compare = (one, other) =>
    one === other ? 0 : one === undefined ? 1 : other === undefined ? -1 : one < other ? -1 : 1;
  rows.sort((one, other) => {
    for (const { displayName, desc } of panel.options.sortBy) {
      const name = names[configs.findIndex((_, index) => title(index) === displayName)];
      const order = compare(one[name], other[name]);
      if (order) return desc ? -order : order;
    }
    return 0;
  });
  const numbers = names.map(name => rows.some(row => typeof row[name] === "number"));
  const fixedWidths = configs.map(config => config["custom.width"]);
  const share =
    (body.clientWidth - 16 - fixedWidths.reduce((sum, width) => sum + (width ?? 0), 0)) /
    Math.max(1, fixedWidths.filter(width => !width).length);
  const widths = configs.map(
    (config, index) => fixedWidths[index] ?? Math.max(config["custom.minWidth"], share),
  );
  const head = element(
    "tr",
    {},
    ...names.map((_, index) =>
      element("th", { textContent: title(index), className: numbers[index] ? "number" : "" }),
    ),
  );
  const content = element(
    "table",
    {},
    element(
      "colgroup",
      {},
      ...widths.map(width => element("col", { style: { width: `${width}px` } })),
    ),
    head,
  );
  content.style.width = `${widths.reduce((sum, width) => sum + width, 0)}px`;
  for (const row of rows)
    content.append(
      element(
        "tr",
        {},
        ...names.map((name, index) => {
          const config = configs[index],
            shown = display(config, row[name]);
          const tinted = config["custom.cellOptions"].type === "color-text";
          return element("td", {
            textContent: shown.text,
            className: `${numbers[index] ? "number" : ""} ${config.links?.length ? "link" : ""}`,
            style: tinted ? { color: shown.color } : {},
          });
        }),
      ),
    );
  body.append(content);
}

// Draws vertical lines at annotations and horizontal lines at thresholds.
const drawLines = thresholds => chart => {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.setLineDash([4, 4]);
  const line = (shade, ...points) => {
    ctx.strokeStyle = shade;
    ctx.beginPath();
    ctx.moveTo(points[0], points[1]);
    ctx.lineTo(points[2], points[3]);
    ctx.stroke();
  };
  for (const { value, color: name } of thresholds) {
    const y = chart.valToPos(value, "y", true);
    if (value !== null && y >= bbox.top) line(color(name), bbox.left, y, bbox.left + bbox.width, y);
  }
  for (const { time, color: name } of dashboard.annotations) {
    const x = chart.valToPos(time, "x", true);
    line(color(name), x, bbox.top, x, bbox.top + bbox.height);
    ctx.fillStyle = color(name);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x - 4, bbox.top + bbox.height + 6);
    ctx.lineTo(x + 4, bbox.top + bbox.height + 6);
    ctx.fill();
  }
  ctx.restore();
};

const axis = {
  stroke: "#9a9ba8",
  font: "12px DejaVu Sans",
  grid: { stroke: "#24262c", width: 1 },
  ticks: { show: false },
};
const clock = time => new Date(time * 1000).toLocaleTimeString("en-GB");

function legend(body, panel, unsorted) {
  const { calcs, placement, sortBy, sortDesc } = panel.options.legend;
  const by = Object.values(REDUCERS).find(([name]) => name === sortBy)?.[1],
    known = one => one.values.filter(value => value !== null);
  const series = by
    ? unsorted.toSorted((one, other) => (sortDesc ? -1 : 1) * (by(known(one)) - by(known(other))))
    : unsorted;
  const used = element("div", { className: "legend" });
  const content = element(
    "table",
    {},
    element(
      "tr",
      {},
      element("th", { textContent: "Name" }),
      ...calcs.map(calc => element("th", { textContent: REDUCERS[calc][0] })),
    ),
  );
  for (const one of series) {
    const values = known(one);
    content.append(
      element(
        "tr",
        {},
        element(
          "td",
          {},
          element("span", { className: "swatch", style: { background: one.shade } }),
          one.name,
        ),
        ...calcs.map(calc =>
          element("td", {
            textContent: values.length ? numeric(one.config, REDUCERS[calc][1](values)) : "",
          }),
        ),
      ),
    );
  }
  used.append(content);
  // On a small screen, Grafana puts every legend below the chart.
  used.style.cssText =
    placement === "right" && !dashboard.narrow
      ? "position: absolute; right: 8px; top: 0; max-width: 60%;" +
        ` max-height: ${body.clientHeight - 8}px`
      : `max-height: ${0.35 * body.clientHeight}px`;
  body.append(used);
  return used;
}

function timeseries(body, item) {
  const { panel } = item,
    { times, series } = seriesOf(item);
  if (!series.length) return body.append(noData(panel));
  const { defaults } = panel.fieldConfig,
    custom = defaults.custom;
  series.forEach(
    (one, index) =>
      (one.shade =
        one.config.color.mode === "fixed"
          ? color(one.config.color.fixedColor)
          : PALETTE[index % PALETTE.length]),
  );
  const room = body.clientHeight - 8,
    container = element("div");
  body.append(container);
  const under = legend(body, panel, series),
    right = panel.options.legend.placement === "right" && !dashboard.narrow;
  const stacked = custom.stacking.mode === "normal",
    sums = times.map(() => 0),
    scales = {};
  const plots = series.map(one => {
    const values = stacked
      ? one.values.map((value, index) => (value === null ? null : (sums[index] += value)))
      : one.values;
    const scale = one.config["custom.axisPlacement"] === "right" ? "y2" : "y";
    scales[scale] ??= one.config;
    const options = {
      label: one.name,
      scale,
      stroke: one.shade,
      width: 1,
      spanGaps: false,
      fill: (stacked ? opaque : translucent)(one.shade, custom.fillOpacity / 100),
      points: { size: 4 },
    };
    if (custom.drawStyle === "bars")
      Object.assign(options, {
        paths: uPlot.paths.bars({
          size: [custom.barWidthFactor, Infinity],
          align: custom.barAlignment,
        }),
        points: { show: false },
      });
    return { values, options };
  });
  // Draw higher stacks first, so that they do not cover lower ones.
  if (stacked) plots.reverse();
  const range = config => (_, least, most) => {
    const low = config.min ?? least,
      high = config.max ?? Math.max(most, config["custom.axisSoftMax"] ?? most);
    return [
      config.min ?? uPlot.rangeNum(low, high, 0.1, true)[0],
      config.max ?? Math.max(uPlot.rangeNum(Math.min(low, high), high, 0.1, true)[1], low + 1e-9),
    ];
  };
  const options = {
    width: body.clientWidth - (right ? under.offsetWidth + 32 : 16),
    height: right ? room : room - under.offsetHeight,
    pxAlign: false,
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { range: () => [dashboard.start, dashboard.end] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map(clock), space: 75 }],
    series: [{}, ...plots.map(plot => plot.options)],
    hooks: {
      draw: [drawLines(custom.thresholdsStyle.mode === "off" ? [] : defaults.thresholds.steps)],
    },
  };
  for (const [scale, config] of Object.entries(scales)) {
    options.scales[scale] = { range: range(config) };
    options.axes.push({
      ...axis,
      scale,
      side: scale === "y" ? 3 : 1,
      grid: { ...axis.grid, show: scale === "y" },
      size: (_, texts) => 16 + 7 * Math.max(4, ...(texts ?? []).map(text => text.length)),
      values: (_, ticks) =>
        ticks.map(tick =>
          tick === null
            ? ""
            : numeric({ ...config, decimals: null }, Number(tick.toPrecision(10)))
                .replace(/(\.\d*?)0+(?!\d)/, "$1")
                .replace(/\.(?!\d)/, ""),
        ),
    });
  }
  new uPlot(options, [times, ...plots.map(plot => plot.values)], container);
}

function stateTimeline(body, item) {
  const { panel } = item,
    { times, series } = seriesOf(item);
  if (!series.length) return body.append(noData(panel));
  const states = new Map(),
    room = body.clientHeight - 8,
    container = element("div");
  body.append(container);
  const shown = series.slice(0, panel.options.perPage);
  // Steps with the same value are one box.
  const rows = shown.map(one => {
    const boxes = [];
    one.values.forEach((value, index) => {
      if (value === null) return;
      const last = boxes.at(-1);
      if (last && last.value === value && last.end === times[index])
        last.end = times[index] + item.step;
      else
        boxes.push({
          value,
          start: times[index],
          end: times[index] + item.step,
          ...display(one.config, value),
        });
    });
    boxes.forEach(box => states.set(box.text, box.color));
    return boxes;
  });
  const list = element(
    "div",
    { className: "legend states" },
    ...[...states].map(([text, shade]) =>
      element(
        "span",
        {},
        element("i", { className: "swatch", style: { background: shade } }),
        text,
      ),
    ),
  );
  body.append(list);
  const pages = series.length > shown.length ? 24 : 0;
  if (pages)
    list.prepend(
      element("div", {
        textContent: `‹ 1 of ${Math.ceil(series.length / shown.length)} ›`,
        style: { textAlign: "center" },
      }),
    );
  const width = body.clientWidth - 16,
    height = room - list.offsetHeight,
    top = 4,
    bottom = 24;
  const canvas = element("canvas", { width, height });
  container.append(canvas);
  const ctx = canvas.getContext("2d");
  ctx.font = axis.font;
  const left = Math.min(
    width * 0.4,
    10 + Math.max(...shown.map(one => ctx.measureText(one.name).width)),
  );
  const row = (height - top - bottom) / shown.length,
    x = time =>
      left +
      ((Math.min(Math.max(time, dashboard.start), dashboard.end) - dashboard.start) /
        (dashboard.end - dashboard.start)) *
        (width - left);
  ctx.textBaseline = "middle";
  shown.forEach((one, index) => {
    const y = top + index * row,
      high = row * panel.options.rowHeight;
    ctx.textAlign = "right";
    ctx.fillStyle = axis.stroke;
    ctx.fillText(one.name, left - 8, y + row / 2, left - 10);
    ctx.textAlign = "left";
    for (const box of rows[index]) {
      ctx.fillStyle = translucent(box.color, 0.75);
      ctx.fillRect(x(box.start), y + (row - high) / 2, x(box.end) - x(box.start), high);
      if (high > 12 && ctx.measureText(box.text).width + 8 < x(box.end) - x(box.start)) {
        ctx.fillStyle = "#fff";
        ctx.fillText(box.text, x(box.start) + 4, y + row / 2);
      }
    }
  });
  ctx.fillStyle = axis.stroke;
  ctx.textAlign = "center";
  const every =
    [10, 30, 60, 120, 300, 600, 1800, 3600, 7200].find(
      gap => ((width - left) * gap) / (dashboard.end - dashboard.start) > 90,
    ) ?? 14400;
  for (let time = Math.ceil(dashboard.start / every) * every; time < dashboard.end; time += every)
    if (x(time) - left > 30 && width - x(time) > 30)
      ctx.fillText(clock(time), x(time), height - 10);
  drawLines([])({
    ctx,
    bbox: { left, top, width: width - left, height: height - top - bottom },
    valToPos: time => x(time),
  });
}

const DRAW = { stat, bargauge, table, timeseries, "state-timeline": stateTimeline };
const grid = element("div", { id: "grid", style: { height: `${dashboard.height}px` } });
document.body.append(
  element(
    "header",
    {},
    element("h1", { textContent: dashboard.title }),
    ...dashboard.variables.map(({ label, value }) =>
      element(
        "span",
        { className: "chip" },
        `${label} `,
        element("b", { textContent: value === ".*" ? "All" : value }),
      ),
    ),
    ...dashboard.links.map(link => element("span", { className: "chip", textContent: link })),
    element("span", {
      className: "chip",
      textContent: `${clock(dashboard.start)} – ${clock(dashboard.end)}`,
    }),
  ),
  grid,
);
for (const item of dashboard.panels) {
  const { panel, box } = item,
    style = Object.fromEntries(Object.entries(box).map(([key, value]) => [key, `${value}px`]));
  if (panel.type === "row") {
    const count = panel.panels.length;
    grid.append(
      element(
        "div",
        { className: "row", style },
        `${item.expanded ? "⌄" : "›"} ${panel.title} `,
        element("small", {
          textContent: item.expanded ? "" : `(${count} panel${count === 1 ? "" : "s"})`,
        }),
      ),
    );
    continue;
  }
  const body = element("div", { className: "body" });
  const frame = element(
    "div",
    { className: "panel", style },
    element("h2", {}, panel.title, element("i", { textContent: "i" })),
    body,
  );
  grid.append(frame);
  if (!DRAW[panel.type]) throw new Error(`unsupported panel ${panel.type}`);
  DRAW[panel.type](body, item);
  const cut = [body, ...frame.querySelectorAll("h2, th, .legend")].some(
    one => one.scrollHeight > one.clientHeight + 2 || one.scrollWidth > one.clientWidth + 2,
  );
  if (cut) {
    frame.append(element("div", { className: "cut", textContent: "cut" }));
    console.log(`cut: ${panel.title}`);
  }
}
console.log("complete");
