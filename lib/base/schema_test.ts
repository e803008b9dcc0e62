import assert from "node:assert/strict";
import * as v from "valibot";
import { formatPath, parseWith, unknownKeys } from "./schema.ts";

const SCHEMA = v.object({
  name: v.string(),
  kind: v.optional(v.picklist(["a", "b"]), "a"),
  list: v.optional(v.array(v.object({ size: v.pipe(v.number(), v.minValue(1, "is not positive")) })), []),
  map: v.optional(v.record(v.string(), v.object({ on: v.boolean() }))),
});

function state(input: unknown): string {
  const result = parseWith(SCHEMA, input, ["root"]);
  return result.ok ? "ok" : `${formatPath(result.path)} ${result.state}`;
}

Deno.test("invalid values are reported with their path", () => {
  assert.equal(state({ name: "x" }), "ok");
  assert.equal(state({}), "root.name is missing");
  assert.equal(state({ name: 1 }), "root.name must be a string, not a number");
  assert.equal(state({ name: "x", kind: "c" }), 'root.kind must be one of "a", "b", not "c"');
  assert.equal(state({ name: "x", list: {} }), "root.list must be a list, not an object");
  assert.equal(state({ name: "x", list: [{ size: 1 }, { size: 0 }] }), "root.list[1].size is not positive");
  assert.equal(state({ name: "x", map: { k: { on: null } } }), "root.map.k.on must be true or false, not null");
  assert.equal(state(null), "root must be an object, not null");
});

Deno.test("a value of the wrong type is not shown", () => {
  const secret = { name: ["hunter2"] };
  assert.ok(!state(secret).includes("hunter2"));
  const misplaced = { name: "x", kind: "hunter2-5cb1f1b4b0fa49d6" };
  assert.equal(state(misplaced), 'root.kind must be one of "a", "b", not a string');
});

Deno.test("unknown keys are found at every depth", () => {
  const input = { name: "x", other: 1, list: [{ size: 1, extra: 2 }], map: { k: { on: true, off: false } }, kind: {} };
  assert.deepEqual(unknownKeys(SCHEMA, input).map(formatPath), ["other", "list[0].extra", "map.k.off"]);
  assert.deepEqual(unknownKeys(SCHEMA, "text"), []);
});
