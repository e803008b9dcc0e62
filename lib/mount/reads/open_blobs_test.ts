import assert from "node:assert/strict";
import { openBlob } from "../../../tests/support/blob/open_blob.ts";
import { unlessAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";
import { openBlobs } from "./open_blobs.ts";

/** Blobs whose opening is resolved by the test, and the ids of those whose opening has begun, in order. */
function storesOf(count: number) {
  const begun: string[] = [];
  const open = new Map<string, (blob: OpenBlob) => void>();
  const stores = Array.from({ length: count }, (_, index): ChunkStore => ({
    id: String(index),
    open(signal) {
      begun.push(this.id);
      return unlessAborted(new Promise((resolve) => open.set(this.id, resolve)), signal);
    },
    ensure: () => assert.fail(),
    seal: () => assert.fail(),
    copiesName: () => assert.fail(),
    onStored: () => assert.fail(),
  }));
  return { stores, begun, open: (id: string, blob: OpenBlob) => open.get(id)?.(blob) };
}

const blobOf = (dataFd: number) => openBlob(dataFd, []);

Deno.test("blobs are opened four at a time, in order, and each is returned when ready", async () => {
  const { stores, begun, open } = storesOf(6);
  const openings = openBlobs(stores);
  await Promise.resolve();
  assert.deepEqual(begun, ["0", "1", "2", "3"]);
  open("2", blobOf(2));
  assert.equal((await openings[2])?.dataFd, 2);
  assert.deepEqual(begun, ["0", "1", "2", "3", "4"]);
  for (const id of ["0", "1", "3", "4"]) open(id, blobOf(Number(id)));
  await openings[4];
  open("5", blobOf(5));
  assert.equal((await openings[5])?.dataFd, 5);
});

Deno.test("after the time limit no opening is waited for", async () => {
  const { stores } = storesOf(6);
  const late = new AbortController();
  const openings = openBlobs(stores, late.signal);
  late.abort(new NydusGdError("unavailable", "Cannot mount x: its blobs returned no chunk tables"));
  for (const { status, ...end } of await Promise.allSettled(openings)) {
    assert.equal(status, "rejected");
    assert.match(String("reason" in end && end.reason), /returned no chunk tables/);
  }
});
