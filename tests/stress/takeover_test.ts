/**
 * A server that is killed at random instants, by each data path: programs notice nothing but a pause.
 *
 * NYDUS_GD_TAKEOVER_ROUNDS is the number of kills per test: 30, and 300 in `sh scripts/test.sh stress`;
 * NYDUS_GD_TAKEOVER_READERS the number of reading programs: 8; NYDUS_GD_TAKEOVER_LIFE_MS the longest life: 1000.
 * A pause is mostly the start of a server: with NYDUS_GD_TEST_PROGRAM=dist/nydus-gd it is what users see, and half as
 * long again from source.
 */
import { deepEqual, ok } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { FsDriver } from "../../lib/mount/data_path.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";
import { EXECUTABLE } from "../support/process/program.ts";

const ROUNDS = Number(Deno.env.get("NYDUS_GD_TAKEOVER_ROUNDS") ?? "30");
const READERS = Number(Deno.env.get("NYDUS_GD_TAKEOVER_READERS") ?? "8");
/** Longest life of a server in milliseconds: it dies while it starts, takes over, or serves. */
const LONGEST_LIFE_MS = Number(Deno.env.get("NYDUS_GD_TAKEOVER_LIFE_MS") ?? "1000");
/** File sizes in bytes. The kernel's cache cannot be emptied while it is in use, so it gets more data than is read. */
const FILE_BYTES = { usual: 1 << 20, kernelCache: 4 << 20 } as const;
/** Byte of FUSE_HAS_RESEND in the stored INIT, and the bit: linux/fuse.h 7.45. */
const RESEND = { offset: 56, bit: 0x80 } as const;

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(
    `readers of a killed server wait, and its successor returns the right bytes (${fsDriver})`,
    () => killed(fsDriver, () => {}),
  );
}

fuseTest("readers get the right bytes where the kernel cannot resend requests", () =>
  killed("fuse", (container) => {
    const path = container.keptFile("/memfd:nydus-gd-requests");
    const [flags = 0] = readAt(path, RESEND.offset, 1);
    writeAt(path, RESEND.offset, new Uint8Array([flags & ~RESEND.bit]));
  }));

async function killed(fsDriver: FsDriver, between: (container: LazyContainer) => void): Promise<void> {
  const fileBytes = fsDriver === "erofs-fscache" ? FILE_BYTES.kernelCache : FILE_BYTES.usual;
  await using container = await LazyContainer.start(fsDriver, { fileBytes });
  const { driver } = container;
  await using readers = await container.read(READERS);
  for (let round = 0; round < ROUNDS; round++) {
    await delay(Math.random() * LONGEST_LIFE_MS);
    await driver.kill();
    between(container);
    await container.emptyCache(readers);
    if (round % 2 === 0) await driver.restart();
    else driver.begin(); // sometimes it is killed before it serves
  }
  await driver.kill();
  await driver.restart();
  const { wrong, errors, reads, longestPauseMs } = await readers.stop();
  const program = EXECUTABLE === undefined ? "source" : "executable";
  console.log(`${reads} reads over ${ROUNDS} kills, longest pause ${Math.round(longestPauseMs)} ms (${program})`);
  deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
  ok(reads > ROUNDS);
}

function readAt(path: string, offset: number, length: number): Uint8Array {
  return Deno.readFileSync(path).subarray(offset, offset + length);
}

function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  file.writeSync(bytes);
}
