/**
 * Implements `nydus-gd convert`: maps flags to a conversion, and prints progress and result.
 *
 * @module
 */
import { join } from "node:path";
import { unlessAborted } from "../../base/abort.ts";
import { bytesText } from "../../base/byte_text.ts";
import { NydusGdError } from "../../base/errors.ts";
import {
  type ConvertedImage,
  type ConvertEvent,
  convertImage,
  type ConvertOptions,
} from "../../image/convert/convert_image.ts";
import type { ImageTarget } from "../../image/convert/target/image_target.ts";
import { LayerCache } from "../../image/convert/reuse/layer_cache.ts";
import { openDictionary } from "../../image/convert/source/open_dictionary.ts";
import { openSource } from "../../image/convert/source/open_source.ts";
import { openTarget } from "../../image/convert/target/open_target.ts";
import { PrefetchPatterns } from "../../image/convert/merge/prefetch_patterns.ts";
import { type RafsOptions, rafsOptions, RUN_OPTIONS } from "../../image/convert/format/rafs_options.ts";
import type { SourceImage } from "../../image/convert/source/source_image.ts";
import { SpoolFolder } from "../../image/convert/target/spool_folder.ts";
import { parsePlatform } from "../../oci/platform.ts";
import type { ActionContext, ConvertArgs, Output } from "../actions.ts";
import { oneLine } from "../output.ts";
import { ProgressLine } from "../progress_line.ts";
import { ImageAccess } from "./image_access.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Converts one image. */
export async function convert(args: ConvertArgs, { signal, stdout, stderr }: ActionContext): Promise<void> {
  const rafs = optionsOf(args);
  if (args.ociRef) requireReferable(args);
  const platform = args.platform === undefined ? undefined : parsePlatform(args.platform);
  const prefetch = args.prefetchPatterns === undefined
    ? undefined
    : await unlessAborted(readPatterns(args.prefetchPatterns), signal); // a pipe may stay silent
  const workDir = args.workDir ?? defaultWorkDir();
  using access = await ImageAccess.open(args.settings, { isPatient: true });
  await using scratch = await ScratchFolder.make();
  const sources = access.sources(scratch.path, args.dockerHost);
  const images = await openSource(args.source, platform, sources, signal);
  const { source, force } = args;
  if (args.ociRef) requireLayers(images, source);
  await using spool = new SpoolFolder(join(workDir, "partial"));
  const dictionary = args.chunkDict === undefined
    ? undefined
    : await openDictionary(args.chunkDict, rafs, sources, signal);
  const target = await openTarget(args.target, { deps: access.deps, spool, source, force });
  using progress = new ConvertProgress(stderr);
  const image = await convertTo(target, images, {
    rafs,
    dictionary,
    cache: new LayerCache(join(workDir, "layers")),
    prefetch,
    start: args.optimizeRun === undefined ? undefined : {
      command: args.optimizeRun,
      scratchDir: scratch.path,
      deadlineMs: access.settings.fetch.deadlineMs,
    },
    withOci: args.withOci,
    ociRef: args.ociRef,
    onEvent(event) {
      if (args.output === "text") progress.show(event);
    },
  }, signal);
  progress[Symbol.dispose]();
  if (args.output === "json") stdout.write(`${JSON.stringify(documentOf(image))}\n`);
  else stdout.write(resultLines(image).map((line) => `${oneLine(line)}\n`).join(""));
}

/** @throws {NydusGdError} "usage" for what an image that refers to other layers cannot have */
function requireReferable({ fsVersion, chunkDict }: ConvertArgs): void {
  const refuse = (option: string, state: string) =>
    new NydusGdError("usage", `Cannot convert with --oci-ref and ${option}: ${state}`);
  if (fsVersion === 5) throw refuse("--fs-version 5", "only RAFS v6 can refer to gzip layers");
  if (chunkDict !== undefined) throw refuse("--chunk-dict", "chunks stay in the original layers");
}

/** @throws {NydusGdError} "usage" for a source without a layer as a registry has it */
function requireLayers(images: readonly SourceImage[], source: string): void {
  if (images.some(({ layers }) => layers.some(({ stored }) => stored !== undefined))) return;
  throw new NydusGdError(
    "usage",
    `Cannot refer to the layers of ${source}: it does not have them as a registry would`,
    {
      hint: "push it and convert from there, or leave out --oci-ref",
    },
  );
}

/** Converts into `target`. A failure removes temporary data there; an interruption keeps it, to be resumed. */
async function convertTo(
  target: ImageTarget,
  images: readonly SourceImage[],
  options: Omit<ConvertOptions, "target">,
  signal: AbortSignal,
): Promise<ConvertedImage> {
  try {
    return await convertImage(images, { ...options, target }, signal);
  } catch (error) {
    await target.discard(signal.aborted);
    throw error;
  }
}

function optionsOf(args: ConvertArgs): RafsOptions {
  const { fsVersion, compressor, digester, level, chunkSize, batchSize, optimizeRun, chunkDict } = args;
  return rafsOptions({
    ...(optimizeRun !== undefined && chunkDict === undefined ? RUN_OPTIONS : {}), // a dictionary has its own chunk size
    ...{ fsVersion, compressor, digester },
    ...(level === undefined ? {} : { level }),
    ...(chunkSize === undefined ? {} : { chunkSize }),
    ...(batchSize === undefined ? {} : { batchSize }),
  });
}

async function readPatterns(path: string): Promise<PrefetchPatterns> {
  const text = path === "-" ? await new Response(Deno.stdin.readable).text() : await readText(path);
  return new PrefetchPatterns(text);
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NydusGdError("not-found", `Cannot read ${path}: there is no such file`, { cause: error });
  }
}

function defaultWorkDir(): string {
  const { XDG_CACHE_HOME, HOME } = Deno.env.toObject();
  const cache = XDG_CACHE_HOME || (HOME ? join(HOME, ".cache") : undefined);
  if (cache !== undefined) return join(cache, "nydus-gd");
  throw new NydusGdError("usage", "Cannot convert: HOME is not set, and no work folder is given", {
    hint: "--work-dir DIR",
  });
}

/** Prints one line per layer and platform, and the progress of a layer on a terminal. */
class ConvertProgress implements Disposable {
  #line: ProgressLine | undefined;
  #read = 0;
  #size = 0;

  constructor(private readonly output: Output) {}

  show(event: ConvertEvent): void {
    switch (event.event) {
      case "layer":
        this.#write(
          `${event.platform}  layer ${event.layer}${event.size === undefined ? "" : `, ${bytesText(event.size)}`}`,
        );
        this.#line = new ProgressLine(this.output, "read");
        this.#read = 0;
        this.#size = event.size ?? 0;
        return;
      case "read":
        this.#read += event.bytes;
        return this.#line?.show(this.#read, this.#size);
      case "converted": {
        const done = event.refers ? "indexed" : "converted";
        const why = event.unreferable === undefined ? "" : `, as ${event.unreferable}`;
        const how = event.reused ? "was there" : `${done}${why}`;
        return this.#write(`  ${how}: blob ${event.blob}, ${bytesText(event.blobBytes)}`);
      }
      case "merged":
        return this.#write(`${event.platform}  bootstrap of ${bytesText(event.bootstrapBytes)}`);
    }
  }

  [Symbol.dispose](): void {
    this.#line?.[Symbol.dispose]();
    this.#line = undefined;
  }

  #write(line: string): void {
    this[Symbol.dispose]();
    this.output.write(`${line.slice(0, line.length - line.trimStart().length)}${oneLine(line)}\n`);
  }
}

/** Returns the document of `-o json`. Sizes in bytes. */
function documentOf({ target, digest, platforms }: ConvertedImage): Record<string, unknown> {
  return {
    target,
    digest,
    platforms: platforms.map(({ platform, layers, start, bootstrapBytes }) => ({
      platform,
      bootstrap_bytes: bootstrapBytes,
      blobs: layers.map(({ digest, blobBytes, reused, refersTo }) => ({
        ...{ digest, size: blobBytes, reused },
        ...(refersTo === undefined ? {} : { refers_to: refersTo.digest }),
      })),
      ...(start === undefined ? {} : { start_blob: { digest: start.digest, size: start.blobBytes } }),
    })),
  };
}

/**
 * ```
 * oci:/srv/lazy:1 is sha256:2892…
 * linux/amd64  3 blobs, 161 MB, 2 of them were there; bootstrap 2.49 MB
 * linux/arm64  3 blobs, 5.4 MB, which refer to 149 MB of the original layers; bootstrap 2.49 MB
 * ```
 */
function resultLines({ target, digest, platforms }: ConvertedImage): string[] {
  return [
    `${target} is ${digest}`,
    ...platforms.map(({ platform, layers, start, bootstrapBytes }) => {
      const bytes = layers.reduce((sum, { blobBytes }) => sum + blobBytes, 0);
      const blobs = layers.length === 1 ? "1 blob" : `${layers.length} blobs`;
      const reused = layers.filter((layer) => layer.reused).length;
      const there = reused === 0 ? "" : `, ${reused} of them ${reused === 1 ? "was" : "were"} there`;
      const referred = layers.reduce((sum, { refersTo }) => sum + (refersTo?.size ?? 0), 0);
      const refer = referred === 0 ? "" : `, which refer to ${bytesText(referred)} of the original layers`;
      const first = start === undefined ? "" : `; what a start reads ${bytesText(start.blobBytes)}`;
      return `${platform}  ${blobs}, ${bytesText(bytes)}${there}${refer}${first}; bootstrap ${
        bytesText(bootstrapBytes)
      }`;
    }),
  ];
}
