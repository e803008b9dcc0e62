import { deepEqual, equal, throws } from "node:assert/strict";
import { parseSize, sizeLimitOf } from "./storage_options.ts";

Deno.test("sizes are parsed as Docker does: every K is 1024", () => {
  const sizes = ["1048576", "7b", "10G", "10g", "10 GB", "10GiB", "1.5m", "2k", "1T", "1p", "0"];
  const bytes = [2 ** 20, 7, ...Array(4).fill(10 * 2 ** 30), 1.5 * 2 ** 20, 2048, 2 ** 40, 2 ** 50, 0];
  deepEqual(sizes.map((size) => parseSize(size, "test")), bytes);
});

Deno.test("an invalid size is refused", () => {
  for (const size of ["", " ", "-1G", "big", "1X", "1GG", "1ib", "G", "9999999P", "1e3", "0x10"]) {
    throws(() => parseSize(size, "create layer a"), {
      code: "usage",
      message: `Cannot create layer a: size ${JSON.stringify(size)} is not a size`,
    });
  }
});

Deno.test("a layer without a size has the default, and a size of 0 means none", () => {
  equal(sizeLimitOf({}, "test"), undefined);
  equal(sizeLimitOf({ SIZE: "0" }, "test"), 0);
  equal(sizeLimitOf({ size: "1k" }, "test"), 1024);
  throws(() => sizeLimitOf({ size: "1k", speed: "1" }, "create layer a"), {
    code: "usage",
    message: 'Cannot create layer a: storage option "speed" is unknown',
  });
});
