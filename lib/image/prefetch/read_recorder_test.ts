import assert from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { until } from "../../../tests/support/until.ts";
import { unlessAborted } from "../../base/abort.ts";
import { sha256OfFile } from "../../base/file_digest.ts";
import { LearnedReads } from "./learned_reads.ts";
import { ReadRecorder } from "./read_recorder.ts";

/** A recorder, and control over when its readers are quiet. */
async function withRecorder(
  test: (parts: { recorder: ReadRecorder; learned: LearnedReads; digest: string; quiet: () => void }) => Promise<void>,
): Promise<void> {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("image.boot"), "a bootstrap");
  const learned = await LearnedReads.open(temp.join("learned"));
  let turn = Promise.withResolvers<void>();
  await using recorder = new ReadRecorder(temp.join("image.boot"), {
    learned,
    whenQuiet: (_quietMs, signal) => unlessAborted(turn.promise, signal),
  });
  const quiet = () => {
    turn.resolve();
    turn = Promise.withResolvers();
  };
  await test({ recorder, learned, digest: await sha256OfFile(temp.join("image.boot")), quiet });
}

const place = (blobIndex: number, offset: number, length = 10) => ({ blobIndex, offset, length });

/** Waits until reads of the image have been learned. */
async function known(learned: LearnedReads, digest: string, count: number) {
  await until(`${count} reads are known`, async () => (await learned.of(digest)).length >= count);
  return await learned.of(digest);
}

Deno.test("reads of a start are kept in order of first access, consecutive ones merged", () =>
  withRecorder(async ({ recorder, learned, digest, quiet }) => {
    recorder.begin();
    for (const offset of [100, 110, 50, 100, 120, 60, 110]) recorder.note(place(0, offset));
    recorder.note(place(1, 70));
    quiet();
    assert.deepEqual(await known(learned, digest, 4), [
      { blobIndex: 0, offset: 100, length: 20 },
      { blobIndex: 0, offset: 50, length: 10 },
      { blobIndex: 0, offset: 120, length: 10 },
      { blobIndex: 0, offset: 60, length: 10 },
      { blobIndex: 1, offset: 70, length: 10 },
    ]);
    assert.deepEqual(await recorder.learned(), await learned.of(digest));
  }));

Deno.test("reads before and after a start are not recorded, those of the next start are", () =>
  withRecorder(async ({ recorder, learned, digest, quiet }) => {
    recorder.note(place(0, 1000));
    recorder.begin();
    recorder.note(place(0, 2000));
    quiet();
    await known(learned, digest, 1);
    recorder.note(place(0, 3000));
    recorder.begin();
    recorder.begin();
    recorder.note(place(0, 4000));
    quiet();
    assert.deepEqual((await known(learned, digest, 2)).map(({ offset }) => offset), [2000, 4000]);
  }));

Deno.test("reads recorded before the image is closed are kept", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("image.boot"), "a bootstrap");
  const learned = await LearnedReads.open(temp.join("learned"));
  const never = (_quietMs: number, signal: AbortSignal) => unlessAborted(new Promise<void>(() => {}), signal);
  {
    await using recorder = new ReadRecorder(temp.join("image.boot"), { learned, whenQuiet: never });
    recorder.begin();
    recorder.note(place(0, 5));
  }
  assert.equal((await learned.of(await sha256OfFile(temp.join("image.boot")))).length, 1);
});

Deno.test("an unreadable bootstrap does not keep a container from starting", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  const learned = await LearnedReads.open(temp.join("learned"));
  await using recorder = new ReadRecorder(temp.join("none"), { learned, whenQuiet: () => Promise.resolve() });
  recorder.begin();
  recorder.note(place(0, 5));
  await assert.rejects(recorder.learned(), Deno.errors.NotFound);
});

Deno.test("a start with many unexpected reads no longer counts as following the learned ones", () =>
  withRecorder(async ({ recorder, learned, digest, quiet }) => {
    await learned.add(digest, [{ blobIndex: 0, offset: 0, length: 1000 }]);
    await recorder.learned();
    recorder.begin();
    for (let i = 0; i < 50; i++) recorder.note(place(0, 10 * i));
    for (let i = 0; i < 50; i++) recorder.note(place(0, 5000 + 10 * i));
    assert.equal(recorder.isFollowing, true, "as many unexpected reads as expected ones");
    recorder.note(place(1, 0));
    assert.equal(recorder.isFollowing, false);
    quiet();
    await known(learned, digest, 2);
    recorder.begin();
    assert.equal(recorder.isFollowing, true, "the next start is judged anew");
    for (let i = 0; i < 25; i++) recorder.note(place(2, 10 * i));
    assert.equal(recorder.isFollowing, false);
  }));

Deno.test("the first start is expected to follow the given reads, later ones what was learned", () =>
  withRecorder(async ({ recorder, learned, digest, quiet }) => {
    const listed = [place(0, 0, 1000)];
    assert.deepEqual(await recorder.learned(() => listed), listed);
    recorder.begin();
    for (let i = 0; i < 40; i++) recorder.note(place(0, i * 10));
    assert.equal(recorder.isFollowing, true);
    quiet();
    const reads = await known(learned, digest, 1);
    assert.deepEqual(reads, [place(0, 0, 400)]);
    assert.deepEqual(await recorder.learned(() => listed), reads);
  }));
