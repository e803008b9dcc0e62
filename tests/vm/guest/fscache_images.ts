/**
 * Images in the kernel's own cache: behaviour specific to this data path. The tests common to all data paths run here,
 * too.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mountAt } from "../../../ffi/mountinfo.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../../support/mount/mount_points.ts";
import { CHUNK, CHUNKS } from "../../support/mount/mounted_synthetic.ts";
import { FscachePlace } from "./fscache_place.ts";
import { runProgram } from "./run_program.ts";

/** Twice the limit for fetching a chunk from a backend that never answers. */
const DEADLINE_MS = 20_000;
/** Error of mount(8) if the kernel was refused the image: EIO, or ENOBUFS if it knew before it tried to read. */
const NO_SUCH_IMAGE = /can't read superblock|No buffer space available/;

fuseTest("the kernel's own cache", async (t) => {
  await using place = await FscachePlace.make({ deadlineMs: DEADLINE_MS });
  const { kit: { mounts, temp } } = place;

  for (const packed of [false, true]) {
    const where = packed ? "packed chunks" : "chunks at blocks";

    await t.step(
      `a failed fetch is EIO for its chunk, never zeros, and the next read retries (${where})`,
      async () => {
        await using image = place.image(packed);
        const bad = packed ? 4 : 3;
        image.store.beforeFetch = (chunk) => {
          if (chunk === bad) throw new Error("Cannot fetch chunk: registry is down");
        };
        const path = await image.mount();
        const [third, ninth] = image.expected([3, 9]);
        assert.deepEqual(await place.read(path, [3, 9, 3]), ["ERR:EIO", ninth, "ERR:EIO"]);
        image.store.beforeFetch = () => {};
        assert.deepEqual(await place.read(path, [3, 9]), [third, ninth]);
      },
    );

    await t.step(`cached data is not requested again, not even by another mount (${where})`, async () => {
      await using image = place.image(packed);
      const path = await image.mount();
      assert.deepEqual(await place.read(path), image.expected());
      await image.unmount();
      const { asked } = place;
      image.store.beforeFetch = () => {
        throw new Error("Cannot fetch chunk: registry is down");
      };
      assert.equal(await image.mount(), path);
      assert.deepEqual(await place.read(path), image.expected());
      assert.equal(place.asked, asked);
    });
  }

  await t.step("an image is named by the digest of its EROFS file", async () => {
    await using image = place.image();
    const path = await image.mount(), dir = temp.join("state/fscache");
    const [{ name = "" } = {}, ...others] = [...Deno.readDirSync(dir)];
    assert.deepEqual(others, []);
    const digest = createHash("sha256").update(await Deno.readFile(`${dir}/${name}`)).digest("hex");
    assert.equal(name, digest);
    const options = mountAt(path.slice(0, path.lastIndexOf("/")))?.superOptions.split(",") ?? [];
    const told = options.filter((option) => /^(fsid|domain_id)=/.test(option)).sort();
    if (told.length > 0) assert.deepEqual(told, ["domain_id=nydus-gd", `fsid=${digest}`]); // old kernels omit it
  });

  await t.step("images that share a blob share its cached data, whichever is unmounted", async () => {
    await using image = place.image();
    const first = await image.mount(), second = await image.mount("second");
    assert.deepEqual(await place.read(first, [1, 2]), image.expected([1, 2]));
    assert.deepEqual(await place.read(second, [1, 2]), image.expected([1, 2]));
    assert.deepEqual(image.store.fetched, [1, 2]);
    await image.unmount();
    assert.deepEqual(await place.read(second, [2, 12]), image.expected([2, 12]));
  });

  await t.step("a fetch that exceeds the deadline is EIO, and the next read retries", async () => {
    await using image = place.image();
    image.store.beforeFetch = () => new Promise<never>(() => {});
    const path = await image.mount();
    assert.deepEqual(await place.read(path, [1]), ["ERR:EIO"]);
    image.store.beforeFetch = () => {};
    assert.deepEqual(await place.read(path, [1]), image.expected([1]));
  });

  await t.step("an image whose blob cannot be opened is not mounted", async () => {
    await using image = place.image();
    const before = mountPointsBelow(temp.path);
    image.store.open = () => Promise.reject(new Error("Cannot open blob: registry is down"));
    await assert.rejects(image.mount(), /registry is down/);
    assert.deepEqual(mountPointsBelow(temp.path), before);
  });

  await t.step("emptying the cache removes what no mount uses, which is then requested again", async () => {
    await mounts.emptyKernelCache();
    await using image = place.image();
    await using used = place.image();
    assert.deepEqual(await place.read(await image.mount()), image.expected());
    const path = await used.mount();
    assert.deepEqual(await place.read(path), used.expected());
    await image.unmount();
    let freed = 0;
    while (freed < CHUNKS * CHUNK) freed += await mounts.emptyKernelCache() ?? 0; // files get names after the unmount
    await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
    const before = place.asked;
    assert.deepEqual(await place.read(path), used.expected());
    assert.equal(place.asked, before);
    assert.deepEqual(await place.read(await image.mount()), image.expected());
    assert.ok(place.asked > before);
  });

  for (const domain of ["shared", ""]) {
    await t.step(`only offered images are mounted by mount(8) (domain "${domain}")`, async () => {
      await using image = place.image();
      const dir = temp.join(`by-hand-${domain}`), fsid = "app-1";
      await Deno.mkdir(dir);
      const options = domain === "" ? `fsid=${fsid}` : `domain_id=${domain},fsid=${fsid}`;
      const byHand = () => runProgram("mount", "-t", "erofs", "none", "-o", options, dir);
      await assert.rejects(byHand(), NO_SUCH_IMAGE);
      await mounts.offer({ image: image.store.image, number: 100, domain, fsid });
      await byHand();
      try {
        assert.deepEqual(await place.read(`${dir}/file`, [0, 7]), image.expected([0, 7]));
        const again = mounts.offer({ image: image.store.image, number: 101, domain, fsid });
        await assert.rejects(again, /has one$/);
      } finally {
        await runProgram("umount", dir);
      }
      await mounts.withdraw({ domain, fsid });
      await assert.rejects(byHand(), NO_SUCH_IMAGE);
    });
  }
});
