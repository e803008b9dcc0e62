import assert from "node:assert/strict";
import { IDLE_STATUS as IDLE } from "../../tests/support/serve/idle_status.ts";
import type { StatusDocument } from "../image/lazy/report/status_document.ts";
import { durationText, statusLines } from "./status_text.ts";

function blob(fetched: number, size: number, ready: number, chunks: number): StatusDocument["images"][number]["blobs"] {
  return [{
    id: "b",
    compressed_bytes: size,
    uncompressed_bytes: size,
    fetched_bytes: fetched,
    chunks,
    chunks_ready: ready,
    requests: 1,
    failed_requests: 0,
    corrupt_chunks: 0,
  }];
}

Deno.test("a daemon without images is described in a few lines", () => {
  assert.deepEqual(statusLines(IDLE), [
    "nydus-gd 0.1.0, up 3h 12m, kernel 6.1.0, root /var/lib/nydus-gd",
    "data path  fuse (selected by name)",
    "cache      /c: 0 B used, 20.0 GB free of 50.0 GB",
    "fetched    0 B in 0 requests",
    "reads      none yet",
    "layers     Docker has not connected yet",
    "",
    "no lazy image is mounted",
  ]);
});

Deno.test("snapshots of containerd are counted, and where they are served, Docker is not waited for", () => {
  const snapshots = { dir: "/s", count: 3 };
  const rows = (status: StatusDocument) => statusLines(status).filter((line) => /^(layers|snapshots) /.test(line));
  assert.deepEqual(rows({ ...IDLE, snapshots }), ["snapshots  3 in /s"]);
  assert.deepEqual(rows({ ...IDLE, snapshots, layers: { home: "/h", mounted: 2 } }), [
    "layers     2 mounted in /h",
    "snapshots  3 in /s",
  ]);
});

Deno.test("bytes that came from the cache are shown where they are known", () => {
  const fuse = { requests: 36, cached_reads: 36, cached_read_bytes: 0, misses: 2, waiting_reads: 0 };
  assert.equal(statusLines({ ...IDLE, fuse })[4], "reads      36 from the cache, 2 had to wait, 0 wait now");
});

Deno.test("images form a table, with remarks and problems below it", () => {
  const image = {
    layer: "0123456789abcdef",
    names: ["reg:5000/app:1", "reg:5000/app:2"],
    home: "registry reg:5000/app",
    fs_driver: "fuse",
    refusal: "Cannot use fs_driver erofs-fuse: x",
    path: "/p",
    used_by: [
      { layer: "1", container: "c1", name: "web" },
      { layer: "2", container: "c2c2c2c2c2c2c2", name: null },
      { layer: "3333", container: null, name: null },
      { layer: "4", container: "c4", name: "api" },
    ],
    misses: 41,
    misses_per_second: 0.3,
    blobs: [...blob(3_300_000, 40e6, 100, 1000), ...blob(10_000, 9_100_000, 20, 403)],
    prefetch: { state: "incomplete", ready_bytes: 5, failures: 2 },
    errors: ["Cannot read blob b: HTTP 503"],
  };
  const idle = { refusal: null, used_by: [], misses: 0, misses_per_second: 0, blobs: [], prefetch: null, errors: [] };
  const bare = { ...image, ...idle, layer: "f", names: [], home: "localfs /b" };
  const lines = statusLines({
    ...IDLE,
    cache: { dir: "/c", usage: null },
    fetched: { bytes: 3_310_000, requests: 41, failed_requests: 3, corrupt_chunks: 1 },
    fuse: { requests: 9000, cached_reads: 2115, cached_read_bytes: 48_200_000, misses: 41, waiting_reads: 1 },
    layers: { home: "/h", mounted: 2 },
    images: [image, bare],
    problems: [{ severity: "failed", message: "x" }, { severity: "degraded", message: "y" }],
  });
  assert.deepEqual(lines.slice(2), [
    "cache      /c: unknown",
    "fetched    3.31 MB in 41 requests, 3 failed, 1 chunk corrupt",
    "reads      2115 from the cache (48.2 MB), 41 had to wait, 1 wait now",
    "layers     2 mounted in /h",
    "",
    "IMAGE              LAYER         FETCHED  OF       READY  REQUESTS  MISSES/S  CONTAINERS         DATA PATH  HOME",
    "reg:5000/app:1 +1  0123456789ab  3.31 MB  49.1 MB  8 %    2         0.3       api, web, 3333 +1  fuse       registry reg:5000/app",
    "-                  f             0 B      0 B      -      0         0.0       -                  fuse       localfs /b",
    "0123456789ab: served by fuse: Cannot use fs_driver erofs-fuse: x",
    "0123456789ab: prefetch incomplete, 2 ranges failed",
    "0123456789ab: Cannot read blob b: HTTP 503",
    "FAILED: x",
    "warning: y",
  ]);
});

Deno.test("on a terminal columns that are told elsewhere are left out, names are cut, and other lines are wrapped", () => {
  const image = {
    layer: "0123456789abcdef",
    names: ["registry.example.com/team/application:1.2.3", "registry.example.com/team/application:1.2"],
    home: "registry registry.example.com/team/application",
    fs_driver: "erofs-fanotify",
    refusal: null,
    path: "/p",
    used_by: ["kubernetes-ingress", "shop-frontend-7f9c", "api"].map((name) => ({ layer: "1", container: "c", name })),
    misses: 41,
    misses_per_second: 0.3,
    blobs: blob(3_300_000, 49_100_000, 100, 1000),
    prefetch: null,
    errors: ["Cannot read blob 3f2a0b1c2d3e of registry.example.com/team/application: its server answered HTTP 503"],
  };
  const status = { ...IDLE, images: [image], data_path: { fs_driver: "erofs-fanotify", reason: "the best here" } };
  const table = (width: number) => statusLines(status, width).slice(7);
  const lastHeading = (width: number) => table(width)[0]?.split(/ {2,}/).at(-1);
  assert.deepEqual([250, 200, 150].map(lastHeading), ["HOME", "DATA PATH", "CONTAINERS"]);
  assert.deepEqual(table(99), [
    "IMAGE                             LAYER         FETCHED  OF       READY  MISSES/S  CONTAINERS",
    "…e.com/team/application:1.2.3 +1  0123456789ab  3.30 MB  49.1 MB  10 %   0.3       api, kubernetes…",
    "0123456789ab: Cannot read blob 3f2a0b1c2d3e of registry.example.com/team/application: its server",
    "  answered HTTP 503",
  ]);
  for (let width = 76; width < 250; width++) {
    assert.deepEqual(statusLines(status, width).filter((line) => line.length > width), []);
  }
});

Deno.test("text of the server cannot control the terminal", () => {
  const problems = [{ severity: "degraded" as const, message: "bad\x1b[2J\nline" }];
  const images = [{
    layer: "l",
    names: ["\x1b]0;title\x07"],
    home: "h\x9b1m",
    fs_driver: "fuse",
    refusal: "\x1b[31m",
    path: "/p",
    used_by: [{ layer: "l", container: "c", name: "\x1b[1m" }],
    misses: 0,
    misses_per_second: 0,
    blobs: [],
    prefetch: null,
    errors: ["\r\x08"],
  }];
  // deno-lint-ignore no-control-regex
  for (const line of statusLines({ ...IDLE, problems, images }, 80)) assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f]/);
});

Deno.test("durations have the two largest nonzero units", () => {
  const cases: [seconds: number, text: string][] = [
    [0, "0s"],
    [59, "59s"],
    [60, "1m"],
    [245, "4m 5s"],
    [3600, "1h"],
    [3605, "1h"],
    [11_525, "3h 12m"],
    [86_400 * 2 + 3600 * 3, "2d 3h"],
  ];
  for (const [seconds, text] of cases) assert.equal(durationText(seconds), text);
});
