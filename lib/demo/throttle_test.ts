import assert from "node:assert/strict";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { Throttle } from "./throttle.ts";

const BLOB = Uint8Array.from({ length: 100_000 }, (_, i) => i * 7 & 0xff);

async function get(url: string, init: RequestInit = {}): Promise<{ response: Response; bytes: Uint8Array }> {
  const response = await fetch(url, init);
  return { response, bytes: await response.bytes() };
}

Deno.test("content passes unchanged, requests and body bytes are counted", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(BLOB);
  await using link = new Throttle({ upstream: registry.url, bytesPerSecond: Infinity, delayMs: 0 });
  const url = `http://${link.host}/v2/app/blobs/sha256:${id}`;
  assert.deepEqual((await get(url)).bytes, BLOB);
  const part = await get(url, { headers: { range: "bytes=10-99" } });
  assert.equal(part.response.status, 206);
  assert.equal(part.response.headers.get("content-range"), `bytes 10-99/${BLOB.length}`);
  assert.deepEqual(part.bytes, BLOB.subarray(10, 100));
  assert.deepEqual(link.traffic(), { requests: 2, bytes: BLOB.length + 90 });
  const head = await get(url, { method: "HEAD" });
  assert.equal(head.response.headers.get("content-length"), String(BLOB.length));
  assert.deepEqual(link.traffic(), { requests: 3, bytes: BLOB.length + 90 });
  link.reset();
  assert.deepEqual(link.traffic(), { requests: 0, bytes: 0 });
});

Deno.test("error responses and redirects pass unchanged", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(BLOB);
  await using link = new Throttle({ upstream: registry.url, bytesPerSecond: Infinity, delayMs: 0 });
  assert.equal((await get(`http://${link.host}/v2/app/manifests/none`)).response.status, 404);
  registry.faults.push({ kind: "redirect", location: "http://192.0.2.1/elsewhere" });
  const { response } = await get(`http://${link.host}/v2/app/blobs/sha256:${id}`, { redirect: "manual" });
  assert.equal(response.headers.get("location") ?? response.status, "http://192.0.2.1/elsewhere");
});

Deno.test("responses share the bandwidth limit, and each request is delayed", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(BLOB);
  const limit = { bytesPerSecond: 1_000_000, delayMs: 30 };
  await using link = new Throttle({ upstream: registry.url, ...limit });
  const url = `http://${link.host}/v2/app/blobs/sha256:${id}`;
  const start = performance.now();
  const all = await Promise.all([get(url), get(url)]);
  const tookMs = performance.now() - start;
  for (const { bytes } of all) assert.deepEqual(bytes, BLOB);
  // Only a lower bound: slow machines may take longer. The last timer may be skipped or fire a millisecond early.
  assert.ok(tookMs >= limit.delayMs + 200 - 2, `200000 bytes took ${tookMs} ms`);
});
