/**
 * Parses and opens the target that a user names for a conversion: `oci:DIR[:TAG]`, `tar:FILE`, or an image reference.
 *
 * @module
 */
import { resolve } from "node:path";
import type { BackendDeps } from "../../../backend/open_backend.ts";
import { hasCode, ignore, NydusGdError } from "../../../base/errors.ts";
import { formatReference, parseReference, type Reference } from "../../../oci/reference.ts";
import { namedFolder } from "../../source/folder_name.ts";
import { archivePath, isArchiveNamed } from "../../source/image_archive.ts";
import { OciLayout } from "../../source/oci_layout.ts";
import { ArchiveTarget } from "./archive_target.ts";
import type { ImageTarget } from "./image_target.ts";
import { LayoutTarget } from "./layout_target.ts";
import { RegistryTarget } from "./registry_target.ts";
import type { SpoolFolder } from "./spool_folder.ts";

/** Options for opening a target. */
export interface TargetOptions {
  readonly deps: BackendDeps;
  /** For temporary files of blobs that go to a registry. */
  readonly spool: SpoolFolder;
  /** Name of the source, and whether the target may have the same name. */
  readonly source: string;
  readonly force: boolean;
}

/**
 * Opens the target.
 *
 * @throws {NydusGdError} "usage", "exists" for a folder with other contents or the source's own name
 */
export async function openTarget(text: string, options: TargetOptions): Promise<ImageTarget> {
  const isLayout = OciLayout.isNamed(text);
  const isFile = isLayout || isArchiveNamed(text);
  if (isFile ? /^...:$/.test(text) : /^(docker:|dir:|[a-z]+:[./])/.test(text)) {
    throw new NydusGdError("usage", `Cannot write ${text}: it is not a target`, {
      hint: "oci:DIR[:TAG], tar:FILE, or an image reference",
    });
  }
  if (!options.force && (isFile ? text === options.source : isSameName(text, options.source))) {
    throw new NydusGdError("exists", `Cannot write ${text}: it is the name of the source, which would be overwritten`, {
      hint: "choose another tag, or pass --force",
    });
  }
  if (isFile) requireOutside(text, options.source);
  if (isLayout) return await LayoutTarget.open(text);
  if (isArchiveNamed(text)) return await openArchive(archivePath(text), options.force);
  return new RegistryTarget(parseReference(text), options.deps, options.spool);
}

/** @throws {NydusGdError} "usage" for a target in the folder that is converted: it would grow while it is read */
function requireOutside(text: string, source: string): void {
  const converted = namedFolder(source);
  if (converted === undefined) return;
  const folder = resolve(converted);
  if (!resolve(text.slice(text.indexOf(":") + 1)).startsWith(folder === "/" ? folder : `${folder}/`)) return;
  throw new NydusGdError("usage", `Cannot write ${text}: it is in the folder that is converted`, {
    hint: "name a place outside of it",
  });
}

async function openArchive(path: string, force: boolean): Promise<ImageTarget> {
  const info = await ignore(Deno.errors.NotFound, Deno.stat(path));
  if (info?.isDirectory) {
    throw new NydusGdError("exists", `Cannot write tar:${path}: it is a folder`, {
      hint: `name a file in it, or oci:${path} for an OCI layout`,
    });
  }
  if (info !== undefined && !info.isFile) { // a device would be replaced by a file
    throw new NydusGdError("exists", `Cannot write tar:${path}: it is not a file`, { hint: "name a new file" });
  }
  if (info === undefined || force) return await ArchiveTarget.open(path);
  throw new NydusGdError("exists", `Cannot write tar:${path}: the file already exists`, {
    hint: "choose another name, or pass --force",
  });
}

/** Whether both name the same image. A daemon's image usually comes from the registry under the same name. */
function isSameName(text: string, source: string): boolean {
  const other = referenceOf(source.replace(/^docker:/, ""));
  return other !== undefined &&
    formatReference(parseReference(text)) === formatReference({ ...other, digest: undefined });
}

/** Undefined if it is not an image reference. */
function referenceOf(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (hasCode(error, "usage")) return undefined;
    throw error;
  }
}
