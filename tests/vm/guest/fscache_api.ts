/**
 * nydusd's API: an image is put, prefetched, mounted by mount(8), and survives a kill of the daemon without its
 * backend. The disk may be as full as the settings allow.
 *
 * @module
 */
import assert from "node:assert/strict";
import { askOverUnix } from "../../../lib/base/unix_http.ts";
import { buildFrom } from "../../support/rafs/built_rafs.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../../support/serve/graph_driver_process.ts";
import { file, tarOf } from "../../support/archive/tar_builder.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { until } from "../../support/until.ts";
import { knownBytes } from "../../support/mount/verifying_reader.ts";
import { Ballast } from "./ballast.ts";
import { runProgram } from "./run_program.ts";

const FILE_BYTES = 256 << 10;
const CHUNK = 64 << 10;
/** More than the kernel keeps free by itself, less than is available. */
const MIN_FREE_PERCENT = 50;
const ANSWER_MS = 120_000;
/** Polling interval for the log. */
const POLL_MS = 100;

fuseTest("an offered image is mounted manually, also after a kill of the daemon, until it is deleted", async () => {
  using temp = TempDir.make();
  const files = [0, 1].map((number) => knownBytes(number, FILE_BYTES));
  const tar = tarOf(...files.map((content, number) => file(String(number), content)));
  const image = await buildFrom(tar, { chunkSize: CHUNK }, 1 << 20);
  for (const folder of ["blobs", "mnt"]) Deno.mkdirSync(temp.join(folder));
  Deno.writeFileSync(temp.join(`blobs/${image.blobId}`), image.blob);
  Deno.writeFileSync(temp.join("image.boot"), image.bytes);
  const apisock = temp.join("api.sock"), mnt = temp.join("mnt"), options = "domain_id=shared,fsid=app";
  const ask = async (method: "PUT" | "GET" | "DELETE", query: string, body?: unknown) => {
    const request = { method, path: `/api/v2/blobs${query}`, body };
    const { status, text } = await askOverUnix(apisock, request, AbortSignal.timeout(ANSWER_MS));
    assert.equal(status, method === "GET" ? 200 : 204, text);
    return text;
  };
  const logPath = temp.join("serve.log");
  await using driver = await GraphDriverProcess.start(temp.path, {
    args: ["--apisock", apisock, "--fs-driver", "fuse"],
    env: { NYDUS_GD_PREFETCH_ENABLED: "true", NYDUS_GD_CACHE_MIN_FREE: `${MIN_FREE_PERCENT}%` },
    logLevel: "info",
    logPath,
  });
  const entry = {
    type: "bootstrap",
    id: "app",
    domain_id: "shared",
    config: {
      backend_type: "localfs",
      backend_config: { dir: temp.join("blobs") },
      cache_type: "fscache",
      cache_config: { work_dir: temp.join("unused") },
      metadata_path: temp.join("image.boot"),
    },
    fs_prefetch: { enable: true, prefetch_all: true },
  };
  await ask("PUT", "", entry);
  assert.deepEqual(JSON.parse(await ask("GET", "?domain_id=shared")), { blobs: [entry] });
  const isPrefetched = async () => (await Deno.readTextFile(logPath)).includes('"image prefetched"');
  await until("the image is prefetched", isPrefetched, POLL_MS);
  await Deno.remove(temp.join("blobs"), { recursive: true });
  await runProgram("mount", "-t", "erofs", "none", "-o", options, mnt);
  try {
    {
      using _ballast = Ballast.at(temp.join("ballast"), MIN_FREE_PERCENT - 1);
      await assert.rejects(runProgram("cat", `${mnt}/0`), /Input\/output error/);
    }
    assert.deepEqual(await runProgram("cat", `${mnt}/0`), files[0]);
    await driver.kill();
    const waiting = runProgram("cat", `${mnt}/1`);
    await driver.restart();
    assert.deepEqual(await waiting, files[1]);
  } finally {
    await runProgram("umount", mnt);
  }
  await ask("DELETE", "?domain_id=shared&blob_id=app");
  assert.deepEqual(JSON.parse(await ask("GET", "?domain_id=shared")), { blobs: [] });
  await assert.rejects(runProgram("mount", "-t", "erofs", "none", "-o", options, mnt));
});
