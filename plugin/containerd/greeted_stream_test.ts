import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { WithoutFirstAck } from "./greeted_stream.ts";
import { GREETING } from "./greeter.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const ACK = Buffer.of(0, 0, 0, 4, 1, 0, 0, 0, 0);
const SETTINGS = Buffer.of(0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9);
/** A frame of data whose payload looks like acknowledgements. */
const DATA = Buffer.concat([Buffer.of(0, 0, 18, 0, 1, 0, 0, 0, 1), ACK, ACK]);
const EMPTY = Buffer.of(0, 0, 0, 0, 1, 0, 0, 0, 1);

/** What arrives when `sent` comes in pieces that end at `cuts`. */
async function passed(sent: Buffer, cuts: readonly number[]): Promise<Buffer> {
  const filter = new WithoutFirstAck();
  const ends = [...new Set([...cuts.filter((cut) => cut < sent.length), sent.length])].sort((a, b) => a - b);
  ends.forEach((end, index) => filter.write(sent.subarray(ends[index - 1] ?? 0, end)));
  filter.end();
  return Buffer.concat(await Array.fromAsync(filter));
}

Deno.test("the greeting is a frame of empty settings", () => {
  assert.deepEqual([...GREETING], [...ACK.with(4, 0)]);
});

Deno.test("the first acknowledgement of settings is taken out wherever the stream is cut, and nothing else", async () => {
  const before = fc.array(fc.constantFrom(SETTINGS, DATA, EMPTY));
  const after = fc.array(fc.constantFrom(SETTINGS, DATA, EMPTY, ACK));
  const cuts = fc.array(fc.nat(200));
  await fc.assert(fc.asyncProperty(before, after, cuts, async (before, after, cuts) => {
    const sent = Buffer.concat([PREFACE, ...before, ACK, ...after]);
    assert.deepEqual(await passed(sent, cuts), Buffer.concat([PREFACE, ...before, ...after]));
  }));
});
