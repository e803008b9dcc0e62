import { deepEqual, equal, throws } from "node:assert/strict";
import { diffIdOf, isNydusBlob, updateLabels } from "./labels.ts";

const BEFORE = new Map([["one", "1"], ["two", "2"]]);
const updated = (update: Record<string, string>, ...fields: string[]) =>
  Object.fromEntries(updateLabels(BEFORE, new Map(Object.entries(update)), fields));

Deno.test("an update changes the named labels, all of them without a name, and removes those without a value", () => {
  deepEqual(updated({ one: "changed", two: "ignored" }, "labels.one"), { one: "changed", two: "2" });
  deepEqual(updated({ one: "changed" }, "labels.one", "labels.two"), { one: "changed" });
  deepEqual(updated({ only: "1" }, "labels"), { only: "1" });
  deepEqual(updated({ only: "1" }), { only: "1" });
  deepEqual(updated({ "a.b/c": "1" }, "labels.a.b/c"), { one: "1", two: "2", "a.b/c": "1" });
});

Deno.test("other fields cannot be changed", () => {
  throws(() => updated({}, "parent"), { code: "usage", message: /"parent" cannot be changed/ });
});

Deno.test("the chain ID of a layer is its diffID only if nothing is below it; it is a label, or the end of a name", () => {
  const digest = `sha256:${"0a".repeat(32)}`;
  const labels = new Map([["containerd.io/snapshot.ref", digest]]);
  equal(diffIdOf("any", labels, ""), digest);
  equal(diffIdOf("any", labels, "parent"), undefined);
  equal(diffIdOf("any", new Map([["containerd.io/snapshot.ref", "x"]]), ""), undefined);
  equal(diffIdOf(digest, new Map(), ""), digest);
  equal(diffIdOf(`k8s.io/17/${digest}`, new Map(), ""), digest);
  equal(diffIdOf(`k8s.io/17/x${digest}`, new Map(), ""), undefined);
});

Deno.test("only the value true marks data of a nydus image", () => {
  const key = "containerd.io/snapshot/nydus-blob";
  deepEqual(["true", "false", ""].map((value) => isNydusBlob(new Map([[key, value]]))), [true, false, false]);
});
