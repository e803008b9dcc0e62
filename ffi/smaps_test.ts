import assert from "node:assert/strict";
import { parseSmaps, programAreas, ProgramPages } from "./smaps.ts";

const HEADERS = `\
55b7b3869000-55b7b53f7000 r--p 00000000 fe:00 1327111                    /usr/bin/program
Size:              28216 kB
Rss:               15332 kB
Anonymous:             0 kB
55b7b566d000-55b7b9361000 r-xp 01b8e000 fe:00 1327111                    /usr/bin/program
Rss:               38740 kB
Anonymous:            12 kB
VmFlags: rd ex mr mw me
55b7b9361000-55b7b95d3000 rw-p 05881000 fe:00 1327111                    /usr/bin/program
Rss:                2504 kB
Anonymous:          2504 kB
7f00dbdc0000-7f00dbfe6000 r-xp 035cf000 fe:00 1327111                    /usr/bin/program
Rss:                2176 kB
7f00dc000000-7f00dc100000 r--p 00000000 fe:00 1327112                    /var/lib/image.boot
Rss:                 512 kB
7f00dc200000-7f00dc300000 r--s 00000000 fe:00 1327111                    /usr/bin/program
Rss:                 512 kB
7ffd8e9f5000-7ffd8ea16000 rw-p 00000000 00:00 0                          [stack]
Rss:                  64 kB
`;
Deno.test("each area has its addresses, file and sizes", () => {
  const areas = parseSmaps(HEADERS);
  assert.deepEqual(areas.map(({ permissions }) => permissions), [
    "r--p",
    "r-xp",
    "rw-p",
    "r-xp",
    "r--p",
    "r--s",
    "rw-p",
  ]);
  assert.deepEqual(areas[1], {
    start: 0x55b7b566d000n,
    length: 0x3cf4000,
    permissions: "r-xp",
    offset: 0x1b8e000,
    inode: 1327111,
    residentBytes: 38740 * 1024,
    anonymousBytes: 12 * 1024,
  });
  assert.equal(areas.at(-1)?.inode, 0);
});

Deno.test("the areas of the program are its own unmodified file-backed areas", () => {
  assert.deepEqual(programAreas(parseSmaps(HEADERS)).map(({ offset }) => offset), [0, 0x1b8e000, 0x35cf000]);
  assert.deepEqual(programAreas(parseSmaps("55b7b566d000-55b7b9361000 r-xp 00000000 00:00 0\n")), []);
});

Deno.test("dropped pages of the running program are loaded again on access", () => {
  const pages = ProgramPages.loaded();
  assert.equal(pages.drop(1 << 30), 0); // less than that is resident
  const before = Deno.memoryUsage().rss;
  const dropped = pages.drop(0);
  assert.ok(dropped > 1 << 20, `${dropped} bytes`);
  assert.ok(Deno.memoryUsage().rss < before);
  assert.equal(JSON.stringify(new Intl.NumberFormat("en").format(1e6)), '"1,000,000"');
});
