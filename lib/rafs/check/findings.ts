/**
 * What a check finds wrong: every single thing, as long as somebody may want to read it.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";

/**
 * Where a finding belongs.
 *
 * - structure: the bootstrap contradicts itself or the format
 * - digest: a digest of the bootstrap is not that of what it stands for
 * - blob: a blob is missing, or its tables are not those of the bootstrap
 * - chunk: the bytes of a chunk are wrong
 * - source: the tree is not that of what the image was made of
 */
export type FindingKind = "structure" | "digest" | "blob" | "chunk" | "source";

/** One thing that is wrong. */
export interface Finding {
  readonly kind: FindingKind;
  /** A path of the tree, "blob <id>", or "bootstrap". */
  readonly where: string;
  /** Reads on after `where` and a colon. */
  readonly state: string;
}

/** Findings that are kept; the rest is counted. */
const MOST_KEPT = 1000;

/** Collects findings. Memory is bounded, whatever is wrong. */
export class Findings {
  readonly #kept: Finding[] = [];
  #count = 0;

  constructor(readonly limit: number = MOST_KEPT) {}

  /** All findings, those included that were not kept. */
  get count(): number {
    return this.#count;
  }

  /** The first {@link limit} of them. */
  get kept(): readonly Finding[] {
    return this.#kept;
  }

  add(kind: FindingKind, where: string, state: string): void {
    this.#count++;
    if (this.#kept.length < this.limit) this.#kept.push({ kind, where, state });
  }

  /** Makes a finding of what was thrown; what is no error of ours is thrown on. */
  report(kind: FindingKind, where: string, error: unknown): void {
    if (!(error instanceof NydusGdError)) throw error;
    this.add(kind, where, error.message.replace(/^Cannot (?:read )?/, ""));
  }

  /** Runs `use`; when it fails that is a finding, and nothing comes of it. */
  attempt<T>(kind: FindingKind, where: string, use: () => T): T | undefined {
    try {
      return use();
    } catch (error) {
      this.report(kind, where, error);
      return undefined;
    }
  }
}
