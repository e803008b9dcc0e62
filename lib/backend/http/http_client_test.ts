import assert from "node:assert/strict";
import { FileServer } from "../../../tests/support/backend/file_server.ts";
import { hasCode } from "../../base/errors.ts";
import { DEFAULT_FETCH_OPTIONS } from "./fetch_options.ts";
import { HttpClient } from "./http_client.ts";

/** More microtasks than there are between the end of a request and the start of the one that waits for its slot. */
const MICROTASKS = 30;

/** Aborts after `count` microtasks. */
async function abortLater(abort: AbortController, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await null;
  abort.abort();
}

Deno.test("a request that is aborted while it gets the slot of another ends as interrupted, whatever the instant", async () => {
  await using server = await FileServer.start();
  server.files.set("/file", new Uint8Array(1));
  const url = new URL(`http://${server.host}/file`);
  for (let count = 0; count < MICROTASKS; count++) {
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, parallelPerHost: 1, totalTimeoutMs: 2_000 });
    const abort = new AbortController();
    const first = http.exchange({ method: "GET", url }, { priority: "on-demand" }, async (response) => {
      await response.discard();
      server.faults.push({ kind: "stall" });
      void abortLater(abort, count);
    });
    const options = { priority: "on-demand", signal: abort.signal } as const;
    const second = http.exchange({ method: "GET", url }, options, (response) => response.discard());
    await Promise.all([first, assert.rejects(second, (error) => hasCode(error, "interrupted"), `${count} microtasks`)]);
    server.faults.length = 0;
  }
});
