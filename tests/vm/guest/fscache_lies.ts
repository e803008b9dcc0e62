/**
 * Images that lie about another image's blob, with digests of their own and a backend that has matching bytes: the
 * kernel keeps what it was given, but no other image may show it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { LocalFsBackend } from "../../../lib/backend/localfs.ts";
import { fromByteString, toByteString } from "../../../lib/base/bytes.ts";
import { BlobCache } from "../../../lib/blob/blob_cache.ts";
import { MappedBootstrap } from "../../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../../lib/image/open_image.ts";
import type { RafsOptions } from "../../../lib/image/convert/format/rafs_options.ts";
import { buildFrom, type BuiltRafs } from "../../support/rafs/built_rafs.ts";
import { Prober } from "../../support/mount/fs_probe.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { TestMounts } from "../../support/mount/mounts_kit.ts";
import { file, tarOf } from "../../support/archive/tar_builder.ts";
import { knownBytes } from "../../support/mount/verifying_reader.ts";
import { runProgram } from "./run_program.ts";

const FILE_BYTES = 256 << 10;
const READS_TIMEOUT_MS = 60_000;

/** An image on disk: its bootstrap, and a backend with its bytes under the claimed id. */
interface Published {
  readonly name: string;
  readonly bootstrapPath: string;
  readonly home: string;
  readonly content: Uint8Array;
}

/** Publishes and mounts images. */
class Lies implements AsyncDisposable {
  readonly #prober = new Prober();

  private constructor(readonly kit: TestMounts) {}

  static async make(): Promise<Lies> {
    return new Lies(await TestMounts.start("erofs-fscache", true));
  }

  /** Publishes an image that claims that its blob is the one of `victim`; by default its own. */
  async publish(name: string, content: Uint8Array, options: Partial<RafsOptions>, victim?: BuiltRafs) {
    const { temp } = this.kit;
    const image = await buildFrom(tarOf(file("file", content)), {
      chunkSize: 64 << 10,
      compressor: "none",
      ...options,
    });
    const { blobId } = victim ?? image;
    const bytes = fromByteString(toByteString(image.bytes).replaceAll(image.blobId, blobId));
    const bootstrapPath = temp.join(`${name}.boot`), home = temp.join(`${name}.home`);
    await Deno.mkdir(home);
    await Deno.writeFile(bootstrapPath, bytes);
    await Deno.writeFile(`${home}/${blobId}`, image.blob);
    return { image, published: { name, bootstrapPath, home, content } };
  }

  /** Opens an image with a fresh cache, which is closed after `use`. */
  async open(
    { name, bootstrapPath, home }: Published,
    use: (image: OpenImage) => Promise<void>,
  ): Promise<{ readonly fetched: number; readonly asked: number }> {
    const { temp, mounts } = this.kit;
    const before = mounts.counters().misses;
    await using cache = BlobCache.open(temp.join("cache"), { decodeWorkers: 0 });
    const backend = LocalFsBackend.inFolder(home);
    await using image = OpenImage.open({ name, bootstrap: MappedBootstrap.open(bootstrapPath), backend, cache });
    await use(image);
    return { fetched: cache.stats().bytesFetched, asked: mounts.counters().misses - before };
  }

  /** Fails unless the mounted image shows its own file. */
  show(published: Published) {
    return this.open(published, async (image) => {
      const mount = await this.kit.mounts.add(image, 1);
      try {
        await this.assertShown(`${mount.path}/file`, published);
      } finally {
        await mount[Symbol.asyncDispose]();
        await mount.released;
      }
    });
  }

  async assertShown(path: string, { name, content }: Published): Promise<void> {
    const [shown] = await this.#prober.probe([{ op: "read", path, offset: 0, length: FILE_BYTES }], READS_TIMEOUT_MS);
    assert.equal(shown === content.toHex(), true, `${name} shows its own bytes`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prober[Symbol.asyncDispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}

fuseTest("images with false descriptions of a blob do not affect others in the kernel's cache", async (t) => {
  await using lies = await Lies.make();
  const kinds: Record<string, Partial<RafsOptions>> = { "chunks at blocks": {}, "RAFS v5": { fsVersion: 5 } };
  let seed = 0;
  for (const [kind, options] of Object.entries(kinds)) {
    const name = `v${options.fsVersion ?? 6}`;
    const { image, published: honest } = await lies.publish(`honest-${name}`, knownBytes(seed++, FILE_BYTES), options);
    const liar = await lies.publish(`liar-${name}`, knownBytes(seed++, FILE_BYTES), options, image);

    await t.step(`data of a falsely described image is never used for an honest one (${kind})`, async () => {
      for (const one of [liar.published, honest, liar.published, honest]) await lies.show(one);
    });

    await t.step(`data cached for an honest image is there after a restart (${kind})`, async () => {
      assert.deepEqual(await lies.show(honest), { fetched: 0, asked: 0 });
    });
  }

  await t.step("a name that is offered again shows the image offered last", async () => {
    const dir = lies.kit.temp.join("by-hand");
    await Deno.mkdir(dir);
    const name = { domain: "shared", fsid: "app" };
    const publish = async (index: string) =>
      (await lies.publish(`offered-${index}`, knownBytes(seed++, FILE_BYTES), {})).published;
    const first = await publish("first"), second = await publish("second");
    for (const one of [first, second, first]) {
      await lies.open(one, async (image) => {
        await lies.kit.mounts.offer({ image, number: 2, ...name });
        await runProgram("mount", "-t", "erofs", "none", "-o", `domain_id=${name.domain},fsid=${name.fsid}`, dir);
        try {
          await lies.assertShown(`${dir}/file`, one);
        } finally {
          await runProgram("umount", dir);
        }
        await lies.kit.mounts.withdraw(name);
      });
    }
  });
});
