import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { isMapped, NO_ID_MAPS, rootOwner, toContainer, toHost } from "./id_maps.ts";

const MAPS = {
  uids: [{ containerId: 0, hostId: 100_000, size: 1000 }, { containerId: 1000, hostId: 500_000, size: 10 }],
  gids: [{ containerId: 0, hostId: 200_000, size: 65_536 }],
};

Deno.test("ids are shifted by the range that contains them, and ids outside are undefined", () => {
  deepEqual(toHost(MAPS, { uid: 0, gid: 5 }), { uid: 100_000, gid: 200_005 });
  deepEqual(toHost(MAPS, { uid: 1009, gid: 0 }), { uid: 500_009, gid: 200_000 });
  equal(toHost(MAPS, { uid: 1010, gid: 0 }), undefined);
  equal(toContainer(MAPS, { uid: 0, gid: 200_000 }), undefined);
  deepEqual(rootOwner(MAPS), { uid: 100_000, gid: 200_000 });
});

Deno.test("shifting to the host and back yields the same ids", () => {
  fc.assert(fc.property(fc.nat(1009), fc.nat(65_535), (uid, gid) => {
    const host = toHost(MAPS, { uid, gid });
    deepEqual(host && toContainer(MAPS, host), { uid, gid });
  }));
});

Deno.test("without maps nothing is shifted", () => {
  equal(isMapped(NO_ID_MAPS), false);
  for (const maps of [MAPS, { ...MAPS, uids: [] }, { ...MAPS, gids: [] }]) equal(isMapped(maps), true);
  deepEqual(toHost(NO_ID_MAPS, { uid: 7, gid: 4_000_000_000 }), { uid: 7, gid: 4_000_000_000 });
});
