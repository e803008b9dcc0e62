/**
 * The two images of the demonstration: the same tree as an ordinary image and as a lazy one.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { bootstrapLayerTar, buildImage, type BuiltImage } from "../image/build/image_builder.ts";
import { convertToFolder } from "../image/convert/convert_tree.ts";
import { fromTar } from "../image/convert/layer/build_layer.ts";
import { hostPlatform } from "../oci/platform.ts";
import type { PushableBlob } from "./push_image.ts";

/** How much of the archive is converted at a time. */
const PIECE_BYTES = 1 << 20;

/** Both images, and the data blob of the lazy one. */
export interface DemoImages {
  readonly classic: BuiltImage;
  readonly lazy: BuiltImage;
  readonly blob: PushableBlob;
  /** Bytes of the tree as a tar. */
  readonly plainBytes: number;
}

/**
 * Builds both images from one tar.
 *
 * @param blobDir directory to which the blob is written
 */
export async function buildDemoImages(tarPath: string, blobDir: string, signal: AbortSignal): Promise<DemoImages> {
  const tar = await Deno.readFile(tarPath);
  const { bootstrap, blobId } = await convertToFolder(fromTar(pieces(tar, signal)), blobDir);
  throwIfAborted(signal);
  const { architecture } = hostPlatform();
  const config = { architecture, env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], cmd: ["bash"] };
  const [classic, lazy] = await Promise.all([
    buildImage([tar], config),
    buildImage([bootstrapLayerTar(bootstrap)], config),
  ]);
  const blob = { digest: `sha256:${blobId}`, bytes: await Deno.readFile(`${blobDir}/${blobId}`) };
  return { classic, lazy, blob, plainBytes: tar.length };
}

/** Cuts the archive into pieces, between which its conversion can be interrupted. */
function* pieces(tar: Uint8Array, signal: AbortSignal): Generator<Uint8Array> {
  for (let at = 0; at < tar.length; at += PIECE_BYTES) {
    throwIfAborted(signal);
    yield tar.subarray(at, at + PIECE_BYTES);
  }
}
