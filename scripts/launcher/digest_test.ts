/** The launcher's digests in C, beside published values and implementations that are not ours. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { xxhash64 } from "hash-wasm";

const PROGRAM = `#define _GNU_SOURCE
#include "pack.h"
#include <stdio.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct stat status;
    uint64_t quick, unused;
    uint8_t digest[32];
    int fd = open(argv[i], O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0 || !xxh64_of(fd, status.st_size, &quick) ||
        !digest_of(fd, 0, status.st_size, -1, digest))
      return 1;
    /* A page beyond the end of the file behaves like an unreadable one: an error, not the end of the process. */
    if (xxh64_of(fd, status.st_size + 8192, &unused) || errno != EIO) return 2;
    printf("%016llx ", (unsigned long long)quick);
    for (int j = 0; j < 32; j++) printf("%02x", digest[j]);
    printf("\\n");
    close(fd);
  }
  return 0;
}
`;

/** XXH64 and SHA-256 of each of `inputs`, in hexadecimal digits, by the launcher's code. */
async function digests(inputs: readonly Uint8Array<ArrayBuffer>[]): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  try {
    const source = join(folder, "digests.c"), program = join(folder, "digests");
    await Deno.writeTextFile(source, PROGRAM);
    const options = ["-std=c11", "-O2", "-fsanitize=undefined", "-fno-sanitize-recover", "-Wno-unused-function"];
    const { success, stderr } = await new Deno.Command("gcc", {
      args: [...options, "-I", import.meta.dirname ?? ".", "-o", program, source],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const paths = inputs.map((_, index) => join(folder, String(index)));
    for (const [index, bytes] of inputs.entries()) await Deno.writeFile(paths[index] ?? "", bytes);
    const output = await new Deno.Command(program, { args: paths }).output();
    assert.ok(output.success, new TextDecoder().decode(output.stderr));
    return new TextDecoder().decode(output.stdout).trimEnd().split("\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("XXH64 yields the published values for empty and short input and xxHash's sanity buffer", async () => {
  // The generator of xxHash's sanity check: byte n is the top byte of PRIME32 * PRIME64^n, modulo 2^64.
  let state = 2654435761n;
  const sanity = Uint8Array.from({ length: 222 }, () => {
    const byte = Number(state >> 56n);
    state = BigInt.asUintN(64, state * 11400714785074694797n);
    return byte;
  });
  const text = (value: string) => new TextEncoder().encode(value);
  const published: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] = [
    ["ef46db3751d8e999", text("")],
    ["d24ec4f1a98c6e5b", text("a")],
    ["44bc2cf5ad770999", text("abc")],
    ["e934a84adb052768", sanity.slice(0, 1)],
    ["8282dcc4994e35c8", sanity.slice(0, 14)],
    ["b641ae8cb691c174", sanity],
  ];
  const seen = await digests(published.map(([, bytes]) => bytes));
  assert.deepEqual(seen.map((line) => line.split(" ")[0]), published.map(([digest]) => digest));
});

Deno.test("XXH64 and SHA-256 agree with other implementations at lengths around block boundaries", async () => {
  const piece = 256 * 1024;
  const lengths = Array.from({ length: 131 }, (_, length) => length);
  for (const around of [piece, 2 * piece]) for (let d = -33; d <= 33; d += 1) lengths.push(around + d);
  const bytes = Uint8Array.from({ length: 2 * piece + 33 }, (_, index) => (index * 2654435761 >>> 13) & 255);
  const inputs = lengths.map((length) => bytes.slice(0, length));
  const expected = await Promise.all(
    inputs.map(async (input) => `${await xxhash64(input)} ${createHash("sha256").update(input).digest("hex")}`),
  );
  assert.deepEqual(await digests(inputs), expected);
});
