import assert from "node:assert/strict";
import fc from "fast-check";
import { allocateChunkColumns, type ChunkColumns, NO_BATCH } from "../../rafs/blob/chunk_table.ts";
import { ChunkIndex } from "../tables/chunk_index.ts";
import { planRequest, type RequestLimits } from "./planner.ts";

const LIMITS: RequestLimits = { maxRequest: 100_000, maxGap: 8192 };

interface Unit {
  readonly size: number;
  /** Unused bytes of the blob before the unit. */
  readonly gap: number;
  /** Number of chunks; more than one make a batch. */
  readonly members: number;
  readonly wanted: boolean;
}

const unit: fc.Arbitrary<Unit> = fc.record({
  size: fc.integer({ min: 1, max: 60_000 }),
  gap: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 10_000 })),
  members: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 5 })),
  wanted: fc.boolean(),
});

function tableOf(units: readonly Unit[]): { columns: ChunkColumns; keys: number[] } {
  const count = units.reduce((sum, each) => sum + each.members, 0);
  const batches = units.filter((each) => each.members > 1).length;
  const columns = allocateChunkColumns(count, batches);
  const keys: number[] = [];
  let row = 0, batch = 0, at = 0, plain = 0;
  for (const each of units) {
    at += each.gap;
    keys.push(each.members > 1 ? -1 - batch : row);
    for (let member = 0; member < each.members; member++, row++) {
      columns.uncompressedOffset[row] = plain;
      columns.uncompressedSize[row] = 4096;
      columns.compressedOffset[row] = at;
      columns.compressedSize[row] = each.size;
      columns.batch[row] = each.members > 1 ? batch : NO_BATCH;
      plain += 4096;
    }
    if (each.members > 1) batch++;
    at += each.size;
  }
  return { columns, keys };
}

Deno.test("requests cover all wanted chunks, each once, within the limits", () => {
  fc.assert(fc.property(fc.array(unit, { minLength: 1, maxLength: 60 }), fc.nat(), (units, start) => {
    const { columns, keys } = tableOf(units);
    const index = new ChunkIndex(columns);
    const missing = new Set(keys.filter((_, i) => units[i]?.wanted));
    const all = [...missing];
    const fetched: number[] = [];
    while (missing.size > 0) {
      const first = [...missing][start % missing.size] as number;
      const plan = planRequest(columns, index, first, (key) => missing.has(key), LIMITS);
      assert.ok(plan.units.includes(first));
      const places = plan.units.map((key) => units[keys.indexOf(key)] as Unit);
      const wantedBytes = places.reduce((sum, each) => sum + each.size, 0);
      assert.ok(plan.length <= wantedBytes * 1.1, `${plan.length} bytes for ${wantedBytes}`);
      assert.ok(plan.units.length === 1 || plan.length <= LIMITS.maxRequest);
      let end = plan.offset;
      for (const key of plan.units) {
        const row = index.rowsOf(key)[0] as number;
        const gap = (columns.compressedOffset[row] as number) - end;
        assert.ok(gap >= 0 && gap <= LIMITS.maxGap, "only neighbours, in order");
        end = (columns.compressedOffset[row] as number) + (columns.compressedSize[row] as number);
        assert.ok(missing.delete(key), "wanted and not yet fetched");
        fetched.push(key);
      }
      assert.equal(end, plan.offset + plan.length);
    }
    assert.deepEqual(fetched.sort((a, b) => a - b), all.sort((a, b) => a - b));
  }));
});

Deno.test("any table, however irregular, yields a request that covers its units", () => {
  const chunk = fc.record({ offset: fc.nat(50_000), size: fc.integer({ min: 1, max: 20_000 }), wanted: fc.boolean() });
  fc.assert(fc.property(fc.array(chunk, { minLength: 1, maxLength: 30 }), fc.nat(), (chunks, start) => {
    const columns = allocateChunkColumns(chunks.length, 0);
    for (const [row, { offset, size }] of chunks.entries()) {
      columns.uncompressedOffset[row] = row * 4096;
      columns.uncompressedSize[row] = 4096;
      columns.compressedOffset[row] = offset;
      columns.compressedSize[row] = size;
    }
    const first = start % chunks.length;
    const plan = planRequest(columns, new ChunkIndex(columns), first, (key) => chunks[key]?.wanted === true, LIMITS);
    assert.equal(new Set(plan.units).size, plan.units.length);
    assert.ok(plan.units.includes(first));
    for (const key of plan.units) {
      const { offset, size } = chunks[key] as { offset: number; size: number };
      assert.ok(offset >= plan.offset && offset + size <= plan.offset + plan.length);
    }
  }));
});

Deno.test("chunks are found by offset, in ordered and unordered tables", () => {
  const places = fc.uniqueArray(fc.nat(200), { minLength: 1, maxLength: 40 });
  fc.assert(fc.property(places, fc.nat(210 * 4096), fc.integer({ min: 1, max: 50 * 4096 }), (pages, offset, length) => {
    const columns = allocateChunkColumns(pages.length + 1, 0);
    for (const [row, page] of pages.entries()) {
      columns.uncompressedOffset[row] = page * 4096;
      columns.uncompressedSize[row] = 1 + (page * 97) % 4096;
    }
    const expected = pages.map((page, row) => ({ page, row })).filter(({ page }) =>
      page * 4096 < offset + length && page * 4096 + 1 + (page * 97) % 4096 > offset
    ).sort((a, b) => a.page - b.page).map(({ row }) => row);
    assert.deepEqual(new ChunkIndex(columns).rowsIn(offset, length), expected);
  }));
});

Deno.test("slices of a gzip layer that overlap are fetched by one request", () => {
  const columns = allocateChunkColumns(4, 4);
  for (let row = 0; row < 4; row++) {
    columns.uncompressedOffset[row] = row * 4096;
    columns.uncompressedSize[row] = 4096;
    columns.compressedOffset[row] = row * 10_000;
    columns.compressedSize[row] = 12_000;
    columns.batch[row] = row;
  }
  const index = new ChunkIndex(columns);
  for (const first of [-1, -3, -4]) {
    const plan = planRequest(columns, index, first, () => true, LIMITS);
    assert.deepEqual(plan, { units: [-1, -2, -3, -4], offset: 0, length: 42_000 });
  }
  const { units } = planRequest(columns, index, -2, () => true, { ...LIMITS, maxRequest: 30_000 });
  assert.deepEqual(units, [-2, -3]);
});
