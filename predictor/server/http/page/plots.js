// Small plots: a line of the last two minutes, its latest figure, and both in words.

const WIDTH = 120, HEIGHT = 32;

// An element with text and attributes; nothing here is ever read as HTML.
function make(tag, text, attributes) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Points [seconds ago, value] as paths: a line that breaks where nothing was known, and its area.
function paths(points, top) {
  const place = ([ago, value]) => [
    WIDTH * (1 - ago / WINDOW_S),
    HEIGHT - 1.5 - (HEIGHT - 4) * Math.min(1, value / top),
  ];
  let line = "", area = "", run = [], lastAgo = null;
  const close = () => {
    if (!run.length) return;
    const text = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    line += run.length > 1 ? `M${text}` : `M${text}h.01`;
    area += `M${run[0][0].toFixed(1)} ${HEIGHT}L${text}V${HEIGHT}Z`;
    run = [];
  };
  for (const point of points) {
    if (lastAgo !== null && lastAgo - point[0] > 3.5 * POLL_S) close();
    lastAgo = point[0];
    if (point[1] === null) close();
    else run.push(place(point));
  }
  close();
  return { line, area };
}

// One plot of one or more series. spec: title, unit, lines (names of series), show (figures to
// text), under (what stands below), limit (a value to be drawn across), top (least height).
class Plot {
  constructor(spec) {
    this.spec = spec;
    this.root = make("figure", null, { class: `plot ${spec.wide ? "wide" : ""}`, "data-plot": spec.id });
    const caption = make("figcaption");
    caption.append(make("span", spec.title), (this.peak = make("span", "", { class: "peak" })));
    this.value = make("p", "–", { class: "value" });
    this.picture = drawn("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": spec.title,
    });
    this.limit = drawn("path", { class: "limit" });
    this.picture.append(drawn("path", { class: "floor", d: `M0 ${HEIGHT - 1}H${WIDTH}` }), this.limit);
    this.lines = spec.lines.map((name, i) => {
      const area = drawn("path", { class: `area series-${i}` });
      const line = drawn("path", { class: `line series-${i}` });
      this.picture.append(area, line);
      return { name, area, line };
    });
    this.under = make("p", "", { class: "under" });
    this.root.append(caption, this.value, this.picture, this.under);
  }

  // history: [{time, figures}] from old to new; now: the time at the right edge.
  show(history, now) {
    const spec = this.spec;
    const latest = history.length ? history[history.length - 1].figures : null;
    const known = (name) => history.map((one) => one.figures[name]).filter((v) => v !== null);
    const peak = Math.max(0, ...spec.lines.flatMap(known));
    const top = Math.max(spec.top || 0, peak * 1.05) || 1;
    for (const { name, area, line } of this.lines) {
      const drawing = paths(history.map((one) => [now - one.time, one.figures[name]]), top);
      line.setAttribute("d", drawing.line);
      area.setAttribute("d", this.lines.length > 1 ? "" : drawing.area);
    }
    const limit = spec.limit && top >= spec.limit ? spec.limit : 0;
    const height = HEIGHT - 1.5 - (HEIGHT - 4) * (limit / top);
    this.limit.setAttribute("d", limit ? `M0 ${height}H${WIDTH}` : "");
    const parts = latest ? spec.show(latest) : [["–", spec.unit]];
    this.value.replaceChildren(...parts.flatMap(([text, unit, key]) => this._figure(text, unit, key)));
    this.under.textContent = (latest && spec.under(latest)) || "";
    const peakText = latest && spec.peak ? spec.peak(peak) : "";
    this.peak.textContent = peakText && `peak ${peakText}`;
    const words = parts.map(([text, unit, key]) => [key, text === "–" ? "none" : text, unit].filter(Boolean).join(" "));
    const most = peakText ? `; peak in 2 minutes ${peakText}` : "";
    this.picture.setAttribute("aria-label", `${spec.title}: ${words.join(", ")}${most}`);
    this.root.dataset.tone = (latest && spec.tone && spec.tone(latest)) || "";
  }

  _figure(text, unit, key) {
    const figure = make("span", null, { class: "figure" });
    if (key) figure.append(make("span", key, { class: `key key-${key}` }), " ");
    figure.append(make("b", text));
    if (unit) figure.append(" ", make("span", unit, { class: "unit" }));
    return [figure, " "];
  }
}

const PLOTS = [
  {
    id: "requests", title: "Requests", unit: "/s", lines: ["requests"], peak: brief,
    show: (f) => [[brief(f.requests), "/s"]],
    under: (f) => (f.refused + f.failed ? `${brief(f.refused)} refused, ${brief(f.failed)} failed /s` : "none refused or failed"),
    tone: (f) => (f.failed ? "bad" : f.refused ? "warn" : ""),
  },
  {
    id: "texts", title: "Texts", unit: "/s", lines: ["texts"], peak: brief,
    show: (f) => [[brief(f.texts), "/s"]],
    under: (f) => (f.truncated ? `${brief(f.truncated)} truncated /s` : "none truncated"),
  },
  {
    id: "tokens", title: "Tokens", unit: "/s", lines: ["tokens"], peak: brief,
    show: (f) => [[brief(f.tokens), "/s"]],
    under: (f) => `${brief(f.run)} run /s`,
  },
  {
    id: "latency", title: "Latency", unit: "ms", wide: true, lines: ["p50", "p95", "p99"],
    peak: (s) => (s ? `${milliseconds(s)} ms` : ""),
    show: (f) => ["p50", "p95", "p99"].map((q) => [milliseconds(f[q]), "ms", q]),
    under: () => "whole body read to answer encoded, by histogram",
  },
  {
    id: "queue", title: "Queue", unit: "tokens", lines: ["queued"], peak: brief,
    show: (f) => [[brief(f.queued), "tokens"]],
    under: (f) => (f.queuedRows ? `${brief(f.queuedRows)} rows, oldest ${milliseconds(f.age)} ms` : "nothing waits"),
    tone: (f) => (f.queued > 0.8 * f.queueLimit ? "bad" : ""),
  },
  {
    id: "fill", title: "Batch fill", unit: "%", lines: ["fill"], top: 1,
    show: (f) => [[percent(f.fill), "%"]],
    under: (f) => (f.batchTokens === null ? "no batch ran" : `${brief(f.batchTokens)} tokens, ${brief(f.batchRows)} rows a batch`),
  },
  {
    id: "padding", title: "Padding", unit: "%", lines: ["padding"], top: 0.25,
    show: (f) => [[percent(f.padding), "%"]],
    under: (f) => (f.padding === null ? "no batch ran" : "of the attention view"),
  },
  {
    id: "cache", title: "Cache hits", unit: "%", lines: ["hits"], top: 1,
    show: (f) => [[percent(f.hits), "%"]],
    under: (f) => (f.rows ? `of ${brief(f.rows)} rows /s` : "nothing looked up"),
  },
  {
    id: "canonical", title: "Canonical cosine", unit: "", lines: ["canonical"], top: 1.1, limit: 1,
    show: (f) => [[cosineText(f.cosine), ""]],
    under: (f) => (f.cosine === null ? "not compared yet" : `tolerance ${f.tolerance}, ${percent(f.canonical)} % used`),
    tone: (f) => (f.canonical > 1 ? "bad" : ""),
  },
  {
    id: "drift", title: "Traffic drift", unit: "", lines: ["drift"], top: 1.1, limit: 1,
    show: (f) => [[brief(f.drift), ""]],
    under: (f) => (f.drift !== null ? `${f.driftTest}; drifted from 1 on` : f.learning ? "learning the reference" : "not compared"),
    tone: (f) => (f.alarms ? "bad" : f.drift >= 1 ? "warn" : ""),
  },
];
