/**
 * Docker's record of the registries that a layer was pulled from or pushed to, by diffID.
 *
 * ```
 * <data-root>/image/<driver>/distribution/v2metadata-by-diffid/sha256/<hex of the diffID>
 * [{"Digest": "sha256:…", "SourceRepository": "docker.io/library/nginx", "HMAC": ""}, …]
 * ```
 * Docker writes the record after it has applied the layer. Layers that were built or loaded have none. The last entry
 * is the newest. Source: moby 20.10 to 27, distribution/metadata/v2_metadata_service.go.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { parseWith } from "../base/schema.ts";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.ts";
import { digestSchema } from "../oci/descriptor.ts";
import { parseReference } from "../oci/reference.ts";

/** A repository that a layer was pulled from or pushed to. */
export interface LayerSource {
  /** Digest of the compressed layer in that repository. */
  readonly digest: Digest;
  /** "docker.io", "localhost:5000". */
  readonly host: string;
  /** "library/nginx". */
  readonly repository: string;
}

/** Maximum size of a record in bytes; Docker keeps at most 50 entries. */
const MAX_RECORD_BYTES = 1 << 20;

const ENTRY = v.object({ Digest: digestSchema, SourceRepository: v.string() });

/**
 * Returns the sources of a layer, newest first, without duplicates. Empty if Docker has no record.
 *
 * @param imageDir `<data-root>/image/<driver>`
 * @param diffId digest of the layer's uncompressed tar
 * @throws {NydusGdError} "io" if the record exists but cannot be read
 */
export async function layerSources(imageDir: string, diffId: Digest): Promise<LayerSource[]> {
  const folder = join(imageDir, "distribution", "v2metadata-by-diffid", digestAlgorithm(diffId));
  const path = join(folder, digestHex(diffId));
  let document: unknown;
  try {
    const bytes = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.readFile(path));
    if (bytes === undefined) return [];
    if (bytes.length > MAX_RECORD_BYTES) throw new RangeError(`it is larger than ${MAX_RECORD_BYTES} bytes`);
    document = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new NydusGdError("io", `Cannot read Docker's record of layer ${diffId}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return parseLayerSources(document);
}

/**
 * Returns the valid entries of a record, newest first. Skips entries of unknown form, which later Docker versions may
 * add.
 */
export function parseLayerSources(document: unknown): LayerSource[] {
  if (!Array.isArray(document)) return [];
  const sources = new Map<string, LayerSource>();
  for (const each of document.toReversed()) {
    const entry = parseWith(ENTRY, each);
    if (!entry.ok) continue;
    const source = parseSource(entry.value.SourceRepository);
    if (source === undefined) continue;
    const { Digest: digest } = entry.value;
    const key = `${source.host}/${source.repository}@${digest}`;
    if (!sources.has(key)) sources.set(key, { digest, ...source });
  }
  return [...sources.values()];
}

function parseSource(name: string): Pick<LayerSource, "host" | "repository"> | undefined {
  try {
    const { host, repository } = parseReference(name);
    return { host, repository };
  } catch (error) {
    if (error instanceof NydusGdError) return undefined;
    throw error;
  }
}
