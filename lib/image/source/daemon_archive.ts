/**
 * Saves an image of a Docker daemon as an archive file, since the manifest at its end is needed before the layers.
 *
 * @module
 */
import { join } from "node:path";
import { NydusGdError } from "../../base/errors.ts";
import { ArchiveFile } from "./archive_file.ts";
import type { ImageArchive } from "./image_archive.ts";
import type { SourceAccess } from "./source_access.ts";
import { SpoolFile } from "./spool_file.ts";

const PREFIX = "docker:";

/** Whether `text` names an image of a daemon: `docker:NAME`. */
export function isDaemonNamed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/**
 * Asks the daemon to save an image.
 *
 * @param text `docker:NAME`, with a name or an ID
 * @throws {NydusGdError} "not-found", "unavailable", "io" if the disk is full
 */
export async function saveImage(
  text: string,
  { docker, folder }: Pick<SourceAccess, "docker" | "folder">,
  signal: AbortSignal,
): Promise<ImageArchive> {
  const name = text.slice(PREFIX.length);
  const engine = docker();
  if (name === "" || await engine.image(name, signal) === undefined) {
    throw new NydusGdError("not-found", `Cannot read ${text}: Docker has no such image`, { hint: "docker images" });
  }
  const path = join(folder, `${crypto.randomUUID()}.tar`);
  {
    using file = SpoolFile.create(path, `save image ${name}`);
    await engine.save(name, (piece) => file.write(piece), signal);
  }
  return { archive: await ArchiveFile.open(path, signal), name: undefined };
}
