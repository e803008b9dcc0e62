/**
 * Damaged images through the whole stack (bootstrap, cache, kernel) by every data path. Each is refused with one
 * sentence that locates the damage, or shows nothing wrong: never a wrong byte, a crash, a hang, or an allocation sized
 * by a damaged number.
 *
 * @module
 */
import assert from "node:assert/strict";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { atMost } from "../../lib/base/abort.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { findBootstrap } from "../../lib/image/source/find_bootstrap.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import { CHUNK_DATA, COMPRESSION_INFO } from "../support/damage/damage_data.ts";
import { LAYERS } from "../support/damage/damage_layers.ts";
import { V5_BOOTSTRAP } from "../support/damage/damage_v5.ts";
import { V6_BOOTSTRAP } from "../support/damage/damage_v6.ts";
import { type Damage, type Fallout, FixtureCopy } from "../support/damage/damage.ts";
import { dataPathTest, type TestMounts } from "../support/mount/mounts_kit.ts";
import { type ListedEntry, readListing } from "../support/rafs/rafs_fixtures.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { type DamagedTree, TreeWalker } from "../support/mount/tree_walk.ts";

/** Time limit of a walk: a corrupt batch is fetched and decoded again for each of its files. */
const WALK_TIMEOUT_MS = 120_000;
/** Time limit for releasing a removed image; takes microseconds, unless a reference is lost. */
const RELEASE_TIMEOUT_MS = 60_000;
/** Permitted temporary growth of the process for a damaged image, in bytes. */
const MOST_GROWTH = 192 << 20;

/** Result for one damaged image. */
type Outcome = { readonly refused: string } | {
  readonly tree: DamagedTree;
  readonly released: boolean;
  readonly fsDriver: string;
};

async function mountAndWalk(copy: FixtureCopy, number: number, kit: TestMounts, walker: TreeWalker): Promise<Outcome> {
  const folder = kit.temp.join(`image-${number}`);
  const { source, blobDir } = await copy.write(folder);
  try {
    await using cache = BlobCache.open(`${folder}/cache`, number % 8 === 0 ? {} : { decodeWorkers: 0 });
    const { path: bootstrapPath, container } = await findBootstrap(source, `${folder}/image.boot`, source);
    const backend = LocalFsBackend.inFolder(blobDir);
    await using image = OpenImage.open({
      name: `image-${number}`,
      bootstrap: MappedBootstrap.open(bootstrapPath),
      container,
      backend,
      cache,
    });
    const mount = await kit.mounts.add(image, number);
    const tree = await walker.walk(mount.path, WALK_TIMEOUT_MS);
    await mount[Symbol.asyncDispose]();
    const released = await atMost(RELEASE_TIMEOUT_MS, mount.released.then(() => true)) ?? false;
    return { tree, released, fsDriver: mount.fsDriver };
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    return { refused: error.message };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What is wrong with a result. */
function complaints(outcome: Outcome, fallout: Fallout, copy: FixtureCopy, listing: readonly ListedEntry[]): string[] {
  if ("refused" in outcome) {
    const { refused } = outcome;
    if (!/^Cannot [^\n]+: [^\n]+$/.test(refused)) return [`refused with ${JSON.stringify(refused)}`];
    return typeof fallout === "string" ? [] : [`refused: ${refused}`];
  }
  if (!outcome.released) return ["it is never released"];
  if (fallout === "refused") return ["not refused"];
  const { entries, failures } = outcome.tree;
  const found = new Map(entries.map((entry) => [entry.path, entry]));
  const wrong = listing.flatMap((expected) => {
    const { path, size, sha256 } = expected;
    const entry = found.get(path);
    const shown = entry?.sha256;
    if (shown === undefined || shown === sha256 || shown.startsWith("ERR:") || entry?.size !== size) return [];
    return [`wrong bytes in ${path}`];
  });
  if (fallout === "any") return wrong;
  const damagedFiles = copy.filesIn(fallout);
  const failing = entries.filter(({ sha256 }) => sha256?.startsWith("ERR:")).map(({ path }) => path);
  return [
    ...wrong,
    ...failing.filter((path) => !damagedFiles.has(path)).map((path) => `${path} fails`),
    ...listing.filter(({ path }) => !found.has(path)).map(({ path }) => `${path} is not there`),
    ...failures,
    ...(damagedFiles.size > 0 && failing.length === 0 ? ["nothing fails"] : []),
  ];
}

/** All data paths use the same reader, which refuses damage: others than fuse get one image of so many. */
const SAMPLED = 3;

/** Peak of resident memory since the last call, and current resident memory; bytes. */
function memory(): { peak: number; now: number } {
  const status = Deno.readTextFileSync("/proc/self/status");
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
  const result = { peak: bytes("VmHWM"), now: bytes("VmRSS") };
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  return result;
}

async function survive(kit: TestMounts, all: readonly Damage[]): Promise<void> {
  const step = kit.dataPath.fsDriver === "fuse" ? 1 : SAMPLED;
  const kinds = all.filter((_, index) => index % step === 0);
  await using _quiet = await quietLogs();
  await using walker = new TreeWalker();
  const found: string[] = [];
  const sofar: Record<string, number> = {};
  for (const [index, { name, fixture, apply }] of kinds.entries()) {
    const copy = await FixtureCopy.of(fixture);
    const fallout = apply(copy);
    assert.ok(await copy.isDamaged(), `${name} does nothing to ${fixture}`);
    const { now } = memory();
    const outcome = await mountAndWalk(copy, index + 1, kit, walker);
    const growth = memory().peak - now;
    const result = "refused" in outcome ? "refused" : outcome.fsDriver;
    sofar[result] = (sofar[result] ?? 0) + 1;
    const wrong = complaints(outcome, fallout, copy, readListing(copy.fixture.listing));
    if (growth > MOST_GROWTH) wrong.push(`${growth >> 20} MiB of memory`);
    found.push(...wrong.map((complaint) => `${fixture}, ${name}: ${complaint}`));
  }
  assert.deepEqual(found, []);
  console.log(`${kinds.length} damaged images: ${JSON.stringify(sofar)}`);
}

dataPathTest("damaged blobs fail only the damaged parts", (kit) => survive(kit, CHUNK_DATA), {
  strict: false,
});
dataPathTest("damaged compression info shows no wrong byte", (kit) => survive(kit, COMPRESSION_INFO), {
  strict: false,
});
dataPathTest("damaged layers and encrypted blobs show no wrong byte", (kit) => survive(kit, LAYERS), { strict: false });
dataPathTest("damaged v5 bootstraps show no wrong byte", (kit) => survive(kit, V5_BOOTSTRAP), { strict: false });
dataPathTest("damaged v6 bootstraps show no wrong byte", (kit) => survive(kit, V6_BOOTSTRAP), { strict: false });
