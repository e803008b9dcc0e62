/**
 * containerd's snapshot service, as methods that take and return messages.
 *
 * @module
 */
import type { Labels } from "../../lib/snapshot/labels.ts";
import type { Snapshot } from "../../lib/snapshot/snapshot_record.ts";
import type { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import { type InfoMessage, KIND_NUMBERS, type Messages, type ToSnapshotter } from "./messages.ts";

/**
 * A message of a listing is sent as soon as it has this many snapshots, or this many characters of labels: receivers
 * refuse large ones (containerd 16 MiB), and images decide about the labels.
 */
const INFOS_PER_MESSAGE = 100;
const LABEL_CHARACTERS_PER_MESSAGE = 512 * 1024;

/** A method with one response. */
export interface UnaryMethod {
  readonly name: string;
  /** Schemas of its messages. */
  readonly request: keyof Messages;
  readonly response: keyof Messages;
  /**
   * @param message of the schema of requests
   * @param signal aborted when the caller has given up
   */
  handle(store: SnapshotStore, message: unknown, signal: AbortSignal): Promise<unknown>;
}

/** Messages that are requests. */
type Request = { [N in keyof Messages]: Messages[N] extends ToSnapshotter ? N : never }[keyof Messages];

function method<Q extends Request, R extends keyof Messages>(
  name: string,
  request: Q,
  response: R,
  handle: (store: SnapshotStore, request: Messages[Q], signal: AbortSignal) => Messages[R] | Promise<Messages[R]>,
): UnaryMethod {
  return {
    name,
    request,
    response,
    handle: async (store, message, signal) => {
      const asked = message as Messages[Q];
      store.admit(asked.snapshotter, { creates: request === "CreateRequest" });
      return await handle(store, asked, signal);
    },
  };
}

/** The methods with one response. */
export const UNARY_METHODS: readonly UnaryMethod[] = [
  method("Prepare", "CreateRequest", "MountsResponse", async (store, { key, parent, labels }, signal) => {
    return { mounts: await store.prepare(key, parent, labelsOf(labels), signal) };
  }),
  method("View", "CreateRequest", "MountsResponse", async (store, { key, parent, labels }, signal) => {
    return { mounts: await store.view(key, parent, labelsOf(labels), signal) };
  }),
  method("Mounts", "KeyRequest", "MountsResponse", async (store, { key }, signal) => {
    return { mounts: await store.mounts(key, signal) };
  }),
  method("Commit", "CommitRequest", "Empty", async (store, { name, key, labels }, signal) => {
    await store.commit(name, key, labelsOf(labels), signal);
    return {};
  }),
  method("Remove", "KeyRequest", "Empty", async (store, { key }) => {
    await store.remove(key);
    return {};
  }),
  method("Stat", "KeyRequest", "InfoResponse", (store, { key }) => ({ info: infoOf(store.stat(key)) })),
  method("Update", "UpdateRequest", "InfoResponse", async (store, { info, updateMask }) => {
    const labels = labelsOf(info?.labels ?? {});
    return { info: infoOf(await store.update(info?.name ?? "", labels, updateMask?.paths ?? [])) };
  }),
  method("Usage", "KeyRequest", "UsageResponse", async (store, { key }, signal) => {
    const { bytes, inodes } = await store.usage(key, signal);
    return { size: bytes, inodes };
  }),
  method("Cleanup", "CleanupRequest", "Empty", async (store) => {
    await store.cleanup();
    return {};
  }),
];

/** The responses of List, one after the other. */
export function* listResponses(
  store: SnapshotStore,
  { snapshotter, filters }: Messages["ListRequest"],
): Generator<Messages["ListResponse"]> {
  store.admit(snapshotter, { creates: false });
  let info: InfoMessage[] = [];
  let characters = 0;
  for (const snapshot of store.list(filters)) {
    info.push(infoOf(snapshot));
    for (const [key, value] of snapshot.labels) characters += key.length + value.length;
    if (info.length < INFOS_PER_MESSAGE && characters < LABEL_CHARACTERS_PER_MESSAGE) continue;
    yield { info };
    info = [];
    characters = 0;
  }
  if (info.length > 0) yield { info };
}

function labelsOf(labels: Readonly<Record<string, string>>): Labels {
  return new Map(Object.entries(labels));
}

function infoOf({ name, parent, kind, created, updated, labels }: Snapshot): InfoMessage {
  return {
    name,
    parent,
    kind: KIND_NUMBERS[kind],
    createdAt: created,
    updatedAt: updated,
    labels: Object.fromEntries(labels),
  };
}
