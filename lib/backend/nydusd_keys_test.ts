/**
 * Key by key: each one is applied, reported or refused, by its name in the file; so are invalid values.
 *
 * @module
 */
import assert from "node:assert/strict";
import { stringify } from "smol-toml";
import {
  BACKEND_KEYS,
  BACKEND_SECTIONS,
  FILE_KEYS,
  type KeyCase,
  keysOfBackend,
  keysOfFile,
  withKey,
} from "../../tests/support/backend/nydusd_keys.ts";
import { BACKEND_TYPES, type BackendType } from "./backend_config.ts";
import { type NydusdConfig, parseNydusdConfig } from "./nydusd_config.ts";
import { hasCode } from "../base/errors.ts";
import { checkNydusdKeys } from "./nydusd_keys.ts";

type Form = "v1 JSON" | "v2 JSON" | "v2 TOML";

const base = (version: 1 | 2, type: BackendType = "localfs"): object =>
  version === 1
    ? { device: { backend: { type, config: BACKEND_SECTIONS[type] }, cache: { type: "blobcache" } }, mode: "direct" }
    : { version: 2, backend: { type, [type]: BACKEND_SECTIONS[type] }, cache: { type: "filecache" } };

function read(document: object, form: Form): { config: NydusdConfig; warnings: string[] } {
  const config = parseNydusdConfig(form === "v2 TOML" ? stringify(document) : JSON.stringify(document));
  return { config, warnings: [...config.warnings, ...checkNydusdKeys(config)] };
}

/** Returns a minimal file in which the key takes effect. */
function fileWith({ key }: KeyCase, value: unknown, document: object): object {
  let around = document;
  if (key === "cache.fscache.work_dir") around = withKey(around, "cache.type", "fscache");
  const section = /^((?:cache|rafs)\.prefetch)\.(?!enable)/.exec(key)?.[1];
  if (section !== undefined) around = withKey(around, `${section}.enable`, false);
  return withKey(around, key, value);
}

function check(keyCase: KeyCase, form: Form, document: object, name = keyCase.key): void {
  const { fate, value, wrong } = keyCase;
  const before = read(fileWith(keyCase, undefined, document), form);
  const changed = fileWith(keyCase, value, document);
  if (fate === "refused") {
    assert.throws(() => read(changed, form), (error) => {
      assert.ok(hasCode(error, "unsupported"), String(error));
      assert.ok(error.message.startsWith(`Cannot read configuration: ${name} is not supported, `), error.message);
      assert.match(error.hint ?? "", /^remove the key/);
      return true;
    });
  } else if (fate === "warned") {
    const warnings = read(changed, form).warnings.filter((words) => !before.warnings.includes(words));
    assert.equal(warnings.length, 1, name);
    assert.ok(warnings[0]?.startsWith(`Configuration key ${name} has no effect here: `), `${warnings[0]}`);
  } else {
    const after = read(changed, form);
    assert.deepEqual(after.warnings, before.warnings, name);
    if (name !== "device.cache.config.encryption_key" && name !== "cache.filecache.encryption_key") {
      assert.notDeepEqual(after.config, before.config, name);
    }
  }
  if (wrong !== undefined) isNamed(fileWith(keyCase, wrong, document), form, name);
}

/** Expects a file with an invalid or missing value at `name` to be refused by that name. */
function isNamed(document: object, form: Form, name: string): void {
  assert.throws(() => read(document, form), (error) => {
    assert.ok(hasCode(error, "config"), String(error));
    assert.match(error.message, new RegExp(`^Cannot read configuration: ${name.replaceAll(".", "\\.")}(\\[0\\])? `));
    return true;
  });
}

for (const form of ["v1 JSON", "v2 JSON", "v2 TOML"] as const) {
  const version = form === "v1 JSON" ? 1 : 2;
  Deno.test(`${form}: every key of the file is applied, reported or refused by name`, () => {
    const document = base(version);
    const cases = FILE_KEYS[version];
    assert.deepEqual(cases.map(({ key }) => key).sort(), keysOfFile(version).sort());
    for (const keyCase of cases) {
      if (keyCase.fate !== "needed") check(keyCase, form, document);
      else {
        if (keyCase.value !== undefined) read(withKey(document, keyCase.key, keyCase.value), form);
        isNamed(withKey(document, keyCase.key, keyCase.wrong), form, keyCase.key);
        // without a version the file is read as v1
        if (keyCase.key !== "version") isNamed(withKey(document, keyCase.key, undefined), form, keyCase.key);
      }
    }
  });

  for (const type of BACKEND_TYPES.filter((type) => version === 2 || type !== "http-proxy")) {
    Deno.test(`${form}: every key of the backend ${type} is applied, reported or refused by name`, () => {
      const document = base(version, type);
      const section = version === 1 ? "device.backend.config" : `backend.${type}`;
      assert.deepEqual(BACKEND_KEYS[type].map(({ key }) => key).sort(), keysOfBackend(type).sort());
      for (const { key, ...rest } of BACKEND_KEYS[type]) {
        const name = `${section}.${key}`;
        if (rest.fate === "needed") isNamed(withKey(document, name, undefined), form, name);
        else if (type === "localfs" && key === "dir") isNamed(withKey(document, name, 7), form, name);
        else check({ key: name, ...rest }, form, document);
      }
      const { warnings } = read(withKey(document, `${section}.colour`, 1), form);
      assert.deepEqual(warnings, [`Configuration key ${section}.colour is unknown and ignored`]);
    });
  }
}

Deno.test("dummycache, an empty type and every name of the kept cache cause no report", () => {
  for (const type of ["", "blobcache", "filecache", "fscache", "dummycache"]) {
    assert.deepEqual(read(withKey(base(1), "device.cache.type", type), "v1 JSON").warnings, [], type);
  }
});
