/**
 * Pushes blobs and manifests to a repository.
 *
 * ```
 * POST /v2/<repo>/blobs/uploads/                      starts an upload
 * PUT  <upload URL>?digest=…                          sends the blob in one request
 * POST /v2/<repo>/blobs/uploads/?mount=…&from=<repo>  mounts a blob of another repository
 * PUT  /v2/<repo>/manifests/<tag or digest>
 * ```
 * A failed upload is restarted from the beginning, unless the registry has the blob by then: its answer was lost.
 * Cleaning up broken uploads is left to the registry. Source: OCI distribution spec 1.1.
 *
 * @throws {TransferError} "unauthorized", "unavailable", "not-found"; {NydusGdError} "interrupted"
 * @module
 */
import { bytesText } from "../../base/byte_text.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { BodyStream } from "../http/request_bytes.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { invalidResponse, TransferError } from "../http/transfer_error.ts";
import type { ReadOptions } from "../blob_source.ts";
import { manifestPath } from "./manifest.ts";
import type { RegistryRequest, Repository } from "./repository.ts";

/** A manifest or an index to push. */
export interface Document {
  readonly mediaType: Descriptor["mediaType"];
  readonly bytes: Uint8Array;
}

/** Returns the size of a blob in bytes; undefined if the repository does not have it. */
export async function blobSize(
  repository: Repository,
  digest: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const head = headOf(repository, digest, `look for blob ${digest} in ${repository.description}`);
  return await unlessAbsent(repository.request(head, options(signal), lengthOf));
}

/**
 * Mounts a blob from another repository of the same registry.
 *
 * @param from that repository, without the host
 * @returns false if the registry declines: the blob must then be pushed
 */
export async function mountBlob(
  repository: Repository,
  digest: string,
  from: string,
  signal: AbortSignal,
): Promise<boolean> {
  const query = new URLSearchParams({ mount: digest, from });
  const path = `/v2/${repository.name}/blobs/uploads/?${query}`;
  const what = `mount blob ${digest} of ${from} into ${repository.description}`;
  try {
    return await repository.request({ method: "POST", path, what }, options(signal), async (response) => {
      await response.discard();
      return response.status === 201;
    });
  } catch (error) {
    if (error instanceof TransferError) return false;
    throw error;
  }
}

/** Status of an upload that is complete. Some registries answer with another one below 300, and so does a login page. */
const CREATED = 201;

/** Pushes a blob. */
export async function pushBlob(
  repository: Repository,
  digest: string,
  body: BodyStream | Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const what = `push blob ${digest} to ${repository.description}`;
  const path = `/v2/${repository.name}/blobs/uploads/`;
  const headers = { "content-type": "application/octet-stream" };
  let wasSent = false;
  await repository.retrying(options(signal), async (host, attempt) => {
    const isThere = async () =>
      await unlessAbsent(host.once(headOf(repository, digest, what), attempt, lengthOf)) === body.length;
    if (wasSent && await isThere()) return;
    const begun = await host.once({ method: "POST", path, what }, attempt, async (response) => {
      await response.discard();
      return uploadPlace(response);
    });
    begun.searchParams.set("digest", digest);
    wasSent = true;
    try {
      const request = { method: "PUT", path, what, headers, body, startAt: begun } as const;
      const { status, server } = await host.once(request, attempt, discarded);
      if (status !== CREATED && !await isThere()) {
        throw invalidResponse(`HTTP ${status} from ${server}, which does not have the blob then`).of(what);
      }
    } catch (error) {
      throw ofUpload(error, body.length);
    }
  });
}

/**
 * Adds to the error of an upload what only holds for uploads. A registry that does not know one was restarted, or has
 * servers that do not share them: another may pass.
 */
function ofUpload(error: unknown, sizeBytes: number): unknown {
  if (!(error instanceof TransferError)) return error;
  const { code, state, status, what } = error;
  if (status === 404) {
    return new TransferError("unavailable", state, { prospect: "transient", status, cause: error }, what);
  }
  if (status !== 413) return error;
  const hint = `have the server, or the proxy before it, accept requests of ${bytesText(sizeBytes)}`;
  return new TransferError(code, state, { prospect: "permanent", status, hint, cause: error }, what);
}

/**
 * Puts a manifest or an index under `name`, a tag or its digest.
 *
 * @returns whether the registry maintains the referrers of the document's subject, if it has one. If not, the client
 * has to do so (referrers_tag.ts).
 * @throws {NydusGdError} with a hint at media types if the registry refuses the document itself
 */
export async function pushManifest(
  repository: Repository,
  name: string,
  { mediaType, bytes }: Document,
  signal: AbortSignal,
): Promise<boolean> {
  const what = `push manifest ${name} to ${repository.description}`;
  const headers = { "content-type": mediaType };
  try {
    return await repository.request(
      { method: "PUT", path: manifestPath(repository, name), headers, body: bytes, what },
      options(signal),
      async (response) => {
        await response.discard();
        requireNoPage(response);
        return response.header("oci-subject") !== undefined;
      },
    );
  } catch (error) {
    if (!(error instanceof TransferError) || error.prospect === "transient") throw error;
    if (!REFUSED_DOCUMENT.has(error.status ?? 0)) throw error;
    const hint = bytes.length > ACCEPTED_BYTES
      ? `registries accept manifests up to ${bytesText(ACCEPTED_BYTES)}, and this one has ${
        bytesText(bytes.length)
      }: ` +
        "remove large annotations"
      : `check whether the registry accepts manifests of ${mediaType} with nydus layers`;
    throw new NydusGdError(error.code, error.message, { hint, cause: error });
  }
}

/** What answers with a page, such as a login in front of a network, has stored nothing, whatever its status. */
function requireNoPage(response: HttpResponse): void {
  const isPage = response.header("content-type")?.startsWith("text/html") && response.contentLength !== 0;
  if (isPage) throw invalidResponse(`${response.server} answers with a page, not as a registry`);
}

/** Statuses with which registries refuse a document because of its content. */
const REFUSED_DOCUMENT: ReadonlySet<number> = new Set([400, 405, 406, 409, 413, 415, 422]);

/** Size of a manifest that every registry accepts (OCI distribution-spec v1.1, "Pushing Manifests"). */
const ACCEPTED_BYTES = 4 << 20;

function headOf(repository: Repository, digest: string, what: string): RegistryRequest {
  return { method: "HEAD", path: `/v2/${repository.name}/blobs/${digest}`, what };
}

async function discarded(response: HttpResponse): Promise<HttpResponse> {
  await response.discard();
  return response;
}

async function lengthOf(response: HttpResponse): Promise<number | undefined> {
  await response.discard();
  return response.contentLength;
}

async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (hasCode(error, "not-found")) return undefined;
    throw error;
  }
}

function uploadPlace(response: HttpResponse): URL {
  const location = response.header("location");
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw invalidResponse(`HTTP ${response.status} from ${response.url.host} without a usable Location`);
  }
  return new URL(location, response.url);
}

function options(signal: AbortSignal): ReadOptions {
  return { priority: "on-demand", signal };
}
