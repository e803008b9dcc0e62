/**
 * Text output of `nydus-gd status`.
 *
 * ```
 * nydus-gd 0.1.0, up 3h 12m, kernel 6.1.0-18-amd64, root /var/lib/nydus-gd
 * data path  fuse (selected by name)
 * cache      /var/lib/nydus-gd/cache: 3.31 MB used, 20.1 GB free of 50.0 GB
 * fetched    3.31 MB in 41 requests
 * reads      2115 from the cache (48.2 MB), 41 had to wait, 0 wait now
 * layers     2 mounted in /var/lib/docker/nydus-gd
 *
 * IMAGE              LAYER         FETCHED  OF       READY  REQUESTS  MISSES/S  CONTAINERS  DATA PATH  HOME
 * reg.example/app:1  7c9e0123abcd  3.31 MB  49.1 MB  8 %    41        0.3       web, db     fuse       registry reg.example
 * ```
 * On a terminal the text fits its width: the last columns are left out, names are cut, other lines are wrapped.
 * All text that an image or a server can influence is escaped for the terminal.
 *
 * @module
 */
import { bytesText } from "../base/byte_text.ts";
import { countText } from "../base/count_text.ts";
import { fillText } from "../image/lazy/report/images_report.ts";
import type { ImageStatus, StatusDocument } from "../image/lazy/report/status_document.ts";
import { oneLine, wrapped } from "./output.ts";
import { tableLines, tableWidth } from "./table.ts";

const LABEL_WIDTH = 11;

/** Characters of a layer ID to show, as in Docker. */
const SHORT_ID = 12;

const HEADINGS = [
  "IMAGE",
  "LAYER",
  "FETCHED",
  "OF",
  "READY",
  "REQUESTS",
  "MISSES/S",
  "CONTAINERS",
  "DATA PATH",
  "HOME",
];

/**
 * Columns to leave out of a table that is too wide, in this order, from right to left. A data path that was not chosen
 * has a remark.
 */
const DISPENSABLE = ["HOME", "DATA PATH", "REQUESTS"];

/** Columns that are cut if that does not suffice are not made narrower than this. */
const LEAST_WIDTH = 12;

/** Maximum containers to name per image; there may be hundreds. */
const MAX_CONTAINERS = 3;

/**
 * Returns the lines, without line ends.
 *
 * @param width to fit the lines into, in characters; by default nothing is cut, left out or wrapped
 */
export function statusLines(status: StatusDocument, width = Infinity): string[] {
  const { cache: { dir, usage }, fetched, fuse, images, data_path: path } = status;
  const failed = [
    ...(fetched.failed_requests > 0 ? [`${fetched.failed_requests} failed`] : []),
    ...(fetched.corrupt_chunks > 0 ? [`${countText(fetched.corrupt_chunks, "chunk")} corrupt`] : []),
  ];
  const rows: (readonly [label: string, text: string])[] = [
    ["data path", `${path.fs_driver} (${path.reason})`],
    ["cache", `${dir}: ${usage === null ? "unknown" : usageText(usage)}`],
    ["fetched", [`${bytesText(fetched.bytes)} in ${countText(fetched.requests, "request")}`, ...failed].join(", ")],
    ["reads", fuse === null ? "none yet" : readsText(fuse)],
    ...layerRows(status),
  ];
  const about = `nydus-gd ${status.version}, up ${durationText(status.uptime_seconds)}`;
  const problems = status.problems.map(({ severity, message }) =>
    `${severity === "failed" ? "FAILED" : "warning"}: ${message}`
  );
  const fit = (line: string, indent: number) => hanging(oneLine(line), indent, width);
  return [
    ...fit(`${about}, kernel ${status.kernel}, root ${status.root}`, 2),
    ...rows.flatMap(([label, text]) => fit(`${label.padEnd(LABEL_WIDTH)}${text}`, LABEL_WIDTH)),
    "",
    ...(images.length === 0 ? ["no lazy image is mounted"] : imageTable(images, width)),
    ...[...images.flatMap(remarks), ...problems].flatMap((line) => fit(line, 2)),
  ];
}

/** Wraps a line, and indents what does not fit. */
function hanging(line: string, indent: number, width: number): string[] {
  if (line.length <= width) return [line];
  const [first = "", ...more] = wrapped(line.slice(indent), width - indent);
  return [line.slice(0, indent) + first, ...more.map((text) => " ".repeat(indent) + text)];
}

function imageTable(images: readonly ImageStatus[], width: number): string[] {
  let rows = [HEADINGS, ...images.map(imageRow)];
  for (const heading of DISPENSABLE) {
    if (tableWidth(rows) <= width) break;
    const at = HEADINGS.indexOf(heading);
    rows = rows.map((row) => row.toSpliced(at, 1));
  }
  return tableLines(tableWidth(rows) <= width ? rows : cutNames(rows, width));
}

/** Cuts names of images, whose ends tell more, and of containers, which have a third of the space or what is left. */
function cutNames(rows: readonly (readonly string[])[], width: number): string[][] {
  const containers = (rows[0]?.length ?? 0) - 1;
  const widest = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  const space = widest(0) + widest(containers) - (tableWidth(rows) - width);
  const last = Math.max(LEAST_WIDTH, Math.floor(space / 3), space - widest(0));
  const first = Math.max(LEAST_WIDTH, space - Math.min(last, widest(containers)));
  return rows.map(([name = "", ...more]) => [
    name.length <= first ? name : `…${name.slice(name.length - first + 1)}`,
    ...more.map((text, i) => i < containers - 1 || text.length <= last ? text : `${text.slice(0, last - 1)}…`),
  ]);
}

/** Where only containerd is served, Docker is not waited for. */
function layerRows({ layers, snapshots }: StatusDocument): (readonly [label: string, text: string])[] {
  const rows: (readonly [label: string, text: string])[] = [];
  if (layers !== null) rows.push(["layers", `${layers.mounted} mounted in ${layers.home}`]);
  else if (snapshots === undefined) rows.push(["layers", "Docker has not connected yet"]);
  if (snapshots !== undefined) rows.push(["snapshots", `${snapshots.count} in ${snapshots.dir}`]);
  return rows;
}

/** Formats a duration: "2d 3h", "3h 12m", "4m 5s", "6s". */
export function durationText(seconds: number): string {
  const parts = [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]] as const;
  const first = parts.findIndex(([unit]) => seconds >= unit);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).map(([unit, name], i) => {
    const value = Math.floor((i === 0 ? seconds : seconds % (parts[first]?.[0] ?? 1)) / unit);
    return i > 0 && value === 0 ? "" : `${value}${name}`;
  }).join(" ").trim();
}

function usageText(usage: NonNullable<StatusDocument["cache"]["usage"]>): string {
  const { used_bytes: usedBytes, kernel_bytes: kernelBytes, free_bytes: freeBytes, total_bytes: totalBytes } = usage;
  return fillText({ usedBytes, kernelBytes, freeBytes, totalBytes });
}

function readsText(fuse: NonNullable<StatusDocument["fuse"]>): string {
  const { cached_reads: cached, cached_read_bytes: bytes, misses, waiting_reads: waiting } = fuse;
  const amount = bytes === 0 ? "" : ` (${bytesText(bytes)})`; // fanotify is told of reads, not of their sizes
  return `${cached} from the cache${amount}, ${misses} had to wait, ${waiting} wait now`;
}

function imageRow(image: ImageStatus): string[] {
  const { layer, names, fs_driver: fsDriver, blobs, home } = image;
  const sum = (key: "fetched_bytes" | "compressed_bytes" | "chunks" | "chunks_ready" | "requests") =>
    blobs.reduce((total, blob) => total + blob[key], 0);
  const others = names.length > 1 ? ` +${names.length - 1}` : "";
  return [
    `${names[0] ?? "-"}${others}`,
    layer.slice(0, SHORT_ID),
    bytesText(sum("fetched_bytes")),
    bytesText(sum("compressed_bytes")),
    percentText(sum("chunks_ready"), sum("chunks")),
    String(sum("requests")),
    image.misses_per_second.toFixed(1),
    containersText(image.used_by),
    fsDriver,
    home,
  ].map(oneLine);
}

/** Returns the percentage of chunks that are ready, rounded down: 100 % only when complete. */
function percentText(ready: number, all: number): string {
  return all === 0 ? "-" : `${Math.floor(100 * ready / all)} %`;
}

function containersText(users: ImageStatus["used_by"]): string {
  const names = users.flatMap(({ name }) => name ?? []).sort();
  const nameless = users.filter(({ name }) => name === null);
  const all = [...names, ...nameless.map(({ container, layer }) => (container ?? layer).slice(0, SHORT_ID)).sort()];
  const more = all.length > MAX_CONTAINERS ? ` +${all.length - MAX_CONTAINERS}` : "";
  return all.length === 0 ? "-" : all.slice(0, MAX_CONTAINERS).join(", ") + more;
}

function remarks({ layer, fs_driver: fsDriver, refusal, prefetch, errors }: ImageStatus): string[] {
  const about = layer.slice(0, SHORT_ID);
  return [
    ...(refusal === null ? [] : [`${about}: served by ${fsDriver}: ${refusal}`]),
    ...(prefetch === null ? [] : [
      `${about}: prefetch ${prefetch.state}` + (prefetch.failures > 0 ? `, ${prefetch.failures} ranges failed` : ""),
    ]),
    ...errors.map((error) => `${about}: ${error}`),
  ];
}
