/**
 * What a user names as the target of a conversion: `oci:DIR[:TAG]`, or an image of a registry.
 *
 * @module
 */
import type { BackendDeps } from "../../backend/open_backend.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { formatReference, parseReference, type Reference } from "../../oci/reference.ts";
import { OciLayout } from "../oci_layout.ts";
import type { ImageTarget } from "./image_target.ts";
import { LayoutTarget } from "./layout_target.ts";
import { RegistryTarget } from "./registry_target.ts";

/** What decides where the image goes. */
export interface TargetOptions {
  readonly deps: BackendDeps;
  /** Folder for blobs on their way. */
  readonly spoolDir: string;
  /** What the source was named, and whether its own name may be taken from it. */
  readonly source: string;
  readonly force: boolean;
}

/**
 * Opens the target.
 *
 * @throws {NydusGdError} "usage", "exists" for a folder of something else or the source's own name
 */
export async function openTarget(text: string, options: TargetOptions): Promise<ImageTarget> {
  const isLayout = OciLayout.isNamed(text);
  if (!options.force && (isLayout ? text === options.source : isSameName(text, options.source))) {
    throw new NydusGdError("exists", `Cannot write ${text}: it is the name of the source, which would lose it`, {
      hint: "another tag, or --force",
    });
  }
  if (isLayout) return await LayoutTarget.open(text);
  if (/^[a-z]+:[./]/.test(text)) {
    throw new NydusGdError("usage", `Cannot write ${text}: it is no target`, {
      hint: "oci:DIR[:TAG], or an image reference",
    });
  }
  return new RegistryTarget(parseReference(text), options.deps, options.spoolDir);
}

function isSameName(text: string, source: string): boolean {
  const other = referenceOf(source);
  return other !== undefined &&
    formatReference(parseReference(text)) === formatReference({ ...other, digest: undefined });
}

/** Undefined for what names no image of a registry. */
function referenceOf(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (hasCode(error, "usage")) return undefined;
    throw error;
  }
}
