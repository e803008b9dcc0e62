import assert from "node:assert/strict";
import { distinctBytes } from "../../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../../tests/support/backend/fake_registry.ts";
import { silentCandidate } from "../../../../tests/support/backend/silent_backend.ts";
import { quietLogs } from "../../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../../backend/http/fetch_options.ts";
import { HttpClient } from "../../../backend/http/http_client.ts";
import { openRegistry } from "../../../backend/open_backend.ts";
import { ANONYMOUS } from "../../../backend/registry/keychain.ts";
import { BlobSources } from "../../../blob/fetch/sources.ts";
import type { Backend, BlobSource } from "../../../backend/blob_source.ts";
import { hasCode, NydusGdError } from "../../../base/errors.ts";
import { readJsonFile } from "../../../base/json_file.ts";
import { Limiter } from "../../../base/limiter.ts";
import { type BackendCandidate, chooseBackend } from "./choose_backend.ts";

const PATIENT_MS = 60_000;
const ON_DEMAND = { priority: "on-demand" } as const;

/** A backend that has the blobs `ids`, each containing the backend's name; counts the requests. */
class TestBackend implements BackendCandidate, Backend {
  asked = 0;
  opened = 0;
  failure: NydusGdError | undefined;

  constructor(readonly description: string, public ids: string[]) {}

  open(): Backend {
    this.opened++;
    return this;
  }

  blob(id: string): BlobSource {
    const answer = (): Promise<Uint8Array<ArrayBuffer>> => {
      this.asked++;
      if (this.failure !== undefined) return Promise.reject(this.failure);
      if (this.ids.includes(id)) return Promise.resolve(new TextEncoder().encode(this.description));
      return Promise.reject(new NydusGdError("not-found", `Cannot read blob ${id}: no such blob`));
    };
    return {
      description: `${this.description}, blob ${id}`,
      size: async () => (await answer()).length,
      read: (_offset, _length, options) => options.signal?.aborted ? Promise.reject(options.signal.reason) : answer(),
    };
  }
}

const NEVER = new AbortController().signal;
const blobIds = ["a", "b"];
/** Chooses a home of {@link blobIds}, with plenty of time. */
const choose = (candidates: readonly BackendCandidate[], choicePath: string, signal = NEVER) =>
  chooseBackend(
    { candidates: () => Promise.resolve(candidates), blobIds, choicePath, deadlineMs: PATIENT_MS },
    signal,
  );
const textOf = async (backend: Backend, id: string) =>
  new TextDecoder().decode(await backend.blob(id).read(0, 1, ON_DEMAND));

Deno.test("the first home that has every blob is chosen, and the choice is stored", async () => {
  using dir = TempDir.make();
  const path = dir.join("choice.json");
  const [none, half, all, later] = [
    new TestBackend("none", []),
    new TestBackend("half", ["a"]),
    new TestBackend("all", ["a", "b"]),
    new TestBackend("later", ["a", "b"]),
  ];
  const backend = await choose([none, half, all, later], path);
  assert.equal(backend.description, "all");
  assert.equal(await textOf(backend, "b"), "all");
  assert.equal(later.opened, 0);
  assert.deepEqual(await readJsonFile(path), { home: "all" });
});

Deno.test("a stored choice is used without a request, so the network may be down", async () => {
  using dir = TempDir.make();
  const path = dir.join("choice.json");
  const candidates = [new TestBackend("first", []), new TestBackend("second", ["a", "b"])];
  await choose(candidates, path);
  for (const backend of candidates) {
    backend.asked = 0;
    backend.failure = new NydusGdError("unavailable", "Cannot reach it: the network is down");
  }
  assert.equal((await choose(candidates, path)).description, "second");
  assert.deepEqual(candidates.map(({ asked }) => asked), [0, 0]);
});

Deno.test("a home that lost a blob is replaced by one that has every blob, at the read that fails", async () => {
  using dir = TempDir.make();
  const path = dir.join("choice.json");
  const [old, half, other] = [
    new TestBackend("old", ["a", "b"]),
    new TestBackend("half", ["a"]),
    new TestBackend("other", ["a", "b"]),
  ];
  const backend = await choose([old, half, other], path);
  const [a, b] = [backend.blob("a"), backend.blob("b")];
  old.ids = ["a"];
  const read = (source: BlobSource) => source.read(0, 1, ON_DEMAND).then((bytes) => new TextDecoder().decode(bytes));
  assert.equal(await read(a), "old");
  assert.deepEqual(await Promise.all([read(b), read(b), b.size()]), ["other", "other", 5]);
  assert.equal(await read(a), "other");
  assert.equal(a.description, "other, blob a");
  assert.deepEqual(await readJsonFile(path), { home: "other" });
  assert.equal(half.opened, 1, "concurrent reads search once");
});

Deno.test("if no other home has every blob, the read fails with the chosen home's error", async () => {
  using dir = TempDir.make();
  const path = dir.join("choice.json");
  const [mine, half] = [new TestBackend("mine", ["a", "b"]), new TestBackend("half", ["a"])];
  const backend = await choose([mine, half], path);
  mine.failure = new NydusGdError("unavailable", "Cannot read blob: mine is down");
  await assert.rejects(textOf(backend, "a"), /mine is down/);
  assert.deepEqual(await readJsonFile(path), { home: "mine" });
  mine.failure = undefined;
  assert.equal(await textOf(backend, "a"), "mine");
});

Deno.test("wrong bytes and an abort of the caller are no reason to change the home", async () => {
  using dir = TempDir.make();
  const [mine, other] = [new TestBackend("mine", ["a", "b"]), new TestBackend("other", ["a", "b"])];
  const backend = await choose([mine, other], dir.join("choice.json"));
  mine.failure = new NydusGdError("corrupt", "Cannot read blob: wrong bytes");
  await assert.rejects(textOf(backend, "a"), /wrong bytes/);
  mine.failure = new NydusGdError("unavailable", "Cannot read blob: too late");
  const signal = AbortSignal.abort(new NydusGdError("interrupted", "Cannot read blob: gave up"));
  await assert.rejects(backend.blob("a").read(0, 1, { ...ON_DEMAND, signal }), /gave up/);
  assert.equal(other.opened, 0);
});

Deno.test("a stored choice that is no longer a candidate, or not JSON, is made again", async () => {
  using dir = TempDir.make();
  const path = dir.join("choice.json");
  for (const text of ['{"home":"gone"}', '{"home":', "", "[]"]) {
    await Deno.writeTextFile(path, text);
    assert.equal(
      (await choose([new TestBackend("mine", ["a", "b"])], path)).description,
      "mine",
    );
    assert.deepEqual(await readJsonFile(path), { home: "mine" });
  }
});

Deno.test("a home that cannot be opened or does not answer in its share of the time is skipped", async () => {
  using dir = TempDir.make();
  const broken: BackendCandidate = {
    description: "broken",
    open: () => {
      throw new NydusGdError("unsupported", "Cannot open backend oss: it is not supported");
    },
  };
  const chooseSoon = (listed: readonly BackendCandidate[], choice: string) =>
    chooseBackend(
      { candidates: () => Promise.resolve(listed), blobIds, choicePath: dir.join(choice), deadlineMs: 60 },
      NEVER,
    );
  const mine = new TestBackend("mine", ["a", "b"]);
  assert.equal((await chooseSoon([broken, silentCandidate(), mine], "choice.json")).description, "mine");
  await assert.rejects(
    chooseSoon([broken, silentCandidate()], "other.json"),
    (error) =>
      hasCode(error, "unavailable") &&
      error.message === "Cannot find the blobs of the image: broken: Cannot open backend oss: it is not supported; " +
          "silent: no answer within 30 ms",
  );
});

Deno.test("a home must have every blob in its recorded size", async () => {
  using dir = TempDir.make();
  const candidateWith = (sizes: [string, number][]): BackendCandidate => ({
    description: "mine",
    blobSizes: new Map(sizes),
    open: () => new TestBackend("mine", ["a", "b"]),
  });
  const chooseBy = (sizes: [string, number][]) => choose([candidateWith(sizes)], dir.join("choice.json"));
  await assert.rejects(chooseBy([["a", 4]]), /mine: Cannot find blob b: the layer does not say that it is there/);
  await assert.rejects(chooseBy([["a", 4], ["b", 5]]), /mine: Cannot use blob b: it has 4 bytes, the layer says 5/);
  assert.equal((await chooseBy([["a", 4], ["b", 4]])).description, "mine");
});

Deno.test("if no home has every blob, the error has the first hint of a home", async () => {
  using dir = TempDir.make();
  const [silent, locked] = [new TestBackend("silent", []), new TestBackend("locked", [])];
  locked.failure = new NydusGdError("unauthorized", "Cannot read it: no password", { hint: "docker login locked" });
  const search = (candidates: TestBackend[]) => choose(candidates, dir.join("choice.json"));
  const hintIs = (hint: string) => (error: unknown) => error instanceof NydusGdError && error.hint === hint;
  await assert.rejects(search([silent, locked]), hintIs("docker login locked"));
  await assert.rejects(search([silent]), hintIs("set device.backend in the configuration, or pull the image again"));
  await assert.rejects(search([]), /Cannot find the blobs of the image: no backend is known that has a and 1 more/);
});

Deno.test("the caller's signal ends the search", async () => {
  using dir = TempDir.make();
  const reason = new NydusGdError("interrupted", "Cannot continue: enough");
  const mine = new TestBackend("mine", []);
  await assert.rejects(
    choose([mine], dir.join("choice.json"), AbortSignal.abort(reason)),
    (error) => error === reason,
  );
});

Deno.test("an image without blobs needs no home", async () => {
  using dir = TempDir.make();
  const backend = await chooseBackend({
    candidates: () => Promise.resolve([]),
    blobIds: [],
    choicePath: dir.join("choice.json"),
    deadlineMs: PATIENT_MS,
  }, NEVER);
  assert.throws(() => backend.blob("a"), /has no blobs/);
  await assert.rejects(choose([], dir.join("choice.json")), /no backend is known/);
});

Deno.test("a blob is transferred as a whole if the server of its home ignores ranges", async () => {
  await using _quiet = await quietLogs();
  await using registry = await FakeRegistry.start();
  registry.lasting = { kind: "whole" };
  using dir = TempDir.make();
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const bytes = distinctBytes(6 << 20);
  const id = registry.addBlob(bytes);
  const location = { host: registry.host, repo: "app", scheme: "http" } as const;
  const home = { description: "home", open: () => openRegistry(location, { http, keychain: ANONYMOUS }) };
  const backend = await chooseBackend({
    candidates: () => Promise.resolve([home]),
    blobIds: [id],
    choicePath: dir.join("choice.json"),
    deadlineMs: PATIENT_MS,
  }, NEVER);
  const sources = new BlobSources({
    folder: dir,
    room: (_, write) => write(),
    transfers: new Limiter(1),
  });
  sources.add(backend.blob(id));
  assert.deepEqual(await sources.read(5 << 20, 9, ON_DEMAND), bytes.slice(5 << 20, (5 << 20) + 9));
  await sources.endTransfers();
});
