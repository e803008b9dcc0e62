import assert from "node:assert/strict";
import { configOfOneLayer, historyOf } from "./history.ts";
import { sha256Digest } from "./digest.ts";

const DIFF_ID = sha256Digest("ab".repeat(32));

Deno.test("an image whose layers became one keeps its history as steps without a layer", () => {
  const config = {
    created: "2024-05-06T07:08:09Z",
    os: "linux",
    rootfs: { type: "layers", diff_ids: ["sha256:old", "sha256:other"] },
    history: [{ created_by: "COPY", author: "a" }, { created_by: "ENV", empty_layer: true }],
  };
  assert.deepEqual(configOfOneLayer(config, DIFF_ID, { created_by: "nydus-gd pull" }), {
    created: "2024-05-06T07:08:09Z",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [DIFF_ID] },
    history: [
      { created_by: "COPY", author: "a", empty_layer: true },
      { created_by: "ENV", empty_layer: true },
      { created: "2024-05-06T07:08:09Z", created_by: "nydus-gd pull" },
    ],
  });
});

Deno.test("what is no step is left out of a history, and a time that is none out of a new step", () => {
  for (const history of [undefined, null, "steps", {}]) assert.deepEqual(historyOf({ history }), []);
  const step = { created_by: "COPY" };
  assert.deepEqual(historyOf({ history: [null, 1, step] }), [step]);
  const { history } = configOfOneLayer({ created: 7 }, DIFF_ID, step);
  assert.deepEqual(history, [step]);
});
