import assert from "node:assert/strict";
import { makeSyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { chunkColumnsFromRecords } from "../../rafs/blob/blob_meta.ts";
import { allocateChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { ChunkTableFile, columnsOf } from "./chunk_table_file.ts";

async function someColumns() {
  const { descriptor, records } = await makeSyntheticBlob({ sizes: [5000, 6000, 7000], compressor: "zstd" });
  const columns = chunkColumnsFromRecords(descriptor, records);
  columns.batch[1] = 7;
  columns.crc32[2] = 0xdead_beef;
  return columns;
}

Deno.test("a table has the same content via its file and its address, also after its pages were dropped", async () => {
  using temp = TempDir.make();
  const columns = await someColumns();
  using table = ChunkTableFile.store(columns, temp.path) ?? assert.fail("no file");
  assert.deepEqual([...Deno.readDirSync(temp.path)], [], "the file has no name");
  for (let round = 0; round < 2; round++) {
    assert.deepEqual({ ...table.columns }, { ...columns });
    assert.deepEqual({ ...columnsOf(table.posted) }, { ...columns });
    ChunkTableFile.dropPages();
  }
});

Deno.test("a change is visible to all holders of the table, a failed change to none", async () => {
  using temp = TempDir.make();
  using table = ChunkTableFile.store(await someColumns(), temp.path) ?? assert.fail("no file");
  const elsewhere = columnsOf(table.posted);
  assert.throws(() =>
    table.change((columns) => {
      columns.digests[0] = 1;
      throw new Error("contradiction");
    }), /contradiction/);
  assert.deepEqual(elsewhere.digests, (await someColumns()).digests);
  table.change(({ digests }) => digests.fill(7, 32, 64));
  assert.ok([table.columns, elsewhere].every(({ digests }) => digests.subarray(32, 64).every((byte) => byte === 7)));
});

Deno.test("a table without chunks has a file, too; where no file can be created, store returns none", () => {
  using temp = TempDir.make();
  using table = ChunkTableFile.store(allocateChunkColumns(0, 0), temp.path);
  assert.equal(table?.columns.count, 0);
  assert.equal(ChunkTableFile.store(allocateChunkColumns(1, 0), "/proc/self"), undefined);
});
