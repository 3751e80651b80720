// What lies between two answers of the server. Times in seconds.

const POLL_S = 2;
const WINDOW_S = 120;

// The time that a share `q` of the requests needed at most, by the counts "at most that bound" of
// an interval, evenly spread in a bucket as Prometheus does it; null: there was none.
function quantile(bounds, counts, q) {
  const all = counts[counts.length - 1];
  if (!(all > 0)) return null;
  const rank = q * all;
  const at = counts.findIndex((count) => count >= rank);
  if (at >= bounds.length) return bounds[bounds.length - 1];
  const low = at ? bounds[at - 1] : 0;
  const under = at ? counts[at - 1] : 0;
  const inside = counts[at] - under;
  return inside > 0 ? low + (bounds[at] - low) * ((rank - under) / inside) : bounds[at];
}

function share(part, whole) {
  return whole > 0 ? part / whole : null;
}

// The version whose canonical cosine has used most of its tolerance: 0 none of it, 1 all.
function nearestToLimit(versions) {
  let worst = null;
  for (const line of versions) {
    if (line.cosine === null || line.tolerance === null) continue;
    const used = (1 - line.cosine) / Math.max(1 - line.tolerance, 1e-12);
    if (!worst || used > worst.used) worst = { line, used: Math.max(0, used) };
  }
  return worst;
}

// The highest score of any version, with its test.
function mostDrifted(versions) {
  let worst = null;
  for (const line of versions) {
    for (const [test, score] of Object.entries(line.drift)) {
      if (!worst || score > worst.score) worst = { line, test, score };
    }
  }
  return worst;
}

// Rates, shares and quantiles of the interval between two answers of one process.
function between(before, now) {
  const seconds = now.at - before.at;
  if (!(seconds > 0)) return null;
  const was = before.totals, is = now.totals;
  const rate = (of) => Math.max(0, of(is) - of(was)) / seconds;
  const mean = (name) => share(is[name].sum - was[name].sum, is[name].count - was[name].count);
  const sameBuckets = is.latency.counts.length === was.latency.counts.length;
  const counts = is.latency.counts.map((n, i) => n - (sameBuckets ? was.latency.counts[i] : 0));
  const hits = is.cache_hits - was.cache_hits;
  const asked = hits + is.cache_misses - was.cache_misses;
  const tokens = mean("batch_tokens");
  return {
    requests: rate((t) => t.requests.answered + t.requests.refused + t.requests.failed),
    refused: rate((t) => t.requests.refused),
    failed: rate((t) => t.requests.failed),
    texts: rate((t) => t.texts + t.cache_hits),
    truncated: rate((t) => t.truncated),
    tokens: rate((t) => t.tokens + t.cache_saved_tokens),
    run: rate((t) => t.tokens),
    p50: quantile(is.latency.bounds, counts, 0.5),
    p95: quantile(is.latency.bounds, counts, 0.95),
    p99: quantile(is.latency.bounds, counts, 0.99),
    fill: tokens === null ? null : tokens / now.server.batch_tokens,
    batchTokens: tokens,
    batchRows: mean("batch_rows"),
    padding: mean("padding"),
    hits: share(hits, asked),
    rows: asked / seconds,
  };
}

// The same of each version, by name and number.
function versionRates(before, now) {
  const seconds = now.at - before.at;
  const was = new Map(before.versions.map((line) => [`${line.name}:${line.version}`, line]));
  const rates = new Map();
  for (const line of now.versions) {
    const key = `${line.name}:${line.version}`, old = was.get(key);
    if (!old || !(seconds > 0)) continue;
    const rate = (name) => Math.max(0, line[name] - old[name]) / seconds;
    rates.set(key, { requests: rate("requests"), texts: rate("texts") });
  }
  return rates;
}

// Numbers as one reads them.

function brief(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  if (value >= 99.95 || value === 0) return Math.round(value).toString();
  return value.toFixed(value >= 9.995 ? 1 : 2);
}

function percent(value) {
  return value === null ? "–" : (value * 100).toFixed(value >= 0.1 || value < 0.0005 ? 0 : 1);
}

function milliseconds(seconds) {
  return seconds === null ? "–" : brief(seconds * 1000);
}

function cosineText(value) {
  return value === null ? "–" : value.toFixed(7);
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}
