/**
 * Parses and opens the source that a user names for a conversion.
 *
 * | named | is |
 * |---|---|
 * | `dir:DIR` | a whole file system |
 * | `tar:FILE` | the same as an archive, plain, gzip or zstd |
 * | `tar:FILE[:NAME]` | an image in an archive of images |
 * | `oci:DIR[:TAG]` | an image of a layout |
 * | `docker:NAME` | an image of a Docker daemon |
 * | anything else | an image of a registry |
 *
 * @module
 */
import { resolve } from "node:path";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import { formatPlatform, hostPlatform, matchesPlatform, type Platform } from "../../../oci/platform.ts";
import { parseReference } from "../../../oci/reference.ts";
import { isDaemonNamed } from "../../source/daemon_archive.ts";
import { counted } from "../../source/counted.ts";
import { streamFile } from "../../source/file_stream.ts";
import { namedFolder } from "../../source/folder_name.ts";
import { archivePath, isArchiveNamed, openImageArchive } from "../../source/image_archive.ts";
import { OciLayout } from "../../source/oci_layout.ts";
import type { SourceAccess } from "../../source/source_access.ts";
import { fromTar } from "../layer/build_layer.ts";
import { daemonImage, savedSource } from "./docker_source.ts";
import { fromFolder } from "./folder_entries.ts";
import { layoutContent, registryContent } from "./image_content.ts";
import { tarOfLayer } from "../../source/layer_tar.ts";
import { type SourceImage, sourceImages, type SourceLayer } from "./source_image.ts";

/**
 * Opens the images, one per platform.
 *
 * @param platform selects one, or sets that of a source without images; undefined: all, or this machine's
 * @throws {NydusGdError} "usage", "not-found", "unsupported", and errors of the registry or daemon
 */
export async function openSource(
  text: string,
  platform: Platform | undefined,
  access: SourceAccess,
  signal: AbortSignal,
): Promise<SourceImage[]> {
  const folder = namedFolder(text);
  if (folder !== undefined) return [treeImage(await folderLayer(folder), platform ?? hostPlatform())];
  if (isArchiveNamed(text)) return await openArchive(text, platform, access.folder, signal);
  if (isDaemonNamed(text)) return [requirePlatform(await daemonImage(text, access, signal), platform, text)];
  const content = OciLayout.isNamed(text)
    ? layoutContent(await OciLayout.open(text))
    : registryContent(parseReference(text), access.deps);
  return await sourceImages(content, platform, signal);
}

async function openArchive(
  text: string,
  platform: Platform | undefined,
  folder: string,
  signal: AbortSignal,
): Promise<SourceImage[]> {
  const images = await openImageArchive(text, folder, signal);
  if (images === undefined) return [treeImage(await archiveLayer(archivePath(text)), platform ?? hostPlatform())];
  const saved = await savedSource(images, signal);
  if (saved !== undefined) return [requirePlatform(saved, platform, text)];
  const layout = OciLayout.ofArchive(images.archive, images.name);
  return layout === undefined ? [] : await sourceImages(layoutContent(layout), platform, signal);
}

function requirePlatform(image: SourceImage, wanted: Platform | undefined, text: string): SourceImage {
  if (wanted === undefined || matchesPlatform(wanted, image.platform)) return image;
  const state = `it is for ${formatPlatform(image.platform)}, not for ${formatPlatform(wanted)}`;
  throw new NydusGdError("not-found", `Cannot convert ${text}: ${state}`, { hint: "leave out --platform" });
}

/** An image of a single layer, built from files alone. */
function treeImage(layer: SourceLayer, platform: Platform): SourceImage {
  const { os, architecture, variant } = platform;
  const config = { architecture, os, ...(variant === undefined ? {} : { variant }), config: {} };
  return { platform, config, layers: [layer], manifest: undefined };
}

async function folderLayer(path: string): Promise<SourceLayer> {
  if (path === "") throw new NydusGdError("usage", "Cannot convert dir:: the folder is missing", { hint: "dir:DIR" });
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
  throw new NydusGdError("usage", `Cannot convert ${path}: it is not a ${kind}`, {
    hint: kind === "folder" ? `tar:${path} for an archive` : `dir:${path} for a folder`,
  });
}
