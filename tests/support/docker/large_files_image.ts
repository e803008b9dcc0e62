/**
 * An image with busybox and files that are large enough to see in the traffic whether they were fetched, as an ordinary
 * and as a lazy one.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { buildFrom } from "../rafs/built_rafs.ts";
import type { CountedRegistry } from "./docker_stack.ts";
import { ImagePusher, type LazyImage } from "../image/nydus_images.ts";
import { RegistryClient } from "../backend/registry_client.ts";
import { dir, file, symlink, tarOf } from "../archive/tar_builder.ts";
import { knownBytes } from "../mount/verifying_reader.ts";

/** Names of the files in `/data`. */
const FILES = [1, 2, 3, 4];
/** Bytes of each file. */
const FILE_BYTES = 1 << 20;
/** Maximum bytes of a pull without the files: configuration, manifests, bootstrap. */
const METADATA_BYTES = 100_000;

/** The tree as an ordinary layer. */
export async function largeFilesLayer(): Promise<Uint8Array<ArrayBuffer>> {
  return tarOf(
    dir("bin"),
    file("bin/busybox", await Deno.readFile("/bin/busybox"), { mode: 0o755 }),
    ...["sh", "cat", "sleep", "sha256sum"].map((applet) => symlink(`bin/${applet}`, "busybox")),
    dir("data"),
    ...FILES.map((number) => file(`data/${number}`, contentOf(number))),
  );
}

/** The tree as bootstrap and blob. */
export async function largeFilesImage(): Promise<LazyImage> {
  const { bytes, blob } = await buildFrom(await largeFilesLayer(), { chunkSize: 64 * 1024 });
  return { bootstrap: bytes, blobs: [blob] };
}

/** Content of `/data/NUMBER`. */
export function contentOf(number: number): Uint8Array<ArrayBuffer> {
  return knownBytes(number, FILE_BYTES);
}

/** Output of `sha256sum` for these files. */
export function sumsOf(...numbers: readonly number[]): string {
  const sum = (number: number) => createHash("sha256").update(contentOf(number)).digest("hex");
  return numbers.map((number) => `${sum(number)}  /data/${number}`).join("\n");
}

/** Pushes into a repository of the registry. */
export function pusherInto(registry: CountedRegistry, repository: string): ImagePusher {
  return new ImagePusher(new RegistryClient(`http://${registry.host}`, repository));
}

/** Fails if a step gets more from the registry than the metadata of such an image. */
export async function fetchesMetadataOnly(registry: CountedRegistry, step: () => Promise<unknown>): Promise<void> {
  const bytes = await registry.bytesDuring(step);
  if (bytes > METADATA_BYTES) {
    throw new Error(`${bytes} bytes were fetched, the metadata are at most ${METADATA_BYTES}`);
  }
}
