/**
 * Helpers for tests of backends: opening one from a nydusd configuration, and asserting errors.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Backend, ReadOptions } from "../../../lib/backend/blob_source.ts";
import { DEFAULT_FETCH_OPTIONS, type FetchOptions } from "../../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../../lib/backend/http/http_client.ts";
import { parseNydusdConfig } from "../../../lib/backend/nydusd_config.ts";
import { openBackend } from "../../../lib/backend/open_backend.ts";
import { ANONYMOUS } from "../../../lib/backend/registry/keychain.ts";
import { NydusGdError } from "../../../lib/base/errors.ts";
import { thrownBy } from "../thrown_by.ts";

export const ON_DEMAND: ReadOptions = { priority: "on-demand" };

/** An open backend with an HTTP client of its own. */
export class OpenedBackend implements Disposable {
  private constructor(readonly backend: Backend, private readonly http: HttpClient) {}

  /** Opens the backend `type` of a v2 configuration. */
  static open(type: string, section: Record<string, unknown>, fetch: Partial<FetchOptions> = {}): OpenedBackend {
    const http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, ...fetch });
    const { backend } = parseNydusdConfig(JSON.stringify({ version: 2, backend: { type, [type]: section } }));
    return new OpenedBackend(openBackend(backend, { http, keychain: ANONYMOUS, certsDir: "/nonexistent" }), http);
  }

  [Symbol.dispose](): void {
    this.http[Symbol.dispose]();
  }
}

/** Awaits a rejection with this code and a message that matches `words`. */
export async function refuses(promise: Promise<unknown>, code: string, words?: RegExp): Promise<NydusGdError> {
  const error = await thrownBy(() => promise);
  assert.ok(error instanceof NydusGdError, String(error));
  assert.equal(error.code, code, error.message);
  if (words !== undefined) assert.match(error.message, words);
  return error;
}

/** Patterned bytes, in which a range from a wrong offset is noticed. */
export function distinctBytes(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}
