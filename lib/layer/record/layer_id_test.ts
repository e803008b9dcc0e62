import { equal, throws } from "node:assert/strict";
import { isLayerId, layerId } from "./layer_id.ts";

const HEX = "0123456789abcdef".repeat(4);

Deno.test("the ids of Docker and of BuildKit are valid layer ids", () => {
  for (const id of [HEX, `${HEX}-init`, HEX + "0", "z9q3v6s0kq0m4t5l7w1x2y8ab", "with.dots-and_more"]) {
    equal(layerId(id), id);
  }
});

Deno.test("paths, hidden names, the links folder and overlong names are refused", () => {
  for (
    const id of [
      "",
      ".",
      "..",
      "/",
      "l",
      "../x",
      "a/b",
      `${HEX}/diff`,
      ".making",
      "a\0b",
      "a\nb",
      "x".repeat(300),
      "-rf",
      "ä",
    ]
  ) {
    equal(isLayerId(id), false, id);
    throws(() => layerId(id), { name: "NydusGdError", code: "usage" });
  }
});
