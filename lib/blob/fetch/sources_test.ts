import assert from "node:assert/strict";
import type { BlobSource, ReadOptions } from "../../backend/blob_source.ts";
import { Limiter } from "../../base/limiter.ts";
import { BlobSources } from "./sources.ts";

/** A source that records how it was asked. */
function noting(name: string, asked: [name: string, corruptResponses: number | undefined][]): BlobSource {
  return {
    description: name,
    size: () => Promise.resolve(1),
    read: (_offset: number, length: number, options: ReadOptions) => {
      asked.push([name, options.corruptResponses]);
      return Promise.resolve(new Uint8Array(length));
    },
  };
}

Deno.test("after wrong bytes the next source is requested, a single one is told to try another host", async () => {
  const asked: [string, number | undefined][] = [];
  const sources = new BlobSources({
    folder: { path: "/nonexistent" },
    room: (_, write) => write(),
    transfers: new Limiter(1),
  });
  const read = (corruptResponses: number) => sources.read(0, 1, { priority: "on-demand" }, corruptResponses);
  sources.add(noting("a", asked));
  await read(0);
  await read(1);
  sources.add(noting("b", asked));
  await read(0);
  await read(1);
  assert.deepEqual(asked, [["a", 0], ["a", 1], ["a", 0], ["b", 0]]);
});
