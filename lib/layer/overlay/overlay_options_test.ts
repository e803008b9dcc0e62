import { equal } from "node:assert/strict";
import fc from "fast-check";
import {
  byteLength,
  effectiveLabel,
  escapeOverlayPath,
  isPlainOverlayValue,
  overlayOptions,
} from "./overlay_options.ts";

Deno.test("lower layers are listed topmost first, with colons and commas escaped", () => {
  const options = overlayOptions({
    lowers: ["/h:latest/b/diff", "/h,x/a/diff"],
    upper: { diff: "/h/c/diff", work: "/h/c/work" },
  }, [["index", "off"]]);
  equal(
    options,
    "index=off,lowerdir=/h\\:latest/b/diff:/h\\,x/a/diff,upperdir=/h/c/diff,workdir=/h/c/work",
  );
});

Deno.test("a label is passed as context option, and cannot break out of its quotes", () => {
  const label = "system_u:object_r:container_file_t:s0:c1,c2";
  equal(overlayOptions({ lowers: ["/a", "/b"], label }, []), `lowerdir=/a:/b,context="${label}"`);
  equal(overlayOptions({ lowers: ["/a", "/b"], label: 'x",upperdir="/' }, []), 'lowerdir=/a:/b,context="x,upperdir=/"');
  equal(overlayOptions({ lowers: ["/a", "/b"], label: "" }, []), "lowerdir=/a:/b");
});

Deno.test("a label is passed only to a kernel with SELinux", async () => {
  const label = "system_u:object_r:container_file_t:s0:c1,c2";
  const enforce = await Deno.makeTempFile();
  try {
    equal(effectiveLabel(label, enforce), label);
  } finally {
    await Deno.remove(enforce);
  }
  equal(effectiveLabel(label, enforce), "");
  equal(effectiveLabel("", "/"), "");
});

Deno.test("an escaped path is restored when the kernel splits and unescapes the option", () => {
  fc.assert(fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (paths) => {
    const parts = paths.map(escapeOverlayPath).join(":").match(/(?:\\.|[^:\\])+/gsu) ?? [];
    equal(parts.map((part) => part.replace(/\\(.)/gsu, "$1")).join("\0"), paths.join("\0"));
  }));
});

Deno.test("a value that fsconfig would alter or truncate is not plain", () => {
  equal(isPlainOverlayValue("/var/lib/docker/nydus-gd/a/diff"), true);
  equal(isPlainOverlayValue("/a".repeat(127)), true);
  for (const path of ["/a:b", "/a,b", "/a\\b", "/" + "ä".repeat(128)]) equal(isPlainOverlayValue(path), false, path);
});

Deno.test("lengths are counted in bytes", () => equal(byteLength("ä"), 2));
