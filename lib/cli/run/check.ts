/**
 * Implements `nydus-gd check`.
 *
 * @module
 */
import { openSource } from "../../image/against/open_source.ts";
import { checkImage, type CheckReport } from "../../image/check/check_image.ts";
import { locateImage, requireBackend } from "../../image/source/locate_image.ts";
import type { ActionContext, CheckArgs } from "../actions.ts";
import { checkLines } from "../check_text.ts";
import { EXIT } from "../failure.ts";
import { ProgressLine } from "../progress_line.ts";
import { ImageAccess } from "./image_access.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Checks an image and prints the findings. Returns 3 if there are any. */
export async function check(args: CheckArgs, { signal, stdout, stderr }: ActionContext): Promise<number> {
  const { image: what, blobDir, config, blobs, against, dockerHost, output } = args;
  using access = await ImageAccess.open(args.settings);
  await using scratch = await ScratchFolder.make();
  const sources = access.sources(scratch.path, dockerHost);
  const located = await locateImage({ what, blobDir, config }, sources, signal);
  if (blobs || against !== undefined) requireBackend(located, "check the blobs of");
  using progress = new ProgressLine(stderr, "read");
  let sourceBytes = 0;
  const source = against === undefined ? undefined : await openSource(
    against,
    sources,
    signal,
    (bytes) => progress.show(sourceBytes += bytes, 0),
  );
  const report = await checkImage({
    source: located.source,
    sourceName: located.sourceName,
    backend: located.backend,
    chunks: blobs,
    against: source,
    folder: scratch.path,
    signal,
    onProgress: (done, total) => progress.show(done, total),
  });
  progress[Symbol.dispose]();
  if (output === "json") stdout.write(`${JSON.stringify(documentOf(what, report))}\n`);
  else stdout.write(checkLines(report).map((line) => `${line}\n`).join(""));
  return report.count === 0 ? EXIT.done : EXIT.foundWrong;
}

/** Returns the document of `-o json`. */
function documentOf(image: string, { version, names, inodes, blobs, count, findings, remarks }: CheckReport): unknown {
  return {
    image,
    version: version ?? null,
    names,
    inodes,
    blobs: blobs.map(({ id, bytes, chunks, verifiedChunks }) => ({
      id,
      bytes: bytes ?? null,
      chunks,
      verified_chunks: verifiedChunks ?? null,
    })),
    finding_count: count,
    findings,
    remarks,
  };
}
