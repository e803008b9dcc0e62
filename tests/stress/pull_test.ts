/**
 * Fuzzes the inputs of `nydus-gd pull`: the beginning of a layer, dockerd's messages, and its own output to dockerd.
 *
 * @module
 */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { parseStep } from "../../lib/image/docker/progress_stream.ts";
import { beginsWithBootstrap } from "../../lib/image/source/image_form.ts";
import { readPulledImage } from "../../lib/image/lazy/records/pulled_images.ts";
import { Mutator } from "../support/fuzz/mutate_bytes.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";

/** Must not occur in any message; as long as real secrets. */
const SECRET = "hunter2-5cb1f1b4b0fa49d6a4ab";

const TARS = [
  tarOf(dir("image"), file("image/image.boot", "x".repeat(3000)), file("image/nydus-gd.json", "{}")),
  tarOf(file("image.boot", "x")),
  tarOf(dir("bin"), file("bin/sh", "x".repeat(5000))),
];

fuzz(import.meta, {
  name: "beginnings of layers",
  inputs: () => new Mutator(TARS.flatMap((tar) => [{ bytes: tar }, { bytes: new Uint8Array(gzipSync(tar)) }])),
  open: () => (bytes) => assert.equal(typeof beginsWithBootstrap(bytes), "boolean"),
});

fuzz(import.meta, {
  name: "Docker's progress",
  inputs: () =>
    new TextMutator([
      '{"status":"Downloading","progressDetail":{"current":1048576,"total":49103123},"progress":"[=> ]","id":"f2a1c0de"}',
      '{"errorDetail":{"message":"manifest for x:1 not found"},"error":"manifest for x:1 not found"}',
      '{"stream":"Loaded image: x:1\\n"}',
    ], { json: true, words: ["status", "id", "progressDetail", "error", "null"] }),
  open: () => (line) => {
    const step = parseStep(line, "pull x:1");
    if (step === undefined) return;
    assert.equal(typeof step.status, "string");
    assert.match(typeof step.current, /^(number|undefined)$/);
  },
});

fuzz(import.meta, {
  name: "records of pulled images",
  inputs: () =>
    new TextMutator([
      JSON.stringify({
        version: 1,
        reference: "r.example:5000/team/app:1.0",
        registry: "r.example:5000",
        repository: "team/app",
        pulledAt: "2026-01-02T03:04:05.678Z",
        logins: [
          { host: "r.example:5000", kind: "basic", user: "alice", password: SECRET },
          { host: "docker.io", kind: "identity-token", token: SECRET },
        ],
      }),
    ], { json: true, words: ["logins", "kind", "registry-token", "host", "version"] }),
  open: () => (text) => {
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch (error) {
      if (error instanceof SyntaxError) return;
      throw error;
    }
    try {
      const { registry, repository } = readPulledImage(document);
      assert.equal(new URL(`https://${registry}/v2/${repository}/x`).pathname, `/v2/${repository}/x`);
    } catch (error) {
      assert.ok(!String(error).includes(SECRET));
      throw error;
    }
  },
});
