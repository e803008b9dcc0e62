import assert from "node:assert/strict";
import { RateMeter } from "./rate_meter.ts";

Deno.test("events count towards the rate for ten seconds, and towards the total permanently", () => {
  const meter = new RateMeter();
  assert.deepEqual([meter.total, meter.perSecond(0)], [0, 0]);
  for (const ms of [0, 10, 999, 1000, 9_999]) meter.mark(ms);
  assert.equal(meter.perSecond(9_999), 0.5);
  assert.equal(meter.perSecond(10_000), 0.2, "the first second is over");
  assert.equal(meter.perSecond(11_000), 0.1);
  meter.mark(20_500);
  assert.equal(meter.perSecond(20_500), 0.1, "counts of an earlier round are reset");
  assert.deepEqual([meter.total, meter.perSecond(60_000)], [6, 0]);
});
