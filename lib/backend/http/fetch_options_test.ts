import assert from "node:assert/strict";
import { DEFAULT_SETTINGS } from "../../base/settings.ts";
import { fetchOptionsOf } from "./fetch_options.ts";

Deno.test("the read timeout leaves time for a retry before the deadline", () => {
  const limits = { ...DEFAULT_SETTINGS.fetch, readTimeoutMs: 30_000, deadlineMs: 60_000 };
  assert.equal(fetchOptionsOf(limits).readTimeoutMs, 15_000);
  assert.equal(fetchOptionsOf({ ...limits, readTimeoutMs: 2_000 }).readTimeoutMs, 2_000);
  assert.equal(fetchOptionsOf(limits).pausesTimeoutMs, 60_000);
});
