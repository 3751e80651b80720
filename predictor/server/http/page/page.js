// Asks every two seconds while somebody looks, and shows what came.

const ANSWER_MS = 5000;
// Processes behind this address whose last answer is kept.
const MAX_INSTANCES = 8;

const plots = PLOTS.map((spec) => new Plot(spec));
const instances = new Map();
let timer = null, lastSeen = null, seen = "", asking = false, severalUntil = 0;

function show(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

// Said once when it changes, also to who listens.
function notice(text) {
  const element = document.getElementById("notice");
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

function state(text, tone) {
  show("state", text);
  document.getElementById("state").dataset.tone = tone;
}

// What one process has said so far.
function remembered(id) {
  const known = instances.get(id) || { last: null, history: [], rates: new Map() };
  instances.delete(id);
  instances.set(id, known);
  if (instances.size > MAX_INSTANCES) instances.delete(instances.keys().next().value);
  return known;
}

function levels(snapshot) {
  const queue = snapshot.totals.queue;
  const near = nearestToLimit(snapshot.versions), drifted = mostDrifted(snapshot.versions);
  return {
    queued: queue.tokens, queuedRows: queue.rows, age: queue.age_s,
    queueLimit: snapshot.server.queue_tokens,
    canonical: near && near.used, cosine: near && near.line.cosine, tolerance: near && near.line.tolerance,
    drift: drifted && drifted.score, driftTest: drifted && drifted.test,
    learning: snapshot.versions.some((line) => line.learning),
    alarms: snapshot.versions.some((line) => line.alarms.length),
  };
}

function took(snapshot) {
  const id = snapshot.server.instance, now = performance.now() / 1000;
  // A process that was replaced does not come back: these are several.
  if (seen !== id && instances.has(id)) severalUntil = now + WINDOW_S;
  seen = id;
  const known = remembered(id), rates = known.last && between(known.last, snapshot);
  if (rates) {
    known.history.push({ time: now, figures: { ...rates, ...levels(snapshot) } });
    known.rates = versionRates(known.last, snapshot);
  }
  if (rates || !known.last) known.last = snapshot;
  known.history = known.history.filter((one) => now - one.time <= WINDOW_S);
  for (const plot of plots) plot.show(known.history, now);
  showVersions(snapshot, known.rates);
}

function showServer(server) {
  show("server-version", server.version);
  show("uptime", `up ${duration(server.uptime_s)}`);
  show("updated", `at ${new Date().toLocaleTimeString()}`);
  if (server.draining) state("shutting down", "wait");
  else state(server.ready ? "ready" : "not ready", server.ready ? "good" : "bad");
  document.title = `predictor: ${server.draining ? "shutting down" : server.ready ? "ready" : "not ready"}`;
}

function lost() {
  const since = lastSeen ? ` The figures are of ${lastSeen}.` : "";
  document.body.dataset.lost = "true";
  document.title = "predictor: cannot be reached";
  state("cannot be reached", "bad");
  notice(`The server cannot be reached; trying again every ${POLL_S} s.${since}`);
}

async function poll() {
  if (asking) return;
  asking = true;
  let snapshot = null;
  try {
    const response = await fetch("page.json", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (!response.ok) throw new Error(String(response.status));
    snapshot = await response.json();
  } catch {
    if (!document.hidden) lost();
  } finally {
    asking = false;
  }
  if (!snapshot) return;
  lastSeen = new Date().toLocaleTimeString();
  delete document.body.dataset.lost;
  took(snapshot);
  showServer(snapshot.server);
  notice(performance.now() / 1000 < severalUntil ? "Several servers answer at this address; the figures are of the one that answered last." : "");
}

// No polls while nobody looks.
function watch() {
  clearInterval(timer);
  timer = null;
  if (document.hidden) return;
  poll();
  timer = setInterval(poll, POLL_S * 1000);
}

document.getElementById("plots").append(...plots.map((plot) => plot.root));
document.addEventListener("visibilitychange", watch);
listenForTexts();
watch();
