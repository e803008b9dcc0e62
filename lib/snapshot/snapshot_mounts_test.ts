import { deepEqual, match, throws } from "node:assert/strict";
import { overlayFeatures } from "../layer/overlay/overlay_options.ts";
import { requirePlainPath, snapshotMounts } from "./snapshot_mounts.ts";

const OWN = { fs: "/s/3/fs", work: "/s/3/work" };
const FEATURES = overlayFeatures().map(([key, value]) => `${key}=${value}`).filter((option) =>
  option !== "metacopy=off"
);

Deno.test("a writable snapshot is a bind of its folder, or an overlay with it on top", () => {
  deepEqual(snapshotMounts("active", OWN, []), [{ type: "bind", source: "/s/3/fs", options: ["rw", "rbind"] }]);
  const options = [...FEATURES, "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"];
  deepEqual(snapshotMounts("active", OWN, ["/s/2/fs", "/s/1/fs"]), [{ type: "overlay", source: "overlay", options }]);
});

Deno.test("a view is a read-only bind of what is below, or an overlay of it", () => {
  deepEqual(snapshotMounts("view", OWN, []), [{ type: "bind", source: "/s/3/fs", options: ["ro", "rbind"] }]);
  deepEqual(snapshotMounts("view", OWN, ["/i"]), [{ type: "bind", source: "/i", options: ["ro", "rbind"] }]);
  const options = [...FEATURES, "lowerdir=/s/2/fs:/i"];
  deepEqual(snapshotMounts("view", OWN, ["/s/2/fs", "/i"]), [{ type: "overlay", source: "overlay", options }]);
});

Deno.test("overlays have no option by which BuildKit would compare whole trees", () => {
  const known = /^(index=off|userxattr|(workdir|upperdir|lowerdir|redirect_dir)=.*)$/;
  for (const kind of ["active", "view"] as const) {
    for (const option of snapshotMounts(kind, OWN, ["/s/2/fs", "/i"])[0]?.options ?? []) match(option, known);
  }
});

Deno.test("a folder that overlay options cannot name is refused", () => {
  requirePlainPath("/var/lib/nydus-gd/snapshotter");
  for (const path of ["/a:b", "/a,b", "/a\\b"]) throws(() => requirePlainPath(path), { code: "usage" });
});
