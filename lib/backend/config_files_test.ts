import assert from "node:assert/strict";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { hasCode } from "../base/errors.ts";
import { DEFAULT_SETTINGS } from "../base/settings.ts";
import { MAX_CONFIG_BYTES } from "./nydusd_config.ts";
import { readNydusdConfig, readSettings } from "./config_files.ts";

Deno.test("a file at its default path may be missing, a named one may not", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("file"), "");
  for (const path of [temp.join("none"), temp.join("file/below")]) {
    assert.equal((await readSettings({ path, explicit: false })).mount.workers, DEFAULT_SETTINGS.mount.workers);
    assert.equal(await readNydusdConfig({ path, explicit: false }), undefined);
    const missing = (error: unknown) => hasCode(error, "not-found") && error.message.includes(path);
    await assert.rejects(readSettings({ path, explicit: true }), missing);
    await assert.rejects(readNydusdConfig({ path, explicit: true }), missing);
  }
});

Deno.test("settings are read from their file, and refused with its name and line", async () => {
  using temp = TempDir.make();
  const path = temp.join("settings.toml");
  await Deno.writeTextFile(path, "[mount]\nworkers = 7\n");
  assert.equal((await readSettings({ path, explicit: true })).mount.workers, 7);
  await Deno.writeTextFile(path, "[mount]\nworker = 7\n");
  await assert.rejects(
    readSettings({ path, explicit: false }),
    (error) => hasCode(error, "config") && error.message.startsWith(`Cannot read settings ${path}: line 2: `),
  );
});

Deno.test("nydusd's configuration is read in both of its forms", async () => {
  using temp = TempDir.make();
  const path = temp.join("config");
  const v1 = { device: { backend: { type: "localfs", config: { dir: "/blobs" } }, cache: {} }, mode: "direct" };
  await Deno.writeTextFile(path, JSON.stringify(v1));
  assert.equal((await readNydusdConfig({ path, explicit: true }))?.version, 1);
  await Deno.writeTextFile(path, 'version = 2\n[backend]\ntype = "localfs"\n[backend.localfs]\ndir = "/blobs"\n');
  assert.equal((await readNydusdConfig({ path, explicit: true }))?.version, 2);
});

Deno.test("a file that is not regular, too large or unreadable is refused by name", async () => {
  using temp = TempDir.make();
  const large = temp.join("large");
  await Deno.writeFile(large, new Uint8Array(MAX_CONFIG_BYTES + 1));
  await Deno.symlink("loop", temp.join("loop"));
  for (const path of [temp.path, large, "/dev/zero", temp.join("loop")]) {
    const refused = (error: unknown) => hasCode(error, "config") && error.message.includes(` ${path}: `);
    await assert.rejects(readSettings({ path, explicit: false }), refused);
    await assert.rejects(readNydusdConfig({ path, explicit: false }), refused);
  }
});

Deno.test("an unsupported key is refused with its file and a hint, a key without effect is accepted", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  const path = temp.join("config.json");
  const write = (cache: object) => {
    const backend = { type: "localfs", config: { dir: "/blobs" } };
    return Deno.writeTextFile(path, JSON.stringify({ device: { backend, cache }, mode: "direct" }));
  };
  await write({ compressed: true });
  await assert.rejects(readNydusdConfig({ path, explicit: true }), (error) => {
    assert.ok(hasCode(error, "unsupported"));
    const start = `Cannot read configuration ${path}: device.cache.compressed is not supported, `;
    assert.ok(error.message.startsWith(start), error.message);
    assert.match(error.hint ?? "", /^remove the key/);
    return true;
  });
  await write({ type: "fscache", colour: 1 });
  assert.equal((await readNydusdConfig({ path, explicit: true }))?.cache.type, "fscache");
});
