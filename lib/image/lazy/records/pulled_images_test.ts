import assert from "node:assert/strict";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { hasCode } from "../../../base/errors.ts";
import { type Digest, parseDigest } from "../../../oci/digest.ts";
import { type PulledImage, PulledImages, readPulledImage } from "./pulled_images.ts";

const diffId = (digit: string): Digest => parseDigest(`sha256:${digit.repeat(64)}`);

function imageOf(change: Partial<PulledImage> = {}): PulledImage {
  return {
    version: 1,
    reference: "r.example:5000/team/app:1.0",
    registry: "r.example:5000",
    repository: "team/app",
    pulledAt: "2026-01-02T03:04:05.678Z",
    logins: [{ host: "r.example:5000", kind: "basic", user: "alice", password: "secret" }],
    ...change,
  };
}

Deno.test("a record is visible to the next process, and removed for good with its image", async () => {
  using dir = TempDir.make();
  const images = await PulledImages.open(dir.join("pulled"));
  await images.record(diffId("a"), imageOf());
  await images.record(diffId("b"), imageOf({ repository: "other" }));
  await images.record(diffId("a"), imageOf({ repository: "moved" }));
  assert.equal((await PulledImages.open(dir.join("pulled"))).of(diffId("a"))?.repository, "moved");
  await Promise.all([images.record(diffId("b"), imageOf()), images.forget(diffId("b")), images.forget(undefined)]);
  await images.forget(diffId("c"));
  for (const each of [images, await PulledImages.open(dir.join("pulled"))]) {
    assert.deepEqual([each.of(diffId("a"))?.registry, each.of(diffId("b")), each.of(undefined), each.of("x")], [
      "r.example:5000",
      undefined,
      undefined,
      undefined,
    ]);
  }
  const file = Deno.statSync(dir.join(`pulled/${"a".repeat(64)}.json`));
  assert.equal((file.mode ?? 0) & 0o777, 0o600);
});

Deno.test("the newest login counts as such even if the clock was ahead at an earlier pull", async () => {
  using dir = TempDir.make();
  const login = (password: string) => ({ host: "r.example", kind: "basic" as const, user: "bob", password });
  const before = { ...imageOf({ pulledAt: "2030-01-01T00:00:00.000Z", logins: [login("earlier version")] }) };
  await Deno.writeTextFile(dir.join(`${"a".repeat(64)}.json`), JSON.stringify(before));
  const images = await PulledImages.open(dir.path);
  await images.record(diffId("b"), imageOf({ pulledAt: "2029-01-01T00:00:00.000Z", logins: [login("old")] }));
  await images.record(diffId("c"), imageOf({ pulledAt: "2026-01-01T00:00:00.000Z", logins: [login("new")] }));
  for (const each of [images, await PulledImages.open(dir.path)]) {
    const credential = await each.keychain.resolve("r.example");
    assert.equal(credential?.kind === "basic" && credential.password, "new");
  }
});

Deno.test("the newest login of a host is used, for every name of Docker Hub, with its origin", async () => {
  using dir = TempDir.make();
  const images = await PulledImages.open(dir.path);
  const login = (password: string) => ({ host: "docker.io", kind: "basic" as const, user: "bob", password });
  await images.record(diffId("b"), imageOf({ pulledAt: "2026-01-01T00:00:00.000Z", logins: [login("old")] }));
  await images.record(diffId("a"), imageOf({ pulledAt: "2026-02-01T00:00:00.000Z", logins: [login("new")] }));
  await images.record(diffId("c"), imageOf({ logins: [{ host: "q.example", kind: "identity-token", token: "t" }] }));
  assert.deepEqual(await images.keychain.resolve("index.docker.io"), {
    kind: "basic",
    user: "bob",
    password: "new",
    source: {
      name: "nydus-gd pull r.example:5000/team/app:1.0 of 2026-02-01T00:00:00.000Z",
      hint: "docker login index.docker.io, and nydus-gd pull r.example:5000/team/app:1.0",
    },
  });
  assert.equal((await images.keychain.resolve("q.example"))?.kind, "identity-token");
  assert.equal(await images.keychain.resolve("nobody.example"), undefined);
  await images.forget(diffId("a"));
  assert.match(JSON.stringify(await images.keychain.resolve("docker.io")), /"old"/);
});

Deno.test("damaged records are ignored, and invalid ones refused by field, without a secret", async () => {
  using dir = TempDir.make();
  await Deno.writeTextFile(dir.join(`${"a".repeat(64)}.json`), '{"password": "secret"');
  await Deno.writeTextFile(dir.join(`${"b".repeat(64)}.json`), JSON.stringify({ ...imageOf(), version: 2 }));
  await Deno.writeTextFile(dir.join("notes.txt"), "x");
  const images = await PulledImages.open(dir.path);
  for (const digit of ["a", "b"]) assert.equal(images.of(diffId(digit)), undefined);
  const cases: [change: Record<string, unknown>, state: RegExp][] = [
    [{ registry: "http://r.example" }, /registry is not HOST or HOST:PORT/],
    [{ repository: "../x" }, /repository is not a repository name/],
    [{ pulledAt: "yesterday" }, /pulledAt is not an ISO timestamp/],
    [{ logins: [{ host: "r", kind: "basic", user: "u", password: ["secret"] }] }, /logins\[0\]/],
    [{ logins: [{ host: "r", kind: "cookie", cookie: "secret" }] }, /logins\[0\]/],
  ];
  for (const [change, state] of cases) {
    assert.throws(
      () => readPulledImage({ ...imageOf(), ...change }),
      (error) => hasCode(error, "usage") && state.test(error.message) && !error.message.includes("secret"),
    );
  }
});
