import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, refuses } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import type { Fault } from "../../../tests/support/backend/faults.ts";
import type { BlobSource } from "../blob_source.ts";
import { DEFAULT_FETCH_OPTIONS, type FetchOptions } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import { ANONYMOUS } from "./keychain.ts";

const BYTES = distinctBytes(5_000);
const DRIP: Fault = { kind: "drip", bytes: 1, everyMs: 50 };

/** Runs `test` with a blob of a registry that answers as `faults` say. */
async function withFaults(
  faults: readonly Fault[],
  options: Partial<FetchOptions>,
  test: (blob: BlobSource, registry: FakeRegistry) => Promise<void>,
): Promise<void> {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, ...options });
  const id = registry.addBlob(BYTES);
  registry.faults.push(...faults);
  const location = { host: registry.host, repo: "team/app", scheme: "http" } as const;
  await test(openRegistry(location, { http, keychain: ANONYMOUS }).blob(id), registry);
}

Deno.test("a response of next to nothing is given up after the read timeout, and requested again", () =>
  withFaults([DRIP], { retries: 1, readTimeoutMs: 500 }, async (blob, registry) => {
    assert.deepEqual(await blob.read(0, 100, ON_DEMAND), BYTES.slice(0, 100));
    assert.equal(registry.count("GET", "/v2/"), 2);
  }));

Deno.test("the error for it tells how little came", () =>
  withFaults([DRIP], { retries: 0, readTimeoutMs: 500 }, async (blob) => {
    const state = /read from .* timed out after 500 ms, in which \d+ bytes came$/;
    await refuses(blob.read(0, 100, ON_DEMAND), "unavailable", state);
  }));

Deno.test("a slow response is read to its end, however long it takes", () =>
  withFaults([{ kind: "drip", bytes: 250, everyMs: 100 }], { readTimeoutMs: 1_000 }, async (blob, registry) => {
    assert.deepEqual(await blob.read(0, 4_000, ON_DEMAND), BYTES.slice(0, 4_000));
    assert.equal(registry.count("GET", "/v2/"), 1);
  }));
