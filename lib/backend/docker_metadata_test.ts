import assert from "node:assert/strict";
import { join } from "node:path";
import { sha256Digest } from "../oci/digest.ts";
import { layerSources, parseLayerSources } from "./docker_metadata.ts";

const [A, B] = ["a".repeat(64), "b".repeat(64)];

Deno.test("Docker's record lists the repositories of a layer, newest first, without duplicates", () => {
  const entry = (hex: string, SourceRepository: string) => ({ Digest: `sha256:${hex}`, SourceRepository, HMAC: "" });
  assert.deepEqual(
    parseLayerSources([
      entry(A, "docker.io/library/nginx"),
      entry(B, "localhost:5000/a/b"),
      entry(A, "docker.io/library/nginx"),
      { Digest: "nonsense", SourceRepository: "docker.io/x" },
      entry(A, "///"),
      { Digest: `sha256:${A}` },
      null,
    ]),
    [
      { digest: `sha256:${A}`, host: "docker.io", repository: "library/nginx" },
      { digest: `sha256:${B}`, host: "localhost:5000", repository: "a/b" },
    ],
  );
  assert.deepEqual(parseLayerSources({}), []);
});

Deno.test("a record is found by diffID, and a layer without one has no sources", async () => {
  const imageDir = await Deno.makeTempDir();
  try {
    const diffId = sha256Digest(A);
    assert.deepEqual(await layerSources(imageDir, diffId), []);
    const folder = join(imageDir, "distribution", "v2metadata-by-diffid", "sha256");
    await Deno.mkdir(folder, { recursive: true });
    const record = [{ Digest: `sha256:${B}`, SourceRepository: "r.example.com/app", HMAC: "" }];
    await Deno.writeTextFile(join(folder, A), JSON.stringify(record));
    assert.deepEqual(await layerSources(imageDir, diffId), [
      { digest: `sha256:${B}`, host: "r.example.com", repository: "app" },
    ]);
    await Deno.writeTextFile(join(folder, A), "[{");
    await assert.rejects(layerSources(imageDir, diffId), /Cannot read Docker's record of layer sha256:aaaa/);
  } finally {
    await Deno.remove(imageDir, { recursive: true });
  }
});
