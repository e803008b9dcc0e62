import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesText } from "./byte_text.ts";

Deno.test("amounts have three digits and a decimal unit", () => {
  const cases: [bytes: number, text: string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [9_994, "9.99 kB"],
    [9_995, "10.0 kB"],
    [99_960, "100 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [1_234_567, "1.23 MB"],
    [49_100_000, "49.1 MB"],
    [2 ** 53, "9.01 PB"],
  ];
  for (const [bytes, text] of cases) assert.equal(bytesText(bytes), text);
});

Deno.test("the displayed amount is within half a percent of the real one", () => {
  const factors: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };
  fc.assert(fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => {
    const [value = "", unit = ""] = bytesText(bytes).split(" ");
    assert.ok(Math.abs(Number(value) * (factors[unit] ?? NaN) - bytes) <= bytes * 0.005);
    assert.ok(value.length <= 4);
  }));
});
