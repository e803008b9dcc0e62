/**
 * Messages between the main thread and a decode Worker. Each Worker runs one job at a time.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import type { ChunkCoding, ChunkFailure, DecodeTarget, StoredChunks } from "./chunk_decoder.ts";
import type { PostedTable } from "../tables/chunk_table_file.ts";

/** A target as posted to a Worker. */
export interface PostedTarget extends Omit<DecodeTarget, "columns" | "posted"> {
  readonly columns: PostedTable | ChunkColumns;
}

/** Messages to the Worker. */
export type DecodeRequest =
  | { readonly type: "target"; readonly target: PostedTarget }
  | { readonly type: "drop"; readonly key: number }
  /** Decode the chunks. */
  | { readonly type: "decode"; readonly key: number } & StoredChunks
  /** Compare the chunks with their digests. All columns are in shared memory. */
  | { readonly type: "verify"; readonly coding: ChunkCoding } & StoredChunks
  /** Verify `rows` in the data file. */
  | { readonly type: "check"; readonly key: number; readonly rows: readonly number[] };

/** Messages from the Worker: ready for a job, or the result of the last one. */
export type DecodeReply =
  | { readonly type: "started" }
  | { readonly type: "done"; readonly failures: readonly ChunkFailure[] }
  /** The job as a whole failed. */
  | { readonly type: "failed"; readonly message: string };
