/**
 * What the main thread and a decode Worker say to each other. One job at a time for each Worker.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/chunk_table.ts";
import type { ChunkCoding, ChunkFailure, DecodeTarget } from "./chunk_decoder.ts";
import type { PostedTable } from "../tables/chunk_table_file.ts";

/** A target on its way. */
export interface PostedTarget extends Omit<DecodeTarget, "columns" | "posted"> {
  readonly columns: PostedTable | ChunkColumns;
}

/** To the Worker. */
export type DecodeRequest =
  | { readonly type: "target"; readonly target: PostedTarget }
  | { readonly type: "drop"; readonly key: number }
  /** Decode `rows` from `stored`, the bytes of the blob from `offset`. */
  | {
    readonly type: "decode";
    readonly key: number;
    readonly rows: readonly number[];
    readonly stored: Uint8Array;
    readonly offset: number;
  }
  /** Compare `rows` of `stored`, which are as in "decode", with their digests. All columns are in shared memory. */
  | {
    readonly type: "verify";
    readonly coding: ChunkCoding;
    readonly rows: readonly number[];
    readonly stored: Uint8Array;
    readonly offset: number;
  }
  /** Check `rows` in the data file. */
  | { readonly type: "check"; readonly key: number; readonly rows: readonly number[] };

/** From the Worker: it is ready for a job, or what became of the last one. */
export type DecodeReply =
  | { readonly type: "started" }
  | { readonly type: "done"; readonly failures: readonly ChunkFailure[] }
  /** The job as a whole failed. */
  | { readonly type: "failed"; readonly message: string };
