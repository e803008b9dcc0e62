/**
 * Whole blobs of registries that ignore ranges, lose connections, or are read slowly.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, refuses } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { DEFAULT_FETCH_OPTIONS, type FetchOptions } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { openRegistry } from "../../backend/open_backend.ts";
import { ANONYMOUS } from "../../backend/registry/keychain.ts";
import { delay } from "../../base/abort.ts";
import { concatenate } from "../../base/bytes.ts";
import { streamBlob } from "./blob_stream.ts";

/** More than is skipped to reach a range in a response that has everything. */
const BYTES = distinctBytes(10 << 20);
const signal = new AbortController().signal;

interface World {
  readonly registry: FakeRegistry;
  /** Reads the blob to its end. @param use called with each piece */
  read(use?: () => Promise<void>): Promise<Uint8Array>;
  /** Values of Range of the requests for the blob so far. */
  ranges(): (string | undefined)[];
}

async function withBlob(test: (world: World) => Promise<void>, fetch: Partial<FetchOptions> = {}): Promise<void> {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 2, ...fetch });
  const location = { host: registry.host, repo: "app", scheme: "http" } as const;
  const blob = openRegistry(location, { http, keychain: ANONYMOUS }).blob(registry.addBlob(BYTES));
  await test({
    registry,
    read: async (use = () => Promise.resolve()) => {
      const pieces: Uint8Array[] = [];
      for await (const piece of streamBlob(blob, BYTES.length, signal)) {
        pieces.push(piece);
        await use();
      }
      return concatenate(pieces);
    },
    ranges: () => registry.requests.map(({ headers }) => headers.range as string | undefined),
  });
}

Deno.test("a blob of a registry that ignores ranges is streamed by one request", () =>
  withBlob(async ({ registry, read, ranges }) => {
    registry.lasting = { kind: "whole" };
    assert.deepEqual(await read(), BYTES);
    assert.deepEqual(ranges(), [undefined]);
  }));

Deno.test("a stream goes on where the connection was lost, however often there is progress", () =>
  withBlob(async ({ registry, read, ranges }) => {
    for (let i = 0; i < 7; i++) registry.faults.push({ kind: "truncate", keep: 1 << 20 });
    assert.deepEqual(await read(), BYTES);
    const last = BYTES.length - 1;
    assert.deepEqual(ranges(), [
      undefined,
      ...[1, 2, 3, 4, 5, 6, 7].map((mib) => `bytes=${mib << 20}-${last}`),
    ]);
  }));

Deno.test("a stream goes on at a registry that ignores ranges, after what it has already", () =>
  withBlob(async ({ registry, read, ranges }) => {
    registry.lasting = { kind: "whole" };
    registry.faults.push({ kind: "truncate", keep: 9 << 20 });
    assert.deepEqual(await read(), BYTES);
    assert.equal(ranges().length, 2);
  }));

Deno.test("a stream without progress ends with the error", () =>
  withBlob(async ({ registry, read, ranges }) => {
    registry.lasting = { kind: "status", status: 503 };
    registry.faults.push({ kind: "truncate", keep: 1 << 20 });
    await refuses(read(), "unavailable", /^Cannot read blob .*: HTTP 503 from/);
    assert.equal(ranges().length, 1 + 2 + 3);
  }));

Deno.test("a page instead of a blob is not taken for it", () =>
  withBlob(async ({ registry, read }) => {
    registry.lasting = { kind: "status", status: 200, body: "<html>" };
    await refuses(read(), "unavailable", /the answer has 6 bytes, not 10485760$/);
  }));

Deno.test("a stream does not go on with an answer about other bytes", () =>
  withBlob(async ({ registry, read, ranges }) => {
    registry.faults.push({ kind: "truncate", keep: 1 << 20 });
    registry.faults.push({ kind: "content-range", value: `bytes ${2 << 20}-${BYTES.length - 1}/${BYTES.length}` });
    assert.deepEqual(await read(), BYTES);
    const rest = `bytes=${1 << 20}-${BYTES.length - 1}`;
    assert.deepEqual(ranges(), [undefined, rest, rest]);
  }));

Deno.test("an answer that tells no length and is shorter than the blob is not its end", () =>
  withBlob(async ({ registry, read, ranges }) => {
    const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    registry.lasting = { kind: "raw", text: `${head}5\r\nhello\r\n0\r\n\r\n` };
    await refuses(read(), "unavailable", /the answer has 5 bytes, not 10485760$/);
    assert.equal(ranges().length, 3 + 3, "five bytes are progress once");
  }));

Deno.test("a slow reader is no timeout of the server", () =>
  withBlob(async ({ read, ranges }) => {
    let isFirst = true;
    const bytes = await read(async () => {
      if (isFirst) await delay(1_500, signal);
      isFirst = false;
    });
    assert.deepEqual(bytes, BYTES);
    assert.deepEqual(ranges(), [undefined]);
  }, { readTimeoutMs: 1_000 }));

Deno.test("a reader that stops ends the request", () =>
  withBlob(async ({ read }) => {
    await assert.rejects(read(() => Promise.reject(new Error("enough"))), /enough/);
  }));
