/**
 * What a snapshot is, and its record on disk.
 *
 * The record lies in the snapshot's own folder, which appears and disappears by a rename: so no record names a folder
 * that is missing, and each change of the store is one rename.
 *
 * @module
 */
import * as v from "valibot";
import { writeFailure } from "../base/disk_full.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { ignore, NydusGdError } from "../base/errors.ts";
import { stateOf } from "../base/error_report.ts";
import { RecognisedLayerSchema } from "../layer/record/layer_record.ts";
import type { LazyLayer } from "../layer/lazy/lazy_images.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";

/** Kinds of snapshots: read-only on a parent, writable, and finished, which alone can be a parent. */
const KINDS = ["view", "active", "committed"] as const;

const natural = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const TimeSchema = v.object({ seconds: v.pipe(v.number(), v.safeInteger()), nanos: natural });

const RecordSchema = v.object({
  version: v.literal(1),
  kind: v.picklist(KINDS),
  /** Name under which the client who made it knows the snapshotter; absent in old records. */
  client: v.exactOptional(v.string()),
  /** Unique among all snapshots. */
  name: v.string(),
  /** Name of the parent; "" for none. */
  parent: v.string(),
  /** Pairs instead of an object, so that any key works, even "constructor". */
  labels: v.array(v.tuple([v.string(), v.string()])),
  created: TimeSchema,
  updated: TimeSchema,
  /** Of a committed snapshot, when it was committed. */
  usage: v.exactOptional(v.object({ bytes: natural, inodes: natural })),
  /** What the files of a committed snapshot are. */
  layer: v.exactOptional(v.object({
    ...RecognisedLayerSchema.entries,
    /** Data of a nydus image, which stays in its registry: the snapshot has no files. */
    isBlob: v.optional(v.boolean(), false),
    /** "sha256:…" of the layer's tar, if it is known. */
    diffId: v.exactOptional(v.string()),
    /** Image reference by which the layer was pulled, as containerd says. */
    reference: v.exactOptional(v.string()),
  })),
});

/** Content of record.json. */
export type SnapshotRecord = v.InferOutput<typeof RecordSchema>;

/** A snapshot. Never changes: a change of the store replaces it. */
export interface Snapshot extends SnapshotRecord {
  /** Its folder; never given to another one. */
  readonly number: number;
}

/** Space that a snapshot takes: bytes and inodes of its own files. */
export type SnapshotUsage = NonNullable<SnapshotRecord["usage"]>;

/** The id of a snapshot as a holder of images and, if it has a bootstrap, as a layer. Docker makes no such ids. */
export function idOf({ number }: Pick<Snapshot, "number">): string {
  return `snapshot-${number}`;
}

/** The lazy image whose bootstrap the snapshot contains; undefined for any other. */
export function lazyImageOf(snapshot: Snapshot, paths: SnapshotPaths): LazyLayer | undefined {
  if (snapshot.layer?.bootstrap === undefined) return undefined;
  const { bootstrap, diffId, reference } = snapshot.layer;
  return {
    id: idOf(snapshot),
    bootstrapPath: `${paths.of(snapshot.number).fs}/${bootstrap.path}`,
    home: paths.dir,
    ...(diffId === undefined ? {} : { diffId }),
    ...(reference === undefined ? {} : { reference }),
  };
}

/** What parsing throws, or causes that reading fails, if the record, or its folder, was not made by this store. */
const DAMAGE = [SyntaxError, v.ValiError, Deno.errors.IsADirectory, Deno.errors.NotADirectory];

/**
 * Reads the record of a snapshot; undefined if its folder is not there.
 *
 * @throws {NydusGdError} "corrupt" if it was not written by this store, or is missing in its folder
 */
export async function readRecord(paths: SnapshotPaths, number: number): Promise<Snapshot | undefined> {
  const { record: path, root } = paths.of(number);
  try {
    const document = await readJsonFile(path);
    if (document !== undefined) return { number, ...v.parse(RecordSchema, document) };
  } catch (error) {
    const reason = error instanceof NydusGdError ? error.cause : error;
    if (!DAMAGE.some((kind) => reason instanceof kind)) throw error;
    throw new NydusGdError("corrupt", `Cannot read "${path}": ${stateOf(reason)}`, { cause: error });
  }
  if (await ignore(Deno.errors.NotFound, Deno.lstat(root)) === undefined) return undefined;
  throw new NydusGdError("corrupt", `Cannot read "${path}": it is missing`);
}

/** Writes or replaces a record; on disk when it returns. */
export async function writeRecord(path: string, { number: _, ...record }: Snapshot): Promise<void> {
  try {
    await writeJsonFile(path, record satisfies SnapshotRecord);
  } catch (error) {
    throw writeFailure(error, `write "${path}"`, path);
  }
}
