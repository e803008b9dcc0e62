/**
 * The calls whose request and response are one JSON document each.
 *
 * @module
 */
import type * as v from "valibot";
import type { GraphDriver } from "./driver.ts";
import { CreateSchema, DiffSchema, GetSchema, IdSchema, InitSchema, NothingSchema, parseRequest } from "./protocol.ts";

/** Handles a call: takes the raw body, returns the document to send back. */
export type JsonMethod = (driver: GraphDriver, body: Uint8Array) => Promise<unknown>;

const METHODS: Record<string, JsonMethod> = {};

function method<S extends v.GenericSchema>(
  name: string,
  schema: S,
  run: (driver: GraphDriver, request: v.InferOutput<S>) => unknown,
): void {
  METHODS[name] = async (driver, body) => await run(driver, parseRequest(name, schema, body));
}

/** By name, for example "GraphDriver.Create". */
export const JSON_METHODS: Readonly<Record<string, JsonMethod>> = METHODS;

method("Plugin.Activate", NothingSchema, () => ({ Implements: ["GraphDriver"] }));

method("GraphDriver.Init", InitSchema, async (driver, request) => {
  await driver.init(request);
  return {};
});

// With false, dockerd keeps what it needs to reproduce a layer byte for byte, and never asks for a Diff of a lazy
// layer.
method("GraphDriver.Capabilities", NothingSchema, () => ({ Capabilities: { ReproducesExactDiffs: false } }));

method("GraphDriver.Status", NothingSchema, async ({ store }) => ({ Status: await store.status() }));

method("GraphDriver.Create", CreateSchema, async ({ store }, request) => {
  await store.create(request.ID, { parent: request.Parent, storageOptions: request.StorageOpt });
  return {};
});

method("GraphDriver.CreateReadWrite", CreateSchema, async ({ store }, request) => {
  await store.createReadWrite(request.ID, { parent: request.Parent, storageOptions: request.StorageOpt });
  return {};
});

method("GraphDriver.Get", GetSchema, async ({ store }, request) => ({
  Dir: await store.get(request.ID, request.MountLabel),
}));

method("GraphDriver.Put", IdSchema, async ({ store }, request) => {
  await store.put(request.ID);
  return {};
});

method("GraphDriver.Remove", IdSchema, async ({ store }, request) => {
  await store.remove(request.ID);
  return {};
});

method("GraphDriver.Exists", IdSchema, async ({ store }, request) => ({ Exists: await store.exists(request.ID) }));

method("GraphDriver.GetMetadata", IdSchema, async ({ store }, request) => ({
  Metadata: await store.metadata(request.ID),
}));

method("GraphDriver.Changes", DiffSchema, async ({ store }, request) => {
  const changes = await store.changes(request.ID, request.Parent);
  return { Changes: changes.map((change) => ({ Path: change.path, Kind: change.kind })) };
});

method("GraphDriver.DiffSize", DiffSchema, async ({ store }, request) => ({
  Size: await store.diffSize(request.ID, request.Parent),
}));

// If dockerd never had a home, nothing is mounted.
method("GraphDriver.Cleanup", NothingSchema, async (driver) => {
  if (driver.ready) await driver.store.cleanup();
  return {};
});
