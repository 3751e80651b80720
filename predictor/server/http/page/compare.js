// Two texts, one request, and how alike their vectors are.

const PATIENCE_MS = 60000;

function cosine(left, right) {
  let product = 0, ofLeft = 0, ofRight = 0;
  for (let i = 0; i < left.length; i++) {
    product += left[i] * right[i];
    ofLeft += left[i] * left[i];
    ofRight += right[i] * right[i];
  }
  return product / Math.sqrt(ofLeft * ofRight);
}

function truncatedText(header) {
  const cut = (header || "").split(",").filter(Boolean).map((index) => ["first", "second"][index]);
  return cut.length ? `${cut.join(" and ")} text, cut at the limit of the model` : "none";
}

function facts(pairs) {
  const list = make("dl", null, { class: "facts-list" });
  for (const [name, value, tone] of pairs) {
    const pair = make("div");
    pair.append(make("dt", name), make("dd", value, tone ? { "data-tone": tone } : {}));
    list.append(pair);
  }
  return list;
}

function showResult(...elements) {
  document.getElementById("result").replaceChildren(...elements);
}

function showProblem(text) {
  showResult(make("p", text, { class: "problem" }));
}

// The answer of the server as the elements that show it.
function answered(answer, headers, milliseconds) {
  const [left, right] = answer.data.map((item) => item.embedding);
  const similarity = cosine(left, right);
  const value = make("p", null, { class: "similarity" });
  value.append(make("span", "Cosine similarity", { class: "muted" }), " ", make("b", similarity.toFixed(4)));
  const bar = drawn("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true", class: "scale" });
  const length = Math.min(50, Math.abs(similarity) * 50);
  bar.append(
    drawn("rect", { class: "track", width: 100, height: 6 }),
    drawn("rect", { class: "filled", x: similarity < 0 ? 50 - length : 50, width: length, height: 6 }),
    drawn("path", { class: "limit", d: "M50 0V6" }),
  );
  const cut = headers.get("x-truncated-inputs");
  const revision = headers.get("x-model-revision");
  return [value, bar, facts([
    ["Tokens", String(answer.usage.prompt_tokens)],
    ["Truncated", truncatedText(cut), cut ? "warn" : ""],
    ["Answered by", `${answer.model} version ${headers.get("x-model-version")}${revision ? `, revision ${revision.slice(0, 12)}` : ""}`],
    ["Dimensions", String(left.length)],
    ["Round trip", `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`],
  ])];
}

// What went wrong, in the server's words where it has any.
async function refusal(response) {
  const field = document.getElementById("key");
  const wants = response.status === 401;
  field.setAttribute("aria-invalid", wants ? "true" : "false");
  if (wants) {
    field.focus();
    return field.value ? "401: this server does not know that API key." : "401: this server wants an API key.";
  }
  let said = "";
  try {
    said = (await response.json()).error.message;
  } catch { /* no JSON: a proxy's answer */ }
  const later = response.headers.get("retry-after");
  return `${response.status}: ${said || response.statusText || "no answer"}${later ? ` (again in ${later} s)` : ""}`;
}

async function compare() {
  const key = document.getElementById("key").value.trim();
  if (/[^\x21-\x7e]/.test(key)) return showProblem("An API key has visible ASCII characters only.");
  const texts = ["text-1", "text-2"].map((id) => document.getElementById(id).value);
  const headers = { "content-type": "application/json" };
  if (key) headers["x-api-key"] = key;
  const begun = performance.now();
  const response = await fetch("v1/embeddings", {
    method: "POST", headers, credentials: "same-origin", cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
    body: JSON.stringify({ model: document.getElementById("model").value, input: texts }),
  });
  if (!response.ok) return showProblem(await refusal(response));
  const answer = await response.json();
  const taken = performance.now() - begun;
  document.getElementById("key").setAttribute("aria-invalid", "false");
  showResult(...answered(answer, response.headers, taken));
}

function listenForTexts() {
  const form = document.getElementById("compare"), button = document.getElementById("go");
  let asking = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (asking) return;
    asking = true;
    button.setAttribute("aria-disabled", "true");
    try {
      await compare();
    } catch (error) {
      showProblem(error.name === "TimeoutError" ? "No answer within a minute." : "The server cannot be reached.");
    } finally {
      asking = false;
      button.removeAttribute("aria-disabled");
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}
