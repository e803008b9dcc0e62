import assert from "node:assert/strict";
import { PARKED_COUNT, RequestFile, RequestRegion } from "./request_file.ts";

/** A region of a new file, as a Worker and the main thread see it. */
function twoViews(file: RequestFile, worker: number): [RequestRegion, RequestRegion] {
  const freed = new Int32Array(new SharedArrayBuffer(4));
  return [new RequestRegion(file.regionAddress(worker), freed), new RequestRegion(file.regionAddress(worker), freed)];
}

function receive(region: RequestRegion, length: number, mark: number): void {
  const view = new DataView(region.inbox.buffer, region.inbox.byteOffset);
  region.inbox.fill(mark, 0, length);
  view.setUint32(0, length, true);
}

function contentOf({ fd }: RequestFile): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(`/proc/self/fd/${fd.raw}`);
}

Deno.test("a parked request is in the file until it is released", () => {
  using file = RequestFile.create(2);
  const [worker, main] = twoViews(file, 1);
  receive(worker, 80, 0xab);
  const slot = worker.park();
  worker.clearInbox();
  const bytes = contentOf(file);
  const parkedAt = bytes.indexOf(0xab, bytes.lastIndexOf(80) + 1) - 4;
  assert.equal(new DataView(bytes.buffer).getUint32(parkedAt, true), 80);
  assert.ok(bytes.subarray(parkedAt + 4, parkedAt + 80).every((byte) => byte === 0xab));
  main.release(slot);
  assert.equal(new DataView(contentOf(file).buffer).getUint32(parkedAt, true), 0);
});

Deno.test("every slot can be taken once, and again after its release", () => {
  using file = RequestFile.create(1);
  const [worker, main] = twoViews(file, 0);
  receive(worker, 80, 1);
  const slots = Array.from({ length: PARKED_COUNT }, () => worker.park());
  assert.equal(new Set(slots).size, PARKED_COUNT);
  main.release(17);
  assert.equal(worker.park(), 17);
});

Deno.test("INIT is stored completely, and a region beyond the last Worker is refused", () => {
  using file = RequestFile.create(1);
  assert.equal(file.storedInit().length, 0);
  file.init.set([104, 0, 0, 0, 26]);
  assert.equal(file.storedInit().length, 104);
  assert.throws(() => file.regionAddress(1), RangeError);
});
