/**
 * What a user names as the source of a conversion.
 *
 * | named | is |
 * |---|---|
 * | `dir:DIR` | a whole file system |
 * | `tar:FILE` | the same as an archive, plain, gzip or zstd |
 * | `oci:DIR[:TAG]` | an image of a layout |
 * | anything else | an image of a registry |
 *
 * @module
 */
import { resolve } from "node:path";
import type { BackendDeps } from "../../backend/open_backend.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { hostPlatform, type Platform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { streamFile } from "../file_stream.ts";
import { OciLayout } from "../oci_layout.ts";
import { fromTar } from "./convert_tree.ts";
import { fromFolder } from "./folder_entries.ts";
import { layoutContent, registryContent } from "./image_content.ts";
import { tarOfLayer } from "./layer_tar.ts";
import { counted, type SourceImage, sourceImages, type SourceLayer } from "./source_image.ts";

/**
 * The images, one for each platform.
 *
 * @param platform one of them, or what a source without images is for; undefined: all, or this machine's
 * @throws {NydusGdError} "usage", "not-found", "unsupported", and what a registry answers
 */
export async function openSource(
  text: string,
  platform: Platform | undefined,
  deps: BackendDeps,
  signal: AbortSignal,
): Promise<SourceImage[]> {
  if (text.startsWith("dir:")) return [treeImage(await folderLayer(text.slice(4)), platform)];
  if (text.startsWith("tar:")) return [treeImage(await archiveLayer(text.slice(4)), platform)];
  const content = OciLayout.isNamed(text) ? await layoutContent(text) : registryContent(parseReference(text), deps);
  return await sourceImages(content, platform, signal);
}

/** An image of one layer, of which nothing but its files is known. */
function treeImage(layer: SourceLayer, platform = hostPlatform()): SourceImage {
  const { os, architecture, variant } = platform;
  const config = { architecture, os, ...(variant === undefined ? {} : { variant }), config: {} };
  return { platform, config, layers: [layer], manifest: undefined };
}

async function folderLayer(path: string): Promise<SourceLayer> {
  const folder = resolve(path);
  await requireKind(folder, "folder");
  return {
    what: `folder ${folder}`,
    diffId: undefined,
    size: undefined,
    hasWhiteouts: false,
    entries: (onBytes, signal) => fromFolder(folder, onBytes, signal),
  };
}

async function archiveLayer(path: string): Promise<SourceLayer> {
  const archive = resolve(path);
  const { size } = await requireKind(archive, "file");
  const what = `archive ${archive}`;
  return {
    what,
    diffId: undefined,
    size,
    hasWhiteouts: false,
    entries: (onBytes, signal) =>
      fromTar(
        tarOfLayer(counted(streamFile(archive, signal), onBytes), {
          what,
          doing: "convert",
          digest: undefined,
          diffId: undefined,
        }),
      ),
  };
}

async function requireKind(path: string, kind: "file" | "folder"): Promise<Deno.FileInfo> {
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
  if (info === undefined) throw new NydusGdError("not-found", `Cannot convert ${path}: there is no such ${kind}`);
  if (kind === "folder" ? info.isDirectory : info.isFile) return info;
  throw new NydusGdError("usage", `Cannot convert ${path}: it is no ${kind}`, {
    hint: kind === "folder" ? `tar:${path} for an archive` : `dir:${path} for a folder`,
  });
}
