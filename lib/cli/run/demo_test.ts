import assert from "node:assert/strict";
import type { DemoRun } from "../../demo/demo.ts";
import { demoTable } from "./demo.ts";

const CLASSIC: DemoRun = {
  name: "overlay2",
  pullMs: 11_750,
  startMs: 350,
  pulled: { bytes: 49_200_000, requests: 5 },
  total: { bytes: 49_200_000, requests: 5 },
};
const LAZY: DemoRun = {
  name: "nydus-gd",
  pullMs: 290,
  startMs: 1630,
  pulled: { bytes: 320_000, requests: 4 },
  total: { bytes: 4_100_000, requests: 31 },
};
const SIZES = { plainBytes: 123_000_000, layerBytes: 49_100_000, packages: 90 };

Deno.test("the demonstration's table compares what both do, in times", () => {
  assert.deepEqual(demoTable({ ...SIZES, classic: CLASSIC, lazy: LAZY }).split("\n"), [
    "",
    "90 packages, 123.0 MB as files, 49.1 MB as a layer; link 6.0 MB/s, 20 ms a request",
    "",
    "                               overlay2   nydus-gd",
    "docker pull                     11.75 s     0.29 s",
    "docker run until ready           0.35 s     1.63 s",
    "together                        12.10 s     1.92 s  6.3 times sooner",
    "bytes fetched by docker pull    49.2 MB     0.3 MB",
    "bytes fetched when ready        49.2 MB     4.1 MB  12 times less",
    "requests when ready                   5         31",
    "",
  ]);
});

Deno.test("the demonstration's table tells when overlay2 was better", () => {
  const slow = { ...LAZY, startMs: 23_910, total: { ...LAZY.total, bytes: 98_400_000 } };
  const table = demoTable({ ...SIZES, classic: CLASSIC, lazy: slow });
  assert.match(table, /^together .* 2\.0 times later$/m);
  assert.match(table, /^bytes fetched when ready .* 2\.0 times more$/m);
});
