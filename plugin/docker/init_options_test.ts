import { deepEqual, throws } from "node:assert/strict";
import { readInit } from "./init_options.ts";

const INIT = { Home: "/var/lib/docker/nydus-gd", Opts: [], UIDMaps: [], GIDMaps: [] };

Deno.test("options are parsed by key", () => {
  deepEqual(
    readInit({ ...INIT, Opts: ["nydus-gd.fs-driver=fuse", "NYDUS-GD.config=/etc/a=b.json", "nydus-gd.size=10G"] }),
    {
      home: INIT.Home,
      options: { "fs-driver": "fuse", config: "/etc/a=b.json", size: "10G" },
      idMaps: { uids: [], gids: [] },
    },
  );
});

Deno.test("an unknown option is refused by name, with the known ones", () => {
  for (const option of ["overlay2.size=10G", "nydus-gd.speed=high", "nydus-gd.config", ""]) {
    throws(() => readInit({ ...INIT, Opts: [option] }), {
      code: "usage",
      message: `Cannot start graph driver: storage option "${option}" is unknown`,
      hint: /nydus-gd\.fs-driver/,
    });
  }
});

Deno.test("a home is a normalised absolute path below the root", () => {
  for (const home of ["/var/lib/x", "/var/lib/x//", "/var//lib/./y/../x"]) {
    deepEqual(readInit({ ...INIT, Home: home }).home, "/var/lib/x");
  }
  for (const home of ["", "relative", "./x", "/", "//", "/a/../..", "/a\0b"]) {
    throws(() => readInit({ ...INIT, Home: home }), { code: "usage" });
  }
});

Deno.test("user namespace maps are taken over, the identity means none", () => {
  const identity = { container_id: 0, host_id: 0, size: 4294967295 };
  deepEqual(readInit({ ...INIT, UIDMaps: [identity], GIDMaps: [identity] }).idMaps, { uids: [], gids: [] });
  const remapped = { container_id: 0, host_id: 100000, size: 65536 };
  deepEqual(readInit({ ...INIT, UIDMaps: [remapped], GIDMaps: [identity] }).idMaps, {
    uids: [{ containerId: 0, hostId: 100000, size: 65536 }],
    gids: [],
  });
});
