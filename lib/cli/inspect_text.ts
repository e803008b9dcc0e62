/**
 * Text output of `nydus-gd inspect`.
 *
 * ```
 * RAFS v6, bootstrap of 123 kB, chunks of 65.5 kB
 * flags     compression-zstd, digest-blake3, explicit-uid-gid
 * names     416: 343 file, 40 directory, …; 3.31 MB in files
 * chunks    320 used 401 times: 3.01 MB
 *
 * BLOB          STORED   PLAIN    RATIO  CHUNKS      COMPRESSOR  DIGESTER  FEATURES
 * 3f2a0b1c2d3e  1.20 MB  3.01 MB  40 %   320 of 320  zstd        blake3    aligned, has-toc
 * ```
 * All text that an image can influence is escaped for the terminal.
 *
 * @module
 */
import { bytesText } from "../base/byte_text.ts";
import { countText } from "../base/count_text.ts";
import type { EntryFacts } from "../image/inspect/entry_facts.ts";
import type { FileFacts } from "../image/inspect/inspect_file.ts";
import type { BlobFacts, ImageDescription } from "../image/inspect/inspect_image.ts";
import { oneLine } from "./output.ts";
import { tableLines } from "./table.ts";

/** Characters of a blob ID to show, as in Docker. */
const SHORT_ID = 12;

/** Maximum paths of the prefetch list to show. */
const MOST_PREFETCH = 10;

const TYPE_LETTERS: Readonly<Record<string, string>> = {
  file: "-",
  directory: "d",
  symlink: "l",
  char: "c",
  block: "b",
  fifo: "p",
  socket: "s",
};

/** Returns the lines for an image, without line ends. */
export function imageLines(image: ImageDescription): string[] {
  const { version, bootstrap_bytes: bytes, chunk_size: chunkSize, flags, names, inodes, file_bytes: fileBytes } = image;
  const { references, distinct, distinct_bytes: distinctBytes } = image.chunks;
  const byType = Object.entries(inodes).map(([type, count]) => `${count} ${type}`).join(", ");
  const rows: (readonly [label: string, text: string])[] = [
    ["flags", flags.join(", ")],
    ["names", `${names}: ${byType}; ${bytesText(fileBytes)} in files`],
    ["chunks", `${distinct} used ${references} times: ${bytesText(distinctBytes)}`],
    ...(image.prefetch.length > 0 ? [["prefetch", prefetchText(image.prefetch)] as const] : []),
    ...(image.layers ?? []).map(({ digest, bytes, kind }) =>
      ["layer", `${digest} ${bytesText(bytes)} ${kind}`] as const
    ),
  ];
  return [
    `RAFS v${version}, bootstrap of ${bytesText(bytes)}, chunks of ${bytesText(chunkSize)}`,
    ...rows.map(([label, text]) => `${label.padEnd(10)}${text}`),
    "",
    ...(image.blobs.length === 0 ? ["no blobs"] : tableLines([BLOB_HEADINGS, ...image.blobs.map(blobRow)])),
    "",
    ...entryLines(image.tree),
  ].map((line) => oneLine(line));
}

/** Returns the lines for one path, without line ends. */
export function fileLines(file: FileFacts): string[] {
  const { inode, xattrs, chunks = [], entries = [] } = file;
  return [
    ...entryLines([file]),
    `inode ${inode}, ${countText(file.links, "link")}, mtime ${timeText(file)}`,
    ...Object.entries(xattrs).map(([name, value]) => `xattr ${name} = ${valueText(value)}`),
    ...(chunks.length === 0 ? [] : ["", ...tableLines([CHUNK_HEADINGS, ...chunks.map(chunkRow)])]),
    ...(entries.length === 0 ? [] : ["", ...entryLines(entries)]),
  ].map((line) => oneLine(line));
}

const BLOB_HEADINGS = ["BLOB", "STORED", "PLAIN", "RATIO", "CHUNKS", "COMPRESSOR", "DIGESTER", "FEATURES"];

function blobRow(blob: BlobFacts): string[] {
  const { compressed_bytes: stored, used_bytes: plain, used_chunks: used, chunks } = blob;
  // the ratio is unknown if only a part of the blob is used
  const isWhole = stored > 0 && plain > 0 && used === chunks;
  return [
    blob.id.slice(0, SHORT_ID),
    stored > 0 ? bytesText(stored) : "-",
    bytesText(plain),
    isWhole ? `${Math.round(100 * stored / plain)} %` : "-",
    chunks > 0 ? `${used} of ${chunks}` : String(used),
    blob.compressor,
    blob.digester,
    blob.features.join(", "),
  ];
}

const CHUNK_HEADINGS = ["OFFSET", "BYTES", "BLOB", "CHUNK", "STORED AT", "STORED", "DIGEST"];

function chunkRow(chunk: NonNullable<FileFacts["chunks"]>[number]): string[] {
  const { file_offset: offset, bytes, blob, index, compressed_offset: at, compressed_bytes: stored, digest } = chunk;
  return [
    String(offset),
    String(bytes),
    blob.slice(0, SHORT_ID),
    String(index),
    at === null ? "-" : String(at),
    stored === null ? "-" : String(stored),
    digest ?? "-",
  ];
}

/** Formats entries like `ls -l`. */
function entryLines(entries: readonly EntryFacts[]): string[] {
  const rows = entries.map((entry) => {
    const { path, uid, gid, size, target, device } = entry;
    const shown = device === undefined ? String(size) : device.join(",");
    return {
      head: [modeText(entry), `${uid}:${gid}`, shown],
      path: target === undefined ? path : `${path} -> ${target}`,
    };
  });
  const width = (column: number) => Math.max(...rows.map(({ head }) => head[column]?.length ?? 0));
  const owners = width(1), sizes = width(2);
  return rows.map(({ head: [mode = "", owner = "", size = ""], path }) =>
    `${mode}  ${owner.padStart(owners)}  ${size.padStart(sizes)}  ${path}`
  );
}

/** Formats a mode like "-rwsr-xr-x". */
function modeText({ type, mode }: EntryFacts): string {
  const bits = parseInt(mode, 8);
  const special = [[0o4000, "s"], [0o2000, "s"], [0o1000, "t"]] as const;
  const permissions = special.map(([bit, letter], i) => {
    const shift = 6 - 3 * i;
    const rwx = (bits >> shift) & 7;
    const execute = (bits & bit) === 0 ? (rwx & 1 ? "x" : "-") : rwx & 1 ? letter : letter.toUpperCase();
    return `${rwx & 4 ? "r" : "-"}${rwx & 2 ? "w" : "-"}${execute}`;
  });
  return `${TYPE_LETTERS[type] ?? "?"}${permissions.join("")}`;
}

function timeText({ mtime, mtime_nsec: nsec }: EntryFacts): string {
  const date = new Date(Number(mtime) * 1000);
  const fraction = nsec === 0 ? "" : `.${String(nsec).padStart(9, "0")}`;
  return Number.isNaN(date.getTime()) ? `${mtime}${fraction} s` : date.toISOString().replace(/\.\d+Z$/, `${fraction}Z`);
}

/** Returns printable ASCII as a quoted string, anything else as base64. */
function valueText(base64: string): string {
  const bytes = Uint8Array.fromBase64(base64);
  const text = new TextDecoder().decode(bytes);
  return /^[\x20-\x7e]*$/.test(text) ? JSON.stringify(text) : `base64 ${base64}`;
}

function prefetchText(paths: readonly string[]): string {
  const more = paths.length > MOST_PREFETCH ? `, and ${paths.length - MOST_PREFETCH} more` : "";
  return `${paths.slice(0, MOST_PREFETCH).join(", ")}${more}`;
}
