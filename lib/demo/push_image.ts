/**
 * Pushes a built image to a loopback registry that accepts anonymous pushes, such as {@link RegistryProcess}.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import type { BuiltImage, ImageBlob } from "../image/build/image_builder.ts";

/** Where an image goes. */
export interface PushPlace {
  /** "127.0.0.1:PORT". */
  readonly host: string;
  readonly repository: string;
  readonly tag: string;
}

/** A blob with its digest. */
export type PushableBlob = Pick<ImageBlob, "digest" | "bytes">;

/**
 * Pushes blobs, then the manifest under the tag.
 *
 * @param extraBlobs blobs that the manifest does not reference, such as the data blob of a lazy image
 * @throws {NydusGdError} "unavailable" with the registry's response
 */
export async function pushImage(
  { host, repository, tag }: PushPlace,
  image: BuiltImage,
  extraBlobs: readonly PushableBlob[] = [],
): Promise<void> {
  const base = `http://${host}/v2/${repository}`;
  for (const blob of [...extraBlobs, ...image.layers, image.config]) await pushBlob(base, blob);
  await send("PUT", new URL(`${base}/manifests/${tag}`), image.manifest.bytes, image.manifest.mediaType);
}

async function pushBlob(base: string, { digest, bytes }: PushableBlob): Promise<void> {
  const started = await send("POST", new URL(`${base}/blobs/uploads/`));
  const location = new URL(started.headers.get("location") ?? "", base);
  location.searchParams.set("digest", digest);
  await send("PUT", location, bytes, "application/octet-stream");
}

async function send(method: string, url: URL, body?: Uint8Array<ArrayBuffer>, type?: string): Promise<Response> {
  const response = await fetch(url, {
    method,
    ...(type === undefined ? {} : { headers: { "content-type": type } }),
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  if (response.ok) return response;
  throw new NydusGdError("unavailable", `Cannot push to ${url.host}: ${response.status} ${text.trim().slice(0, 200)}`);
}
