import assert from "node:assert/strict";
import { formatPlatform, matchesPlatform, parsePlatform } from "./platform.ts";

Deno.test("platforms are parsed in the words of Go and of uname", () => {
  const cases: [text: string, platform: string][] = [
    ["linux/amd64", "linux/amd64"],
    ["amd64", "linux/amd64"],
    ["Linux/x86_64", "linux/amd64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/arm/v6", "linux/arm/v6"],
  ];
  for (const [text, platform] of cases) assert.equal(formatPlatform(parsePlatform(text)), platform);
});

Deno.test("text that is not a platform is refused", () => {
  for (const text of ["", "/", "linux/", "a/b/c/d", "linux/am d64"]) {
    assert.throws(() => parsePlatform(text), /OS\/ARCH/);
  }
});

Deno.test("names of no operating system, architecture or variant are refused by name", () => {
  const cases: [text: string, refused: RegExp, hint: RegExp][] = [
    ["foo", /"foo": there is no architecture foo$/, /^one of 386, amd64, .*, wasm$/],
    ["linux", /no architecture linux$/, /amd64/],
    ["amd64/linux", /no operating system amd64$/, /^write it as linux\/amd64$/],
    ["linux/amd46", /no architecture amd46$/, /amd64/],
    ["linux/arm/7", /no variant 7 of arm$/, /^write it as linux\/arm\/v7$/],
  ];
  for (const [text, message, hint] of cases) assert.throws(() => parsePlatform(text), { code: "usage", message, hint });
});

Deno.test("an image matches its own platform, with the default variant if none is given", () => {
  const matches = (wanted: string, offered: string) => matchesPlatform(parsePlatform(wanted), parsePlatform(offered));
  assert.ok(matches("linux/arm64", "linux/arm64/v8"));
  assert.ok(matches("linux/arm/v7", "linux/arm"));
  assert.ok(!matches("linux/arm/v6", "linux/arm"));
  assert.ok(!matches("linux/amd64", "windows/amd64"));
});
