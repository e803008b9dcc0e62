/**
 * Collects what a check finds wrong, up to a limit.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";

/**
 * Category of a finding.
 *
 * - structure: the bootstrap contradicts itself or the format
 * - digest: a digest in the bootstrap does not match its data
 * - blob: a blob is missing, or its tables do not match the bootstrap
 * - chunk: the bytes of a chunk are wrong
 * - source: the tree does not match the source of the image
 */
export type FindingKind = "structure" | "digest" | "blob" | "chunk" | "source";

/** One defect. */
export interface Finding {
  readonly kind: FindingKind;
  /** A path of the tree, "blob <id>", or "bootstrap". */
  readonly where: string;
  /** Continues the sentence after `where` and a colon. */
  readonly state: string;
}

/** Maximum number of findings kept; further ones are only counted. */
const MOST_KEPT = 1000;

/** Collects findings in bounded memory. */
export class Findings {
  readonly #kept: Finding[] = [];
  #count = 0;

  constructor(readonly limit: number = MOST_KEPT) {}

  /** Number of all findings, including those not kept. */
  get count(): number {
    return this.#count;
  }

  /** The first {@link limit} findings. */
  get kept(): readonly Finding[] {
    return this.#kept;
  }

  add(kind: FindingKind, where: string, state: string): void {
    this.#count++;
    if (this.#kept.length < this.limit) this.#kept.push({ kind, where, state });
  }

  /** Records a caught error as a finding; rethrows it if it is not a {@link NydusGdError}. */
  report(kind: FindingKind, where: string, error: unknown): void {
    if (!(error instanceof NydusGdError)) throw error;
    this.add(kind, where, error.message.replace(/^Cannot (?:read )?/, ""));
  }

  /** Runs `use` and records its failure as a finding. Returns undefined on failure. */
  attempt<T>(kind: FindingKind, where: string, use: () => T): T | undefined {
    try {
      return use();
    } catch (error) {
      this.report(kind, where, error);
      return undefined;
    }
  }
}
