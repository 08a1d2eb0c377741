// OpenAI's own Node client, unmodified. SLUICE_URL and SLUICE_KEY name the service.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({
  baseURL: `${process.env.SLUICE_URL}/v1`,
  apiKey: "unused",
  defaultHeaders: { "x-functions-key": process.env.SLUICE_KEY },
  maxRetries: 0,
});
const model = "good";
const messages = [{ role: "user", content: "What a day?" }];
const ANSWER = "What a fine day it is.";

test("a chat", async () => {
  const { data, response, request_id } = await client.chat.completions
    .create({ model, messages })
    .withResponse();
  assert.equal(data.choices[0].message.content, ANSWER);
  assert.equal(response.headers.get("x-sluice-deployment"), "good-1");
  assert.ok(request_id);
});

test("the key as a query", async () => {
  const other = new OpenAI({
    baseURL: `${process.env.SLUICE_URL}/v1`,
    apiKey: "unused",
    defaultQuery: { code: process.env.SLUICE_KEY },
  });
  assert.equal((await other.models.retrieve(model)).id, model);
});

test("a stream", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  const words = [];
  let usage = null;
  for await (const chunk of stream) {
    const content = chunk.choices[0]?.delta.content;
    if (content) words.push(content);
    usage = chunk.usage ?? usage;
  }
  assert.equal(words.join(""), ANSWER);
  assert.equal(words.length, 6);
  assert.equal(usage.completion_tokens, 6);
});

test("a stream that its reader leaves", async () => {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    break;
  }
});

test("a flow in the place of a model", async () => {
  const content = "The museum is closed on Mondays. Entry costs nine euros.";
  const completion = await client.chat.completions.create({
    model: "summarize",
    messages: [{ role: "user", content }],
  });
  assert.equal(completion.model, "summarize");
  assert.ok(completion.choices[0].message.content);
});

test("embeddings, which the client asks for in base64", async () => {
  for (const [name, size] of [["good", 8], ["embed", 384]]) {
    const answer = await client.embeddings.create({ model: name, input: ["one", "two"] });
    assert.deepEqual(answer.data.map((each) => each.index), [0, 1]);
    if (name === "embed") assert.equal(answer.data[0].embedding.length, size);
  }
  const numbers = await client.embeddings.create({
    model,
    input: "one",
    encoding_format: "float",
  });
  assert.equal(numbers.data[0].embedding.length, 8);
});

test("a response", async () => {
  const response = await client.responses.create({ model, input: "What a day?" });
  assert.ok(response.output_text.startsWith("What a fine day"));
});

test("models", async () => {
  const found = new Map();
  for await (const each of client.models.list()) found.set(each.id, each.owned_by);
  assert.equal(found.get("good"), "sluice");
  assert.equal(found.get("summarize"), "flow");
  await assert.rejects(client.models.retrieve("nope"), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

test("errors", async () => {
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    assert.equal(error.param, "messages");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model: "full", messages }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.ok(Number(error.headers.get("retry-after-ms")) > 10_000);
    return true;
  });
});

test("a call that becomes a job", async () => {
  const { data, response } = await client.chat.completions
    .create({ model: "slow", messages, background: true })
    .withResponse();
  const location = response.headers.get("location");
  assert.match(location, /^\/v1\/jobs\/job_/);
  if (response.status === 202) assert.equal(location, `/v1/jobs/${data.id}`);
  else assert.equal(response.status, 200); // on a busy machine it may have ended by then
});

test("a file and a batch", { timeout: 240_000 }, async () => {
  const lines = [0, 1, 2].map((number) =>
    JSON.stringify({
      custom_id: `line-${number}`,
      method: "POST",
      url: "/v1/chat/completions",
      body: { model, messages },
    }),
  );
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines.join("\n")), "lines.jsonl"),
    purpose: "batch",
  });
  assert.equal(file.filename, "lines.jsonl");
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  while (!["completed", "failed"].includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    batch = await client.batches.retrieve(batch.id);
  }
  assert.equal(batch.status, "completed");
  const written = await (await client.files.content(batch.output_file_id)).text();
  const answers = written.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((each) => each.custom_id).sort(), ["line-0", "line-1", "line-2"]);
  assert.equal(answers[0].response.body.choices[0].message.content, ANSWER);
  const page = await client.batches.list({ limit: 1 });
  assert.equal(page.data[0].id, batch.id);
  assert.equal((await client.files.delete(file.id)).deleted, true);
});
