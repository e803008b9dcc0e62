/**
 * Images out of the kernel's own cache: what only this data path has. The tests of all data paths run here as well.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fuseTest } from "../../support/fuse_mount_kit.ts";
import { type Probe, probe } from "../../support/fs_probe.ts";
import type { MountableSynthetic } from "../../support/mountable_synthetic.ts";
import { CHUNKS, readOf, SyntheticFile } from "../../support/mounted_synthetic.ts";
import { TestMounts } from "../../support/mounts_kit.ts";

const FS_DRIVER = "erofs-fscache";

/** Runs a program to its end. */
async function run(program: string, args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
}

/** A place, and an image of one file there. */
class Place implements AsyncDisposable {
  private constructor(readonly kit: TestMounts, private readonly synthetic: SyntheticFile) {}

  static async make({ packed = false, deadlineMs = 60_000 } = {}): Promise<Place> {
    const kit = await TestMounts.start(FS_DRIVER, true, deadlineMs);
    return new Place(kit, new SyntheticFile(kit.temp.path, packed));
  }

  get image(): MountableSynthetic {
    return this.synthetic.image;
  }

  /** A read of the start of each chunk, and what it has to give. */
  reads(path: string, chunks = Array.from({ length: CHUNKS }, (_, chunk) => chunk)): [Probe[], string[]] {
    return [chunks.map((chunk) => readOf(path, chunk)), chunks.map((chunk) => this.synthetic.expected(chunk))];
  }

  /** Reads that the kernel asked for. */
  get asked(): number {
    return this.kit.mounts.counters().misses;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kit.mounts[Symbol.asyncDispose]();
    this.synthetic[Symbol.dispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}

for (const packed of [false, true]) {
  const where = packed ? "packed chunks" : "chunks at blocks";

  fuseTest(`a failed fetch is EIO for its chunk, never zeros, and the next read tries again (${where})`, async () => {
    await using place = await Place.make({ packed });
    const { image, kit } = place;
    const bad = packed ? 4 : 3;
    image.beforeFetch = (chunk) => {
      if (chunk === bad) throw new Error("Cannot fetch chunk: registry is down");
    };
    const { path } = await kit.mounts.add(image.image, 1);
    const [reads, [third, ninth]] = place.reads(`${path}/file`, [3, 9]);
    assert.deepEqual(await probe([...reads, ...reads.slice(0, 1)]), ["ERR:EIO", ninth, "ERR:EIO"]);
    image.beforeFetch = () => {};
    assert.deepEqual(await probe(reads), [third, ninth]);
  });

  fuseTest(`what is cached is not asked for again, in another mount either (${where})`, async () => {
    await using place = await Place.make({ packed });
    const { image, kit } = place;
    const first = await kit.mounts.add(image.image, 1);
    const [reads, expected] = place.reads(`${first.path}/file`);
    assert.deepEqual(await probe(reads), expected);
    await first[Symbol.asyncDispose]();
    await first.released;
    const { asked } = place;
    image.beforeFetch = () => {
      throw new Error("Cannot fetch chunk: registry is down");
    };
    const second = await kit.mounts.add(image.image, 2);
    assert.deepEqual(await probe(reads), expected);
    assert.equal(second.path, first.path);
    assert.equal(place.asked, asked);
  });
}

fuseTest("images that share a blob share what is cached of it, whichever is unmounted", async () => {
  await using place = await Place.make();
  const { image, kit } = place;
  const first = await kit.mounts.add(image.image, 1);
  const second = await kit.mounts.add({ ...image.image, name: "second" }, 2);
  const [reads, expected] = place.reads(`${first.path}/file`, [1, 2]);
  assert.deepEqual(await probe(reads), expected);
  assert.deepEqual(await probe(place.reads(`${second.path}/file`, [1, 2])[0]), expected);
  assert.deepEqual(image.fetched, [1, 2]);
  await first[Symbol.asyncDispose]();
  await first.released;
  const [rest, content] = place.reads(`${second.path}/file`, [2, 12]);
  assert.deepEqual(await probe(rest), content);
});

fuseTest("a fetch that outlasts the deadline is EIO, and the next read tries again", async () => {
  await using place = await Place.make({ deadlineMs: 2_000 });
  const { image, kit } = place;
  image.beforeFetch = () => new Promise<never>(() => {});
  const { path } = await kit.mounts.add(image.image, 1);
  const [reads, expected] = place.reads(`${path}/file`, [1]);
  assert.deepEqual(await probe(reads), ["ERR:EIO"]);
  image.beforeFetch = () => {};
  assert.deepEqual(await probe(reads), expected);
});

for (const domain of ["shared", ""]) {
  fuseTest(`an image that is offered is mounted by mount(8) (domain "${domain}")`, async () => {
    await using place = await Place.make();
    const { image: { image }, kit } = place;
    const dir = kit.temp.join("by-hand"), fsid = "app-1";
    await Deno.mkdir(dir);
    await kit.mounts.offer({ image, number: 1, domain, fsid });
    const options = domain === "" ? `fsid=${fsid}` : `domain_id=${domain},fsid=${fsid}`;
    await run("mount", ["-t", "erofs", "none", "-o", options, dir]);
    try {
      const [reads, expected] = place.reads(`${dir}/file`, [0, 7]);
      assert.deepEqual(await probe(reads), expected);
      await assert.rejects(kit.mounts.offer({ image, number: 2, domain, fsid }), /has one$/);
    } finally {
      await run("umount", [dir]);
    }
    await kit.mounts.withdraw({ domain, fsid });
    await assert.rejects(run("mount", ["-t", "erofs", "none", "-o", options, dir]));
  });
}
