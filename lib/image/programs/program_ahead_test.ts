import assert from "node:assert/strict";
import { QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { buildFrom } from "../../../tests/support/rafs/built_rafs.ts";
import { ELF_UNITS, elfFile } from "../../../tests/support/image/elf_file.ts";
import { dir, file, symlink, tarOf, type TestEntry } from "../../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import { toByteString } from "../../base/bytes.ts";
import { BlobCache } from "../../blob/blob_cache.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { OpenImage } from "../open_image.ts";
import type { BlobRange } from "../prefetch/read_coverage.ts";
import { ProgramAhead } from "./program_ahead.ts";
import { findFile } from "./find_file.ts";

/** The end of a library that is fetched with its head is one chunk. */
const UNIT = 16 * 1024;

const program = (path: string, options: Parameters<typeof elfFile>[0] = {}) =>
  file(path, toByteString(elfFile({ ...options, unit: UNIT })));

/** An image with programs, what was fetched for them, as `path +chunk`, and files to which reads were confined. */
async function withImage(
  entries: readonly TestEntry[],
  test: (
    image: { wait(path: string): Promise<void>; fetched: Fetched; confined: readonly string[]; ahead: ProgramAhead },
  ) => Promise<void>,
): Promise<void> {
  using temp = TempDir.make();
  const { bytes, blob, blobId } = await buildFrom(tarOf(...entries), { chunkSize: UNIT, batchSize: 0 });
  await Deno.writeFile(temp.join("image.boot"), bytes);
  await Deno.writeFile(temp.join(blobId), blob);
  await using cache = BlobCache.open(temp.join("cache"), QUIET);
  const backend = LocalFsBackend.inFolder(temp.path);
  await using image = OpenImage.open({
    name: "a",
    bootstrap: MappedBootstrap.open(temp.join("image.boot")),
    backend,
    cache,
  });
  const { tree, blobs } = image;
  const rangesOf = (path: string) => {
    const found = findFile(tree, path);
    assert.ok(found !== undefined, path);
    return tree.extents(found.ino, 0, found.size);
  };
  const fetched = new Fetched(entries.flatMap(({ entry: { type, name } }) => {
    const path = `/${toByteString(name)}`;
    return type === "file"
      ? rangesOf(path).map(({ blobOffset: offset, length }, k) => ({ offset, length, name: `${path} +${k}` }))
      : [];
  }));
  const confined: string[] = [];
  const watched = blobs.map((blob): Watched => ({
    open: (signal) => blob.open(signal),
    ensure: (...range) => blob.ensure(...range),
    confineNeighbours: (offset, length) => {
      confined.push(fetched.filesIn(offset, length).join());
      return Promise.resolve();
    },
  }));
  await using ahead = new ProgramAhead({
    tree,
    blobs: watched,
    isOn: () => true,
    onFetch: (range) => fetched.add(range),
  });
  const wait = async (path: string) => {
    const [{ blobIndex, blobOffset: offset, length }] = rangesOf(path) as [ReturnType<typeof rangesOf>[number]];
    ahead.noteWaiting({ blobIndex, offset, length });
    await blobs[blobIndex]?.ensure(offset, length, "on-demand");
  };
  await test({ wait, fetched, confined, ahead });
}

type Watched = ConstructorParameters<typeof ProgramAhead>[0]["blobs"][number];

/** A chunk in its blob, by the name of its file. */
interface NamedChunk {
  readonly offset: number;
  readonly length: number;
  readonly name: string;
}

class Fetched {
  readonly #chunks = new Set<string>();
  #changed = Promise.withResolvers<void>();

  constructor(private readonly chunks: readonly NamedChunk[]) {}

  add({ offset, length }: BlobRange): void {
    for (const chunk of this.#chunksIn(offset, length)) this.#chunks.add(chunk.name);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** The files whose chunks overlap a range of the blob. */
  filesIn(offset: number, length: number): string[] {
    return [...new Set(this.#chunksIn(offset, length).map(({ name }) => name.split(" ", 1).join()))];
  }

  #chunksIn(offset: number, length: number): NamedChunk[] {
    return this.chunks.filter((chunk) => chunk.offset < offset + length && offset < chunk.offset + chunk.length);
  }

  /** Resolves once that many ranges have been reported. */
  async atLeast(count: number): Promise<void> {
    while (this.#chunks.size < count) await this.#changed.promise;
  }

  /** Sorted. */
  get all(): string[] {
    return [...this.#chunks].sort();
  }
}

/** The fetched parts of a library: everything except its gaps. */
const partsOf = (path: string) => {
  const { relocations, code, data } = ELF_UNITS;
  return [0, relocations, code, data, data + 1].map((unit) => `${path} +${unit}`);
};

const IMAGE = [
  dir("bin"),
  dir("etc"),
  dir("usr"),
  dir("usr/lib"),
  dir("opt"),
  symlink("lib", "usr/lib"),
  program("bin/app", { interpreter: "/lib/ld.so", needed: ["liba.so.1", "libgone.so"], entry: true, machine: 1 }),
  program("usr/lib/ld.so", { machine: 2 }),
  program("usr/lib/liba.so.1.0", { needed: ["libb.so"], runpath: "/nowhere:/opt", machine: 3 }),
  symlink("usr/lib/liba.so.1", "liba.so.1.0"),
  program("opt/libb.so", { needed: ["liba.so.1"], machine: 4 }),
  program("usr/lib/libother.so", { machine: 5 }),
  file("bin/script", "#!/bin/app\n".padEnd(100)),
  file("etc/ld.so.cache", "glibc-ld.so.cache1.1".padEnd(100)),
];

Deno.test("a read of a program fetches its linker and libraries, through links and the folders it names", async () => {
  await withImage(IMAGE, async ({ wait, fetched, ahead }) => {
    await wait("/bin/app");
    const expected = ["/usr/lib/ld.so", "/usr/lib/liba.so.1.0", "/opt/libb.so"].flatMap(partsOf);
    // the head is the chunk that the reader waits for; it contains names and symbols
    expected.push(...partsOf("/bin/app"), "/etc/ld.so.cache +0");
    await fetched.atLeast(expected.length);
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(fetched.all, expected.sort(), "and nothing else");
  });
});

Deno.test("a read of a library fetches its own dependencies, once", async () => {
  await withImage(IMAGE, async ({ wait, fetched, ahead }) => {
    await wait("/opt/libb.so");
    await wait("/opt/libb.so");
    const expected = ["/opt/libb.so", "/usr/lib/liba.so.1.0"].flatMap(partsOf);
    await fetched.atLeast(expected.length);
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(fetched.all, expected.sort());
  });
});

Deno.test("the end of a library is fetched with its head, before it is known what is there", async () => {
  const longer = toByteString(elfFile({ unit: UNIT, machine: 2 })) + "a".repeat(UNIT);
  const image = [dir("lib"), program("app", { needed: ["liba.so"], machine: 1 }), file("lib/liba.so", longer)];
  await withImage(image, async ({ wait, fetched, ahead }) => {
    await wait("/app");
    const expected = [...partsOf("/app"), ...partsOf("/lib/liba.so"), `/lib/liba.so +${ELF_UNITS.end}`];
    await fetched.atLeast(expected.length);
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(fetched.all, expected.sort());
  });
});

Deno.test("reads of a library fetch no neighbours outside of it, those of a program and of its linker do", async () => {
  await withImage(IMAGE, async ({ wait, fetched, confined, ahead }) => {
    await wait("/bin/app");
    await fetched.atLeast(4 * partsOf("").length + 1);
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(confined, ["/usr/lib/liba.so.1.0", "/opt/libb.so"]);
  });
});

Deno.test("nothing is fetched for a file that is not a program", async () => {
  await withImage(IMAGE, async ({ wait, fetched, ahead }) => {
    await wait("/bin/script");
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(fetched.all, []);
  });
});

const COMMANDED = [
  ...IMAGE,
  dir("srv"),
  file("srv/start", "#! /bin/app -x\n".padEnd(UNIT) + "a".repeat(UNIT)),
  file("srv/main.conf", "b".repeat(UNIT) + "c".repeat(UNIT)),
  file("srv/other.conf", "d".repeat(UNIT)),
];

const APP = [
  ...["/bin/app", "/usr/lib/ld.so", "/usr/lib/liba.so.1.0", "/opt/libb.so"].flatMap(partsOf),
  "/etc/ld.so.cache +0",
];

for (
  const [about, argv, expected] of [
    ["a program of PATH", ["app"], APP],
    ["a program by its path", ["/bin/../bin/app"], APP],
    ["a program of a shell's command", ["sh", "-c", "cd / && exec 'app' -v"], APP],
    ["a file of the working directory", ["sh", "main.conf"], ["/srv/main.conf +0", "/srv/main.conf +1"]],
    ["a file of an option", ["sh", "--config=/srv/main.conf"], ["/srv/main.conf +0", "/srv/main.conf +1"]],
    ["a script, and its interpreter", ["./start"], [...APP, "/srv/start +0", "/srv/start +1"]],
    ["nothing that the image has", ["gone", "-x", "srv", "/", "", "../../etc"], []],
    ["no program", [], []],
  ] as const
) {
  Deno.test(`a command that names ${about} has what it reads first fetched`, async () => {
    await withImage(COMMANDED, async ({ fetched, ahead }) => {
      ahead.expect(() => Promise.resolve({ argv, path: "/usr/bin:/bin", workingDir: "/srv" }));
      await fetched.atLeast(expected.length);
      await ahead[Symbol.asyncDispose]();
      assert.deepEqual(fetched.all, [...expected].sort());
    });
  });
}

Deno.test("a command that cannot be read has nothing fetched", async () => {
  await withImage(COMMANDED, async ({ fetched, ahead }) => {
    ahead.expect(() => Promise.reject(new Error("no access")));
    ahead.expect(() => Promise.resolve(undefined));
    ahead.expect(() => undefined);
    await ahead[Symbol.asyncDispose]();
    assert.deepEqual(fetched.all, []);
  });
});
