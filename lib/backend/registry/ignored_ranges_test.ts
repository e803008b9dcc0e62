/**
 * Registries that send whole blobs, whatever range is asked for.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { thrownBy } from "../../../tests/support/thrown_by.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { TransferError } from "../http/transfer_error.ts";
import { openRegistry } from "../open_backend.ts";
import { Mirrors } from "./certs_dir.ts";
import { ANONYMOUS } from "./keychain.ts";

const BYTES = distinctBytes(6 << 20);

Deno.test("a registry that ignores ranges is told at once, with the size of the blob", async () => {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 9 });
  const location = { host: registry.host, repo: "app", scheme: "http" } as const;
  const blob = openRegistry(location, { http, keychain: ANONYMOUS }).blob(registry.addBlob(BYTES));
  registry.lasting = { kind: "whole" };
  assert.deepEqual(await blob.read(1 << 20, 9, ON_DEMAND), BYTES.slice(1 << 20, (1 << 20) + 9));
  const error = await thrownBy(() => blob.read(5 << 20, 9, ON_DEMAND));
  assert.ok(error instanceof TransferError);
  assert.match(error.message, /^Cannot read blob \w+ from registry .*: 127\.0\.0\.1:\d+ ignores ranges$/);
  assert.deepEqual([error.wholeBytes, error.prospect], [BYTES.length, "permanent"]);
  assert.equal(registry.count("GET", "/v2/"), 2);
});

Deno.test("a mirror that ignores ranges is passed over, unless no other host has the blob", async () => {
  await using _quiet = await quietLogs();
  await using mirror = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  using temp = TempDir.make();
  Deno.mkdirSync(temp.join(upstream.host));
  const hosts = `server = "${upstream.url}"\n[host."${mirror.url}"]\n`;
  Deno.writeTextFileSync(temp.join(`${upstream.host}/hosts.toml`), hosts);
  const location = { host: upstream.host, repo: "app", scheme: "http" } as const;
  const mirrors = new Mirrors([temp.path]);
  const blob = openRegistry(location, { http, keychain: ANONYMOUS, mirrors }).blob(upstream.addBlob(BYTES));
  mirror.addBlob(BYTES);
  mirror.lasting = { kind: "whole" };
  assert.deepEqual(await blob.read(5 << 20, 9, ON_DEMAND), BYTES.slice(5 << 20, (5 << 20) + 9));
  upstream.refusal = 503;
  const error = await thrownBy(() => blob.read(5 << 20, 9, ON_DEMAND));
  assert.ok(error instanceof TransferError);
  assert.deepEqual([error.wholeBytes, error.prospect], [BYTES.length, "permanent"]);
  assert.match(error.message, /HTTP 503.*; mirror 127\.0\.0\.1:\d+: .* ignores ranges$/);
});
