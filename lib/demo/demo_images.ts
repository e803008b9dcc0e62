/**
 * The two images of the demonstration: one tree, once as an ordinary image and once as a lazy one.
 *
 * @module
 */
import { O, open } from "../../ffi/fcntl.ts";
import { writeAll } from "../../ffi/unistd.ts";
import { TarReader } from "../archive/tar_reader.ts";
import { bootstrapLayerTar, buildImage, type BuiltImage } from "../image/image_builder.ts";
import { RafsBuilder } from "../image/rafs_builder.ts";
import type { PushableBlob } from "./push_image.ts";

/** Both images, and the blob that the lazy one reads from. */
export interface DemoImages {
  readonly classic: BuiltImage;
  readonly lazy: BuiltImage;
  readonly blob: PushableBlob;
  /** Bytes of the tree as a tar. */
  readonly plainBytes: number;
}

/** Bytes of a chunk: what the smallest read fetches, before compression. */
const CHUNK_BYTES = 256 * 1024;

/** Builds both from one tar. */
export async function buildDemoImages(tarPath: string, blobPath: string): Promise<DemoImages> {
  const tar = await Deno.readFile(tarPath);
  const { bootstrap, blobId } = buildBlob(tar, blobPath);
  const architecture = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const config = { architecture, env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], cmd: ["bash"] };
  const [classic, lazy] = await Promise.all([
    buildImage([tar], config),
    buildImage([bootstrapLayerTar(bootstrap)], config),
  ]);
  const blob = { digest: `sha256:${blobId}`, bytes: await Deno.readFile(blobPath) };
  return { classic, lazy, blob, plainBytes: tar.length };
}

function buildBlob(tar: Uint8Array, blobPath: string): { bootstrap: Uint8Array; blobId: string } {
  using file = open(blobPath, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
  const builder = new RafsBuilder({ chunkSize: CHUNK_BYTES }, (bytes) => writeAll(file, bytes));
  const reader = new TarReader(builder);
  reader.push(tar);
  reader.finish();
  return builder.finish();
}
