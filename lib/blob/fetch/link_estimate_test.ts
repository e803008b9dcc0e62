import assert from "node:assert/strict";
import fc from "fast-check";
import { LinkEstimate } from "./link_estimate.ts";

/** A link with a simulated clock: reads are sequential, or several share the link. */
class FakeLink {
  nowMs = 0;
  readonly estimate = new LinkEstimate(() => this.nowMs);

  constructor(readonly latencyMs: number, readonly bytesPerMs: number) {}

  read(...sizes: number[]): void {
    const timers = sizes.map(() => this.estimate.begin());
    this.nowMs += this.latencyMs + sizes.reduce((sum, size) => sum + size, 0) / this.bytesPerMs;
    for (const [i, timer] of timers.entries()) timer.done(sizes[i] as number);
  }

  /** A read whose response is buffered by the backend, then streamed, with a first piece of `firstBytes`. */
  readInPieces(bytes: number, firstBytes: number, collectedBytesPerMs = Infinity): void {
    const timer = this.estimate.begin();
    this.nowMs += this.latencyMs + bytes / collectedBytesPerMs;
    timer.progress(firstBytes);
    this.nowMs += (bytes - firstBytes) / this.bytesPerMs;
    timer.progress(bytes);
    timer.done(bytes);
  }
}

const near = (actual: number | undefined, expected: number) =>
  assert.ok(actual !== undefined && Math.abs(actual - expected) <= expected * 0.01, `${actual}, expected ${expected}`);

Deno.test("latency and bandwidth are estimated from reads of different lengths", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 100, max: 100_000 }), (latencyMs, bytesPerMs) => {
      const link = new FakeLink(latencyMs, bytesPerMs);
      for (let i = 0; i < 20; i++) link.read(i % 2 === 0 ? 4000 : 400_000);
      near(link.estimate.speed?.latencyMs, latencyMs);
      near(link.estimate.speed?.bytesPerMs, bytesPerMs);
      near(link.estimate.delayBytes, latencyMs * bytesPerMs);
      near(link.estimate.transferMs(1e6), 1e6 / bytesPerMs);
    }),
  );
});

Deno.test("concurrent reads yield the bandwidth of the whole link", () => {
  const link = new FakeLink(20, 3000);
  for (let i = 0; i < 20; i++) link.read(...(i % 2 === 0 ? [1000, 1000] : [200_000, 200_000, 200_000]));
  near(link.estimate.speed?.bytesPerMs, 3000);
});

Deno.test("a single delayed read does not change the estimate", () => {
  const link = new FakeLink(20, 3000);
  for (let i = 0; i < 20; i++) {
    link.read(i % 2 === 0 ? 4000 : 400_000);
    if (i !== 9) continue;
    const timer = link.estimate.begin();
    link.nowMs += 10_000;
    timer.done(4000);
  }
  near(link.estimate.speed?.latencyMs, 20);
  near(link.estimate.speed?.bytesPerMs, 3000);
});

Deno.test("a link that becomes slower is noticed", () => {
  const link = new FakeLink(20, 100_000);
  for (let i = 0; i < 40; i++) link.read(i % 2 === 0 ? 4000 : 400_000);
  Object.assign(link, { bytesPerMs: 1000 });
  for (let i = 0; i < 40; i++) link.read(i % 2 === 0 ? 4000 : 400_000);
  near(link.estimate.speed?.bytesPerMs, 1000);
});

Deno.test("there is no estimate before reads of different lengths, and none from failed reads", () => {
  const link = new FakeLink(20, 3000);
  for (let i = 0; i < 20; i++) link.read(100_000);
  for (let i = 0; i < 20; i++) {
    const timer = link.estimate.begin();
    link.nowMs += i;
    timer.done(0);
  }
  assert.equal(link.estimate.speed, undefined);
  assert.equal(link.estimate.transferMs(1), Infinity);
});

Deno.test("two responses received in pieces are enough for latency and bandwidth", () => {
  const link = new FakeLink(20, 3000);
  link.readInPieces(60_000, 16_000);
  assert.equal(link.estimate.delayBytes, undefined);
  link.readInPieces(500_000, 64_000);
  near(link.estimate.speed?.latencyMs, 20);
  near(link.estimate.speed?.bytesPerMs, 3000);
});

Deno.test("a server that buffers a range before it sends it counts with both delays", () => {
  const link = new FakeLink(20, 6000);
  for (let i = 0; i < 20; i++) link.readInPieces(i % 2 === 0 ? 40_000 : 400_000, 16_000, 3000);
  near(link.estimate.speed?.bytesPerMs, 2000);
});

Deno.test("small random delays of the first piece do not make a fast link slow", () => {
  const link = new FakeLink(20, 100_000);
  for (let i = 0; i < 20; i++) {
    Object.assign(link, { latencyMs: i % 2 === 0 ? 20 : 24 });
    link.readInPieces(i % 2 === 0 ? 40_000 : 400_000, 16_000);
  }
  near(link.estimate.speed?.bytesPerMs, 100_000);
});

Deno.test("a response that restarts is measured from its last start", () => {
  const link = new FakeLink(20, 3000);
  for (let i = 0; i < 2; i++) {
    const timer = link.estimate.begin();
    link.nowMs += 20;
    timer.progress(300_000);
    link.nowMs += 20;
    timer.progress(16_000);
    link.nowMs += 100;
    timer.done(316_000);
  }
  near(link.estimate.speed?.bytesPerMs, 3000);
});
