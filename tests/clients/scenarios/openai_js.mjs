// openai (JavaScript): the client of Node.js, with the checks of openai_python.py.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Modules are looked up from the client's environment, not from this file.
const require = createRequire(`${process.cwd()}/`);
const { OpenAI, AzureOpenAI } = require("openai");
const version = JSON.parse(readFileSync("node_modules/openai/package.json")).version;
const given = JSON.parse(readFileSync(process.env.CLIENTS_FACTS));

const dot = (a, b) => a.reduce((sum, number, index) => sum + number * b[index], 0);
const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

function same(answer, expected) {
  const rows = answer.data.map((item) => item.embedding);
  if (rows.length !== expected.length) throw new Error(`${rows.length} vectors`);
  const lowest = Math.min(...rows.map((row, index) => cosine(row, expected[index])));
  if (!(lowest >= 0.9999)) throw new Error(`cosine ${lowest.toFixed(4)} to the reference`);
}

async function scenario(name, api, wrong) {
  const checks = [];
  const add = (what, good, detail, refusal = false) => checks.push({ what, good, detail, refusal });
  const create = (options) => api.embeddings.create({ model: given.model, ...options });
  const works = async (what, expected, options) => {
    try {
      same(await create(options), expected);
      add(what, true, "");
    } catch (error) {
      add(what, false, error.message);
    }
  };
  const refused = async (what, call, word) => {
    try {
      await call();
      add(what, false, "not refused");
    } catch (error) {
      const text = error.message.replaceAll(given.url, "URL");
      add(what, text.includes(word), text, true);
    }
  };
  await works("a text", given.vectors.slice(0, 1), { input: given.texts[0] });
  await works("a batch", given.vectors, { input: given.texts });
  await works("encoding_format float", given.vectors, {
    input: given.texts,
    encoding_format: "float",
  });
  await works("dimensions", given.vectors.map((vector) => vector.slice(0, 64)), {
    input: given.texts,
    dimensions: 64,
  });
  await works("user=null", given.vectors, { input: given.texts, user: null });
  await works("too long a text is cut", [given.long_vector], { input: given.long });
  await works("empty text", [given.empty_vector], { input: "" });
  await refused("no texts", () => create({ input: [] }), "input");
  await refused("wrong model", () => create({ model: "no-such-model", input: "a" }), "no-such");
  await refused("too many dimensions", () => create({ input: "a", dimensions: 4096 }), "384");
  const asked = { model: given.model, input: "a" };
  await refused("wrong key", () => wrong.embeddings.create(asked), "key");
  console.log(`RESULT ${JSON.stringify({ client: name, version, checks })}`);
}

const wrongKey = "sk-wrong-0123456789abcdef0123456789";
const plain = (apiKey) => new OpenAI({ baseURL: `${given.url}/v1`, apiKey, maxRetries: 0 });
const azure = (apiKey) =>
  new AzureOpenAI({
    endpoint: given.url,
    apiKey,
    apiVersion: "2024-10-21",
    maxRetries: 0,
  });
await scenario("openai (JavaScript)", plain(given.key), plain(wrongKey));
await scenario("openai (JavaScript), AzureOpenAI", azure(given.key), azure(wrongKey));
