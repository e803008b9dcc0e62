/**
 * `nydus-gd convert`: converts an ordinary image, an archive or a folder to a lazy image.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { bytes } from "../../base/setting_values.ts";
import { type ConvertArgs, WRITTEN_COMPRESSORS } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";
import { INSTALLATION, settingsFile } from "../installation.ts";

const DESCRIPTION =
  "Convert an image into a lazy one. Docker pulls the first entry of its index, which is metadata only; " +
  "the second lists the data blobs, so that registries keep them.";

const EXAMPLES = examples(
  "nydus-gd convert registry.example/app:1 registry.example/app:1-lazy",
  "nydus-gd convert --platform linux/arm64 oci:./layout:1 oci:./lazy:1",
  "nydus-gd convert --optimize-run 'app --help' docker:app:1 oci:./lazy:1",
  "nydus-gd convert docker:app:1 registry.example/app:1-lazy",
  "nydus-gd convert dir:/srv/rootfs tar:lazy.tar",
);

const OPTIMIZE_RUN =
  "run it once in the image, without network, and store what it reads a second time, in that order: " +
  "a start fetches it first, in few requests";

const WITH_OCI = "keep the ordinary image and its referrers (signatures, attestations) as the first entry: " +
  "clients without lazy loading pull it whole";

const OCI_REF = "store no data again: the lazy image reads the gzip layers of the ordinary one, which must stay; " +
  "only what is needed to find files in them is stored";

/** Creates the command, which passes its arguments to `run`. */
export function convertCommand(run: Run<ConvertArgs>): CommandUnknownOpts {
  const command = new Command("convert")
    .summary("Make a lazy image of an ordinary one")
    .description(DESCRIPTION)
    .argument("<source>", "image reference, docker:NAME, oci:DIR[:TAG], tar:FILE[:NAME] (of images or files), dir:DIR")
    .argument("<target>", "image reference, oci:DIR[:TAG], tar:FILE")
    .option("--platform <platform>", "only OS/ARCH[/VARIANT] or ARCH, instead of all platforms of the source")
    .addOption(
      new Option("--fs-version <version>", "RAFS version: 6 is EROFS, 5 for old tools").choices(["5", "6"] as const)
        .default("6" as const),
    )
    .addOption(new Option("--compressor <name>", "for chunks").choices(WRITTEN_COMPRESSORS).default("zstd" as const))
    .option("--level <number>", "zstd level, 1 to 22 (default 3)", wholeNumber)
    .addOption(
      new Option("--digester <name>", "for chunks").choices(["blake3", "sha256"] as const).default("blake3" as const),
    )
    .option(
      "--chunk-size <size>",
      "a power of two from 4KiB to 16MiB (default 512KiB, with --optimize-run 128KiB)",
      size,
    )
    .option(
      "--batch-size <size>",
      "compress small files together up to this size (default 64KiB); 0 compresses each on its own, as nydusd before " +
        "2.3 needs it",
      size,
    )
    .option("--oci-ref", OCI_REF, false)
    .option("--chunk-dict <image>", "reference the chunks of this nydus image instead of storing them again")
    .option(
      "--prefetch-patterns <file>",
      "file of paths to prefetch first, one per line, with *, ** and ? as wildcards; - for stdin",
    )
    .option("--optimize-run <command>", OPTIMIZE_RUN)
    .option("--with-oci", WITH_OCI, false)
    .option("--force", "overwrite the source's own name, or an existing file", false)
    .option(...INSTALLATION.dockerHost)
    .option(
      "--work-dir <dir>",
      "folder for temporary data and records of converted layers, instead of ~/.cache/nydus-gd",
    )
    .option(...INSTALLATION.settings)
    .addOption(outputOption())
    .addHelpText("after", EXAMPLES);
  command.action((source, target, { fsVersion, level, chunkSize, batchSize, ...options }) =>
    run({
      source,
      target,
      ...options,
      ...settingsFile(command, options),
      fsVersion: fsVersion === "5" ? 5 : 6,
      ...(level === undefined ? {} : { level }),
      ...(chunkSize === undefined ? {} : { chunkSize }),
      ...(batchSize === undefined ? {} : { batchSize }),
    })
  );
  return command;
}

function wholeNumber(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a number.");
}

function size(text: string): number {
  const result = bytes(text);
  if (result.ok) return result.value;
  throw new InvalidArgumentError("It is not a size such as 256KiB.");
}
