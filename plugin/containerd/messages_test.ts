import { deepEqual, equal } from "node:assert/strict";
import { codecOf } from "./messages.ts";

Deno.test("a request is read as containerd writes it", () => {
  // PrepareSnapshotRequest{snapshotter: "n", key: "k", parent: "p", labels: {"a": "b"}}
  const bytes = Uint8Array.fromHex("0a016e" + "12016b" + "1a0170" + "2206" + "0a0161" + "120162");
  deepEqual(codecOf("CreateRequest").decode(bytes), {
    snapshotter: "n",
    key: "k",
    parent: "p",
    labels: { a: "b" },
  });
});

Deno.test("fields that are not sent have their defaults", () => {
  deepEqual(codecOf("CreateRequest").decode(new Uint8Array()), { snapshotter: "", key: "", parent: "", labels: {} });
  deepEqual(codecOf("UpdateRequest").decode(new Uint8Array()), { snapshotter: "", info: null, updateMask: null });
  deepEqual(codecOf("ListRequest").decode(new Uint8Array()), { snapshotter: "", filters: [] });
});

Deno.test("a response is written as containerd reads it", () => {
  const mounts = [{ type: "bind", source: "/s", options: ["ro", "rbind"] }];
  // PrepareSnapshotResponse{mounts: {type: "bind", source: "/s", options: ["ro", "rbind"]}}
  const expected = "0a15" + "0a0462696e64" + "12022f73" + "2202726f" + "22057262696e64";
  equal(codecOf("MountsResponse").encode({ mounts }).toString("hex"), expected);
});

Deno.test("times and sizes keep all their digits", () => {
  const info = {
    name: "n",
    parent: "",
    kind: 3,
    createdAt: { seconds: 1_794_000_000, nanos: 123_456_789 },
    updatedAt: { seconds: 1, nanos: 0 },
    labels: { "containerd.io/snapshot.ref": "sha256:ab" },
  };
  const response = codecOf("InfoResponse");
  deepEqual(response.decode(response.encode({ info })), { info });
  const usage = codecOf("UsageResponse");
  deepEqual(usage.decode(usage.encode({ size: 2 ** 52 + 1, inodes: 5 })), { size: 2 ** 52 + 1, inodes: 5 });
});
