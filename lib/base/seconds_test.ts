import assert from "node:assert/strict";
import { isSeconds, secondsOf } from "./seconds.ts";

Deno.test("times up to 64 bits are exact: a number while it is safe, a bigint beyond", () => {
  const cases: [value: bigint, seconds: number | bigint | undefined][] = [
    [-7n, -7],
    [2n ** 53n - 1n, 2 ** 53 - 1],
    [1n - 2n ** 53n, 1 - 2 ** 53],
    [2n ** 53n, 2n ** 53n],
    [2n ** 63n - 1n, 2n ** 63n - 1n],
    [-(2n ** 63n), -(2n ** 63n)],
    [2n ** 63n, undefined],
    [-(2n ** 63n) - 1n, undefined],
  ];
  for (const [value, seconds] of cases) {
    assert.equal(secondsOf(value), seconds);
    if (seconds !== undefined) assert.ok(isSeconds(seconds), `${seconds}`);
  }
});

Deno.test("what is not exact, or could be a number, is not a time in seconds", () => {
  for (const value of [0.5, 2 ** 53, NaN, 7n, 2n ** 63n]) assert.ok(!isSeconds(value), `${value}`);
});
