/**
 * Implements `nydus-gd inspect`.
 *
 * @module
 */
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { findBootstrap } from "../../image/source/find_bootstrap.ts";
import { inspectFile } from "../../image/inspect/inspect_file.ts";
import { inspectImage } from "../../image/inspect/inspect_image.ts";
import { locateImage } from "../../image/source/locate_image.ts";
import { MappedBootstrap } from "../../image/mapped_bootstrap.ts";
import type { ActionContext, InspectArgs } from "../actions.ts";
import { fileLines, imageLines } from "../inspect_text.ts";
import { ImageAccess } from "./image_access.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Describes the image, or one of its paths. */
export async function inspect(args: InspectArgs, { signal, stdout }: ActionContext): Promise<void> {
  const { image: what, path, depth, blobDir, config, output } = args;
  using access = await ImageAccess.open(args.settings);
  await using scratch = await ScratchFolder.make();
  const located = await locateImage({ what, blobDir, config }, access.sources(scratch.path), signal);
  const { source, sourceName, manifest } = located;
  const { path: bootstrapPath, container } = await findBootstrap(source, `${scratch.path}/image.boot`, sourceName);
  const [facts, lines] = withHint(what, () => {
    using bootstrap = MappedBootstrap.open(bootstrapPath, { treeOnly: true });
    if (path !== undefined) {
      const file = inspectFile(bootstrap.tree, path, container);
      return [file, fileLines(file)] as const;
    }
    const image = inspectImage(bootstrap.tree, { manifest, container, depth });
    return [image, imageLines(image)] as const;
  });
  if (output === "json") stdout.write(`${JSON.stringify(facts)}\n`);
  else stdout.write(lines.map((line) => `${line}\n`).join(""));
}

/** Refers to `nydus-gd check` if the image is damaged. */
function withHint<T>(what: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (!hasCode(error, "invalid-image")) throw error;
    throw new NydusGdError(error.code, error.message, { hint: error.hint ?? `nydus-gd check ${what}`, cause: error });
  }
}
