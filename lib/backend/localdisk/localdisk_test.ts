import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, OpenedBackend, refuses } from "../../../tests/support/backend/backend_world.ts";
import {
  BASIC_DATA,
  type DiskLayout,
  gptImage,
  type NewPartition,
  partitionOfBlob,
} from "../../../tests/support/backend/gpt_image.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import type { BlobSource } from "../blob_source.ts";

const ID = "50ad3c8243e0a08ecdebde0ef8afcc6f2abca44498ad15491acbe58c83acb66f";
const LEGACY_ID = "be7d77eeb719f70884758d1aa800ed0fb09d701aaec469964e9d54325f0d5fef";
const DATA = distinctBytes(8192);
const LEGACY_DATA = distinctBytes(5000).reverse();
const PARTITIONS: readonly NewPartition[] = [
  { name: "", guid: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", type: BASIC_DATA, firstLba: 80, lastLba: 81 },
  { ...partitionOfBlob(ID), firstLba: 100, lastLba: 115, data: DATA },
  {
    name: LEGACY_ID.slice(0, 32),
    guid: "00000000-0000-0000-0000-000000000001",
    type: BASIC_DATA,
    firstLba: 200,
    lastLba: 215,
    data: LEGACY_DATA,
  },
];
const LAYOUT: DiskLayout = { sectors: 1024, partitions: PARTITIONS };

interface World {
  readonly path: string;
  blob(id?: string): BlobSource;
}

/** @param spoil modifies the image before it is written */
async function withDisk(
  layout: Partial<DiskLayout>,
  spoil: (disk: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
  test: (world: World) => Promise<void>,
): Promise<void> {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  const path = temp.join("disk.img");
  await Deno.writeFile(path, spoil(gptImage({ ...LAYOUT, ...layout })));
  using opened = OpenedBackend.open("localdisk", { device_path: path });
  await test({ path, blob: (id = ID) => opened.backend.blob(id) });
}

const whole = (disk: Uint8Array<ArrayBuffer>) => disk;

/** Corrupts one byte at each of these offsets. */
function flipped(...places: readonly number[]): (disk: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> {
  return (disk) => {
    for (const at of places) disk[at] = (disk[at] ?? 0) ^ 0x10;
    return disk;
  };
}

/** Offsets of one byte in each table of the disk. */
const AT = { header: 512 + 24, entries: 1024 + 130, backup: 1023 * 512 + 24, backupEntries: (1023 - 32) * 512 + 130 };

Deno.test("a blob is the partition whose name and GUID form its id", () =>
  withDisk({}, whole, async ({ blob }) => {
    assert.equal(await blob().size(), DATA.length);
    assert.deepEqual(await blob().read(0, DATA.length, ON_DEMAND), DATA);
    assert.deepEqual(await blob().read(700, 33, ON_DEMAND), DATA.slice(700, 733));
    assert.equal((await blob().read(8192, 0, ON_DEMAND)).length, 0);
  }));

Deno.test("older images use the basic data partition named after the first half of the id", () =>
  withDisk({}, whole, async ({ blob }) => {
    assert.deepEqual(await blob(LEGACY_ID).read(0, 5000, ON_DEMAND), LEGACY_DATA);
    assert.equal(await blob(LEGACY_ID).size(), 8192);
    await refuses(blob(ID.slice(0, 32)).size(), "not-found", /has no partition for it$/);
    await refuses(blob("0".repeat(64)).read(0, 1, ON_DEMAND), "not-found");
  }));

Deno.test("concurrent reads of several blobs do not interfere", () =>
  withDisk({}, whole, async ({ blob }) => {
    const one = blob();
    const reads = Array.from({ length: 20 }, (_, i) => [
      one.read(i * 100, 100, ON_DEMAND).then((bytes) => assert.deepEqual(bytes, DATA.slice(i * 100, i * 100 + 100))),
      blob(LEGACY_ID).read(i, 9, ON_DEMAND).then((bytes) => assert.deepEqual(bytes, LEGACY_DATA.slice(i, i + 9))),
    ]);
    await Promise.all(reads.flat());
  }));

Deno.test("a disk with sectors of 4096 bytes is read with its own sector size", () =>
  withDisk(
    { sectorSize: 4096, sectors: 64, partitions: [{ ...partitionOfBlob(ID), firstLba: 20, lastLba: 21, data: DATA }] },
    whole,
    async ({ blob }) => assert.deepEqual(await blob().read(0, 8192, ON_DEMAND), DATA),
  ));

for (const [name, spoil] of [["header", flipped(AT.header)], ["entries", flipped(AT.entries)]] as const) {
  Deno.test(`with a damaged primary ${name} the backup at the end of the disk is used`, () =>
    withDisk(
      {},
      spoil,
      async ({ blob }) => assert.deepEqual(await blob().read(5, 100, ON_DEMAND), DATA.slice(5, 105)),
    ));
}

Deno.test("with a wiped primary header the backup is used", () =>
  withDisk({}, (disk) => disk.fill(0, 0, 2048), async ({ blob }) => assert.equal(await blob().size(), 8192)));

Deno.test("two damaged tables are an error that names both", () =>
  withDisk({}, flipped(AT.header, AT.backupEntries), async ({ blob, path }) => {
    const error = await refuses(
      blob().read(0, 1, ON_DEMAND),
      "corrupt",
      /: at sector 1 the header's checksum is wrong, at sector 1023 the entries' checksum is wrong$/,
    );
    assert.equal(error.hint, `sfdisk --verify ${path}`);
  }));

Deno.test("a file that is not a partitioned disk, too small or missing is an error", async () => {
  await withDisk({}, (disk) => disk.fill(0), async ({ blob }) => {
    await refuses(blob().size(), "corrupt", /it has no GPT$/);
  });
  await withDisk({}, (disk) => disk.slice(0, 600), async ({ blob }) => {
    await refuses(blob().size(), "corrupt", /it has no GPT$/);
  });
  using opened = OpenedBackend.open("localdisk", { device_path: "/nonexistent/disk" });
  await refuses(opened.backend.blob(ID).size(), "not-found", /Cannot open disk \/nonexistent\/disk: there is no such/);
});

Deno.test("a read past the end of the partition is an error, never data of the next one", () =>
  withDisk({}, whole, async ({ blob }) => {
    await refuses(
      blob().read(8000, 193, ON_DEMAND),
      "io",
      /read 193 bytes at 8000 of blob .*: partition 2 ends at 8192$/,
    );
    await refuses(blob().read(0, 2 ** 50, ON_DEMAND), "io", /ends at 8192$/);
  }));

Deno.test("a disk that ends within the partition is an error, never zeros", () =>
  withDisk({}, (disk) => disk.slice(0, 110 * 512), async ({ blob }) => {
    await refuses(blob().read(0, 10, ON_DEMAND), "io", /partition 2 reaches beyond the disk's end at 56320$/);
    await refuses(blob().size(), "io");
  }));

Deno.test("entries that lie outside the disk make the table invalid", () =>
  withDisk({}, (disk) => disk.slice(0, 20 * 512), async ({ blob }) => {
    await refuses(blob().size(), "corrupt", /at sector 1 its entries are not on the disk$/);
  }));

Deno.test("two partitions for one blob are an error that names them", () => {
  const twice = { ...partitionOfBlob(ID), firstLba: 300, lastLba: 300 };
  return withDisk({ partitions: [...PARTITIONS, twice] }, whole, async ({ blob }) => {
    await refuses(blob().size(), "io", /: partition 2 and partition 4 both claim it$/);
  });
});

Deno.test("a partition that is added later is found", () =>
  withDisk({ partitions: [] }, whole, async ({ blob, path }) => {
    await refuses(blob().size(), "not-found");
    await Deno.writeFile(path, gptImage(LAYOUT));
    assert.equal(await blob().size(), 8192);
  }));

Deno.test("an aborted read fails as interrupted", () =>
  withDisk({}, whole, async ({ blob }) => {
    await refuses(blob().read(0, 1, { priority: "prefetch", signal: AbortSignal.abort() }), "interrupted");
  }));

Deno.test("a disk without a path and an invalid id are refused by name", () =>
  withDisk({}, whole, ({ blob }) => {
    assert.throws(() => OpenedBackend.open("localdisk", {}), /device_path is missing/);
    for (const id of ["", "..", "a/b"]) assert.throws(() => blob(id), /not a file name/);
    return Promise.resolve();
  }));
