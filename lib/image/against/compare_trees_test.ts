import assert from "node:assert/strict";
import { ConvertKit } from "../../../tests/support/image/convert_kit.ts";
import { writeLayout } from "../../../tests/support/image/layout_builder.ts";
import { anonymousAccess } from "../../../tests/support/image/source_access.ts";
import { dir, fifo, file, hardlink, tarOf, xattrs } from "../../../tests/support/archive/tar_builder.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { checkImage } from "../check/check_image.ts";
import { locateImage } from "../source/locate_image.ts";
import { openSource } from "./open_source.ts";

const signal = new AbortController().signal;

Deno.test("a converted image equals its layers where formats and unpacking change what a tar says", async () => {
  const acl = String.fromCharCode(2, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 4, 0, 7, 0, 0, 0, 0, 0, 32, 0, 7, 0, 0, 0, 0, 0);
  const tar = tarOf(
    dir("./", { mode: 0o700, uid: 7 }),
    dir("d", xattrs({ "user.first": "1" })),
    dir("d", { mtimeSec: -1, ...xattrs({ "user.second": "1", "com.apple.provenance": "1" }) }),
    file("d/f", "x", { mode: 0o600, ...xattrs({ "system.posix_acl_access": acl }) }),
    hardlink("d/g", "d/f", { mode: 0o640 }),
    fifo("p"), // RAFS v5 has hard links to regular files only
    hardlink("q", "p"),
  );
  for (const fsVersion of [5, 6] as const) {
    using kit = new ConvertKit();
    using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
    await writeLayout(kit.temp.join("source"), { layers: [{ tar }] });
    await kit.convert(kit.named("source"), kit.named("target"), { fsVersion });
    const access = anonymousAccess(http, kit.temp.path);
    const { source, backend } = await locateImage({ what: kit.named("target") }, access, signal);
    const against = await openSource(kit.named("source"), access, signal, () => {});
    const onProgress = () => {};
    const { findings } = await checkImage({
      ...{ source, sourceName: source, backend, against, signal, onProgress },
      chunks: true,
      folder: kit.temp.path,
    });
    assert.deepEqual(findings, []);
  }
});
