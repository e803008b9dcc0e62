/**
 * File types: those of st_mode (S_IFMT) and those of directory entries (DT_* of dirent.h, EROFS_FT_*).
 *
 * @module
 */

/** Mask of the type in st_mode, and its values. Linux uapi/linux/stat.h. */
export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFSOCK = 0o140000;

/** DT_DIR of dirent.h. Every DT_* equals `(mode & S_IFMT) >> 12`. */
export const DT_DIR = S_IFDIR >> 12;

/** DT_* by EROFS_FT_* code 0 … 7 (linux fs/erofs/erofs_fs.h; same numbers as include/linux/fs_types.h). */
const DT_OF_FT = [0, 8, 4, 2, 6, 1, 12, 10];

/** EROFS_FT_* by DT_*; 0 when there is none. */
const FT_OF_DT = Uint8Array.from({ length: 16 }, (_, dt) => Math.max(0, DT_OF_FT.indexOf(dt)));

/** DT_* of an EROFS file type, undefined if unknown. */
export function dirTypeOf(ft: number): number | undefined {
  return DT_OF_FT[ft];
}

/** EROFS_FT_* of a mode, 0 if its type is unknown. */
export function erofsTypeOf(mode: number): number {
  return FT_OF_DT[(mode & S_IFMT) >> 12] as number;
}

/** Whether the type bits of `mode` are one of the seven known types. */
export function isKnownType(mode: number): boolean {
  return erofsTypeOf(mode) > 0;
}

/** Whether an inode of this mode carries a device number. */
export function isDevice(mode: number): boolean {
  return (mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK;
}
