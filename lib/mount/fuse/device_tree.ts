/**
 * The devices of an EROFS image as a tree: a folder with one file per device, `0`, `1`, … in the order of the image.
 *
 * Reading such a file means reading chunks, so Workers and main thread answer it like any other read.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { DirVisitor, Extent, InodeAttr } from "../../rafs/bootstrap.ts";
import { deviceExtents, type DeviceTable } from "../../rafs/erofs/device_table.ts";
import { S_IFDIR, S_IFREG } from "../../rafs/format/inode_mode.ts";
import type { ServedTree } from "../image_mount.ts";

const ROOT_INO = 1;
/** Inode of the first device. */
const FIRST_INO = 2;
const DT_REG = S_IFREG >> 12;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Name of a device's file. */
export function deviceName(index: number): string {
  return String(index);
}

/** Tree of a folder with one file for each device of an image. */
export class DeviceTree implements ServedTree {
  readonly rootIno = ROOT_INO;
  readonly hasXattrs = false;
  readonly explicitUidGid = true;

  constructor(private readonly devices: readonly DeviceTable[]) {}

  get inodeCount(): number {
    return this.devices.length + 1;
  }

  get dataBytes(): number {
    return this.devices.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  attr(ino: number, out: InodeAttr): void {
    const isRoot = ino === ROOT_INO;
    out.ino = ino;
    out.mode = isRoot ? S_IFDIR | 0o500 : S_IFREG | 0o400;
    out.nlink = isRoot ? 2 : 1;
    out.uid =
      out.gid =
      out.rdev =
      out.mtime =
      out.mtimeNsec =
        0;
    out.size = isRoot ? 0 : this.#device(ino).sizeBytes;
  }

  lookup(dir: number, name: Uint8Array): number {
    const text = decoder.decode(name);
    const index = Number(text);
    return dir === ROOT_INO && deviceName(index) === text && index < this.devices.length ? FIRST_INO + index : 0;
  }

  readdir(dir: number, cookie: number, visit: DirVisitor): void {
    if (dir !== ROOT_INO) return;
    for (let index = cookie; index < this.devices.length; index++) {
      if (!visit(encoder.encode(deviceName(index)), FIRST_INO + index, DT_REG, index + 1)) return;
    }
  }

  readlink(ino: number): Uint8Array {
    throw new NydusGdError("internal", `Cannot read link: inode ${ino} of the devices is not a link`);
  }

  xattrs(): Iterable<readonly [Uint8Array, Uint8Array]> {
    return [];
  }

  extents(ino: number, offset: number, length: number): Extent[] {
    return deviceExtents(this.#device(ino), offset, length);
  }

  #device(ino: number): DeviceTable {
    const device = this.devices[ino - FIRST_INO];
    if (device === undefined) throw new NydusGdError("internal", `Cannot read device: there is no inode ${ino}`);
    return device;
  }
}
