/**
 * `nydus-gd convert`: converts an ordinary image, an archive or a folder to a lazy image.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { bytes } from "../../base/setting_values.ts";
import { type ConvertArgs, WRITTEN_COMPRESSORS } from "../actions.ts";
import { examples, type Run } from "../command.ts";

/** Creates the command, which passes its arguments to `run`. */
export function convertCommand(run: Run<ConvertArgs>): CommandUnknownOpts {
  return new Command("convert")
    .description(
      "Make a lazy image. Docker pulls the first entry of its index, which is a few hundred kilobytes; " +
        "the second lists the data blobs, so that registries keep them.",
    )
    .argument("<source>", "image reference, docker:NAME, oci:DIR[:TAG], tar:FILE (of images or of files), dir:DIR")
    .argument("<target>", "image reference, oci:DIR[:TAG], tar:FILE")
    .option("--platform <platform>", "OS/ARCH[/VARIANT] in place of all that the source has")
    .addOption(
      new Option("--fs-version <version>", "RAFS version: 6 is EROFS, 5 for old tools").choices(["5", "6"] as const)
        .default("6" as const),
    )
    .addOption(new Option("--compressor <name>", "of chunks").choices(WRITTEN_COMPRESSORS).default("zstd" as const))
    .option("--level <number>", "of zstd, 1 to 22; 3 unless given", wholeNumber)
    .addOption(
      new Option("--digester <name>", "of chunks").choices(["sha256", "blake3"] as const).default("sha256" as const),
    )
    .option("--chunk-size <size>", "a power of two from 4KiB to 16MiB; 512KiB unless given", size)
    .option(
      "--batch-size <size>",
      "small files are compressed together up to this, 64KiB unless given; 0: each by itself",
      size,
    )
    .option("--chunk-dict <image>", "refer to the chunks of this nydus image in place of storing them again")
    .option("--prefetch-patterns <file>", "paths that are fetched first, one a line, * and ** and ? in them; -: stdin")
    .option(
      "--optimize-run <command>",
      "run it once in the image, without network, and store what it reads once more, in that order: it comes first, " +
        "in few requests",
    )
    .option(
      "--with-oci",
      "keep the ordinary image, and what refers to it (signatures, attestations), as first entry: " +
        "plain clients get it and load all of it",
      false,
    )
    .option("--force", "replace the very name that the source has, or a file", false)
    .option("--docker-host <host>", "unix:// socket of the Docker that docker: means, in place of DOCKER_HOST")
    .option(
      "--work-dir <dir>",
      "for data on their way and records of what was converted, in place of ~/.cache/nydus-gd",
    )
    .addOption(
      new Option("-o, --output <format>", "text, or one JSON document").choices(["text", "json"] as const)
        .default("text" as const),
    )
    .addHelpText(
      "after",
      examples(
        "nydus-gd convert registry.example/app:1 registry.example/app:1-lazy",
        "nydus-gd convert --platform linux/arm64 oci:./layout:1 oci:./lazy:1",
        "nydus-gd convert --optimize-run 'python3 app.py --help' registry.example/app:1 registry.example/app:1-lazy",
        "nydus-gd convert docker:app:1 registry.example/app:1-lazy",
        "nydus-gd convert dir:/srv/rootfs tar:lazy.tar",
      ),
    )
    .action((source, target, { fsVersion, level, chunkSize, batchSize, ...options }) =>
      run({
        source,
        target,
        ...options,
        fsVersion: fsVersion === "5" ? 5 : 6,
        ...(level === undefined ? {} : { level }),
        ...(chunkSize === undefined ? {} : { chunkSize }),
        ...(batchSize === undefined ? {} : { batchSize }),
      })
    );
}

function wholeNumber(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is no number.");
}

function size(text: string): number {
  const result = bytes(text);
  if (result.ok) return result.value;
  throw new InvalidArgumentError("It is no size such as 256KiB.");
}
