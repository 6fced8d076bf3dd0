// OpenAI's client for Node: batches, listings, deletions and streams. Usage: node openai_client.mjs ADDRESS FOLDER

import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import OpenAI, { NotFoundError, toFile } from "openai";

import { check, end, expect } from "./report.mjs";

const [address, folder] = process.argv.slice(2);
const installed = new URL("node_modules/openai/package.json", import.meta.url);
const name = `openai ${JSON.parse(readFileSync(installed, "utf8")).version} (Node ${process.versions.node})`;
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 10 });

const ENDPOINT = "/v1/chat/completions";
const ENDS = ["completed", "failed", "expired", "cancelled"];
const FILES = 250;
const BATCHES = 45;
const ids = (name, number) => Array.from({ length: number }, (_, place) => `${name}-${place}`);

function chatLine(custom_id, content = "What is 2 + 3?", more = {}) {
  const body = { model: "demo", messages: [{ role: "user", content }], ...more };
  return `${JSON.stringify({ custom_id, method: "POST", url: ENDPOINT, body })}\n`;
}

async function createBatch(input_file_id, more = {}) {
  return client.batches.create({ input_file_id, endpoint: ENDPOINT, completion_window: "24h", ...more });
}

async function upload(text) {
  return client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
}

// Polls a batch until it has ended, or until so many lines are completed.
async function waitFor(batch, completed = Infinity) {
  let seen = batch;
  while (!ENDS.includes(seen.status) && seen.request_counts.completed < completed) {
    await pause(100);
    seen = await client.batches.retrieve(batch.id);
  }
  return seen;
}

// Returns the objects of a file of results. A file that does not exist has none.
async function results(file_id) {
  if (!file_id) return [];
  const text = await (await client.files.content(file_id)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

async function wholeLife() {
  const [good, bad] = [ids("good", 12), ids("bad", 3)];
  const text = [...good.map((id) => chatLine(id)), ...bad.map((id) => chatLine(id, "long ".repeat(3000)))].join("");
  const path = join(folder, "in.jsonl");
  writeFileSync(path, text);
  const file = await client.files.create({ file: createReadStream(path), purpose: "batch" });
  expect("the file of the upload", await (await client.files.content(file.id)).text(), text);
  const metadata = { team: "é", run: "7" };
  const output_expires_after = { anchor: "created_at", seconds: 7200 };
  const done = await waitFor(await createBatch(file.id, { metadata, output_expires_after }));
  expect("the status", [done.status, done.errors], ["completed", null]);
  expect("metadata", done.metadata, metadata);
  expect("counts", done.request_counts, { total: 15, completed: 12, failed: 3 });
  const [output, errors] = [await results(done.output_file_id), await results(done.error_file_id)];
  expect("ids of the results", output.map((line) => line.custom_id), good);
  expect("ids of the errors", errors.map((line) => line.custom_id), bad);
  for (const { response } of output) expect("a text", response.body.choices[0].message.content, "5");
  for (const { response } of errors) expect("a code", response.body.error.code, "context_length_exceeded");
  for (const file_id of [done.output_file_id, done.error_file_id]) {
    const stored = await client.files.retrieve(file_id);
    expect("the lifetime of the results", stored.expires_at - stored.created_at, 7200);
  }
  return `${output.length} results and ${errors.length} errors; metadata and output_expires_after come back`;
}

async function cancellation() {
  const [short, long] = [ids("short", 6), ids("long", 60)];
  const more = { max_tokens: 1500, ignore_eos: true };
  const lines = [...short.map((id) => chatLine(id)), ...long.map((id) => chatLine(id, "Go on.", more))];
  const file = await upload(lines.join(""));
  const running = await waitFor(await createBatch(file.id), 1);
  expect("the status before", running.status, "in_progress");
  const done = await waitFor(await client.batches.cancel(running.id));
  expect("the status after", done.status, "cancelled");
  const [output, errors] = [await results(done.output_file_id), await results(done.error_file_id)];
  const counts = { total: 66, completed: output.length, failed: errors.length };
  expect("counts", done.request_counts, counts);
  expect("ids", [...output, ...errors].map((line) => line.custom_id).sort(), [...short, ...long].sort());
  for (const line of errors) expect("a code", line.error.code, "batch_cancelled");
  return `${output.length} lines had ended, ${errors.length} say batch_cancelled`;
}

// Pages through a listing, and compares it with the objects that this program has created.
async function checkListing(pages, created) {
  const [listed, wanted] = [[], new Set(created)];
  for await (const object of pages) listed.push(object.id);
  expect("ids that are listed twice", listed.length - new Set(listed).size, 0);
  expect("the order", listed.filter((id) => wanted.has(id)), created);
  return `${created.length} of ${listed.length} are ours, each once and in order`;
}

const created = [];

async function listFiles() {
  for (let number = 0; number < FILES; number++) created.push((await upload(chatLine("a"))).id);
  await checkListing(client.files.list({ limit: 40 }), created.toReversed());
  return checkListing(client.files.list({ limit: 40, order: "asc" }), created);
}

async function listBatches() {
  const [file, batches] = [await upload(chatLine("a")), []];
  for (let number = 0; number < BATCHES; number++) {
    batches.unshift(await createBatch(file.id, { metadata: { number: String(number) } }));
  }
  const figures = await checkListing(client.batches.list({ limit: 10 }), batches.map((batch) => batch.id));
  for (const batch of batches) expect("an end", (await waitFor(batch)).status, "completed");
  return figures;
}

async function deletion() {
  for (const id of created) expect("deleted", (await client.files.delete(id)).deleted, true);
  const wanted = new Set(created);
  for await (const file of client.files.list({ limit: 40 })) expect("still listed", wanted.has(file.id), false);
  const error = await client.files.retrieve(created[0]).catch((reason) => reason);
  expect("the error of a deleted file", error instanceof NotFoundError, true);
  return `${created.length} files are gone`;
}

async function streams() {
  const messages = [{ role: "user", content: "Count from 5 to 12." }];
  const said = { model: "demo", messages, temperature: 0, max_tokens: 100 };
  const whole = (await client.chat.completions.create(said)).choices[0].message.content;
  const pieces = [];
  for await (const chunk of await client.chat.completions.create({ ...said, stream: true })) {
    pieces.push(chunk.choices[0]?.delta.content ?? "");
  }
  expect("the streamed text", pieces.join(""), whole);
  return `${pieces.length} pieces, the same text`;
}

await check(name, "a batch from the upload to both files", wholeLife);
await check(name, "a batch that is cancelled while it runs", cancellation);
await check(name, `${FILES} files in pages of 40`, listFiles);
await check(name, `${BATCHES} batches in pages of 10`, listBatches);
await check(name, "deletion", deletion);
await check(name, "a chat, streamed and whole", streams);
end();
