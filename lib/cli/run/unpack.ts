/**
 * Implements `nydus-gd unpack`.
 *
 * @module
 */
import { bytesText } from "../../base/byte_text.ts";
import { NydusGdError } from "../../base/errors.ts";
import { cacheOptions } from "../../image/prefetch/fetch_plan.ts";
import { archivePath, isArchiveNamed } from "../../image/source/image_archive.ts";
import { locateImage, requireBackend } from "../../image/source/locate_image.ts";
import { FolderSink } from "../../image/unpack/folder_sink.ts";
import { TarFile, TarStream } from "../../image/unpack/tar_output.ts";
import { type TarOutput, TarSink } from "../../image/unpack/tar_sink.ts";
import type { TreeSink } from "../../image/unpack/tree_sink.ts";
import { unpackImage } from "../../image/unpack/unpack_image.ts";
import type { ActionContext, UnpackArgs } from "../actions.ts";
import { ProgressLine } from "../progress_line.ts";
import { ImageAccess } from "./image_access.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Unpacks an image. Writes only the tar to standard output if that is the target. */
export async function unpack(args: UnpackArgs, { signal, stdout, stderr }: ActionContext): Promise<void> {
  const { image: what, blobDir, config: configPath, target, cacheDir } = args;
  if (target === "-" && stdout.isTerminal) {
    throw new NydusGdError("usage", "Cannot unpack: a tar cannot be written to a terminal", {
      hint: "nydus-gd unpack IMAGE - > FILE, or name a folder",
    });
  }
  using access = await ImageAccess.open(args.settings);
  await using scratch = await ScratchFolder.make();
  const located = await locateImage({ what, blobDir, config: configPath }, access.sources(scratch.path), signal);
  const backend = requireBackend(located, "unpack");
  const { sink, folder, folderSetBy } = await openSink(target, scratch.path);
  using progress = new ProgressLine(stderr, "unpacked");
  const { names, bytes, leftOut } = await unpackImage({
    source: located.source,
    sourceName: located.sourceName,
    backend,
    sink,
    folder,
    cacheDir,
    fetching: {
      ...cacheOptions(access.settings, located.config),
      setBy: cacheDir === undefined ? folderSetBy : "--cache-dir",
    },
    signal,
    onProgress: (done, total) => progress.show(done, total),
  });
  progress[Symbol.dispose]();
  const summary = `unpacked ${names} names, ${bytesText(bytes)}\n`;
  if (target === "-") stderr.write(summary);
  else stdout.write(summary);
  for (
    const [count, text] of [
      [leftOut.xattrs, "extended attributes: the file system does not support them"],
      [leftOut.sockets, "sockets: a tar cannot hold them"],
    ] as const
  ) if (count > 0) stderr.write(`left out ${count} ${text}\n`);
}

/** A sink, and a folder for temporary data, on the target's disk if that is a folder. */
interface OpenedSink {
  readonly sink: TreeSink;
  readonly folder: string;
  /** What decides where the folder is, apart from the target. */
  readonly folderSetBy: string | undefined;
}

async function openSink(target: string, scratch: string): Promise<OpenedSink> {
  const tar = (output: TarOutput) => ({ sink: new TarSink(output), folder: scratch, folderSetBy: "TMPDIR" });
  if (target === "-") return tar(new TarStream(Deno.stdout));
  if (isArchiveNamed(target)) return tar(await TarFile.create(archivePath(target)));
  const sink = await FolderSink.open(target.replace(/^dir:/, ""));
  return { sink, folder: sink.staging, folderSetBy: undefined };
}
