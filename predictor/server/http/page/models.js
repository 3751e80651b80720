// The table of versions, the drift of each, and the models that may be asked.

const WORDS = { READY: "ready", LOADING: "loading", UNLOADING: "unloading", UNAVAILABLE: "unavailable" };

function toneOf(line) {
  if (line.state === "READY") return line.healthy ? "good" : "bad";
  if (line.state === "LOADING" || line.state === "UNLOADING") return "wait";
  return line.failed ? "bad" : "off";
}

function cell(title, content, more) {
  const none = content === null || content === "–";
  const td = make("td", null, { role: "cell", "data-title": title, ...(more || {}) });
  if (none) td.classList.add("none");
  td.append(...[none ? "–" : content].flat());
  return td;
}

function driftCell(line) {
  const worst = mostDrifted([line]);
  if (!worst) return cell("Drift", line.learning ? "learning" : "–");
  const tone = line.alarms.length ? "bad" : worst.score >= 1 ? "warn" : "";
  const text = `${brief(worst.score)} ${worst.test}${line.alarms.length ? ", alarm" : ""}`;
  return cell("Drift", make("span", text, { "data-tone": tone }));
}

function versionRow(line, rates, siblings) {
  const row = make("tr", null, { role: "row", "data-version": `${line.name}:${line.version}` });
  const name = make("th", line.name, { role: "rowheader", scope: "row" });
  if (line.default && siblings > 1) name.append(" ", make("span", "default", { class: "badge" }));
  const state = [make("span", line.healthy ? WORDS[line.state] || line.state : "engine down", { class: "pill", "data-tone": toneOf(line) })];
  if (line.reason) state.push(make("span", line.reason, { class: "reason" }));
  const proof = line.reference === "self" ? ["self", make("span", "sameness only", { class: "sub" })] : line.reference;
  const wrong = line.cosine !== null && line.cosine < line.tolerance;
  const cosine = line.cosine === null ? null : [
    make("span", cosineText(line.cosine), { "data-tone": wrong ? "bad" : "" }),
    make("span", `≥ ${line.tolerance}, ${duration(line.checked_s)} ago`, { class: "sub" }),
  ];
  row.append(
    name,
    cell("Version", line.version),
    cell("State", state),
    cell("Revision", line.revision && make("code", line.revision.slice(0, 12))),
    cell("Variant", line.variant),
    cell("Dimensions", line.dimensions && String(line.dimensions), { class: "number" }),
    cell("Proof", proof),
    cell("Canonical cosine", cosine, { class: "number" }),
    driftCell(line),
    cell("Requests/s", rates && line.state === "READY" ? brief(rates.requests) : "–", { class: "number" }),
    cell("Texts/s", rates && line.state === "READY" ? brief(rates.texts) : "–", { class: "number" }),
  );
  return row;
}

// Put `wanted` into `parent`, leaving alone what is the same: selections and readers stay there.
function update(parent, wanted) {
  wanted.forEach((node, i) => {
    const old = parent.children[i];
    if (!old) parent.append(node);
    else if (old.isEqualNode(node)) return;
    else if (old.tagName === "TR" && old.dataset.version === node.dataset.version) update(old, [...node.children]);
    else old.replaceWith(node);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

function showVersions(snapshot, rates) {
  const lines = snapshot.versions;
  const rows = lines.map((line) => versionRow(
    line, rates.get(`${line.name}:${line.version}`),
    lines.filter((other) => other.name === line.name && other.state === "READY").length,
  ));
  update(document.getElementById("versions"), rows);
  const ready = lines.filter((line) => line.state === "READY").length;
  const failed = lines.filter((line) => toneOf(line) === "bad").length;
  document.getElementById("models-summary").textContent = [
    `${ready} ready`, failed && `${failed} with a problem`,
    snapshot.left_out && `${snapshot.left_out} more not shown`,
  ].filter(Boolean).join(", ");
  showDrift(lines.filter((line) => Object.keys(line.drift).length));
  offerModels(lines.filter((line) => line.state === "READY"), snapshot.server.default);
}

function meter(line, test, score) {
  const alarm = line.alarms.includes(test);
  const item = make("div", null, { class: "meter", "data-tone": alarm ? "bad" : score >= 1 ? "warn" : "" });
  const bar = drawn("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(
    drawn("rect", { class: "track", width: 100, height: 6 }),
    drawn("rect", { class: "filled", width: Math.min(100, Math.max(0, score) * 50).toFixed(1), height: 6 }),
    drawn("path", { class: "limit", d: "M50 0V6" }),
  );
  item.append(make("dt", test), make("dd", brief(score) + (alarm ? ", alarm" : "")), bar);
  return item;
}

function showDrift(lines) {
  document.getElementById("drift-section").hidden = !lines.length;
  update(document.getElementById("drift"), lines.map((line) => {
    const group = make("div");
    const list = make("dl");
    list.append(...Object.entries(line.drift).map(([test, score]) => meter(line, test, score)));
    group.append(make("h3", `${line.name} version ${line.version}`), list);
    return group;
  }));
}

// Models to choose from; changed only when they change, so that nobody's choice is lost.
function offerModels(lines, first) {
  const select = document.getElementById("model");
  const wanted = lines.map((line) => `${line.name}:${line.version}`);
  if ([...select.options].map((option) => option.value).join("\n") === wanted.join("\n")) return;
  const chosen = select.value;
  const preferred = lines.find((line) => line.default && line.name === first) || lines.find((line) => line.default);
  select.replaceChildren(...lines.map((line) => make("option", `${line.name}, version ${line.version}`, { value: `${line.name}:${line.version}` })));
  if (wanted.includes(chosen)) select.value = chosen;
  else if (preferred) select.value = `${preferred.name}:${preferred.version}`;
}
