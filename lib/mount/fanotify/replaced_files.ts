/**
 * Tells images whose cache files were removed or replaced while nobody served them.
 *
 * The kernel still reads the former files. So there are marks on files that no image has any more, and the image has an
 * incomplete file without a mark. Neither alone suffices: a complete file has no mark, and if a process was killed while
 * it wrote to it, it has to be verified again before it counts as complete.
 *
 * @module
 */

/** A cache file that the kernel reads by its name. */
export interface NamedFile {
  readonly inode: bigint;
  /** Whether all that the image needs of it is verified. */
  readonly isComplete: () => boolean;
}

/**
 * Returns whether the files of an image replace others.
 *
 * @param marked inodes that an earlier process has marked
 * @param named inodes of the files that now have the names of an image's files, for all images of that process: also
 * those that were unmounted meanwhile, whose marks remain
 */
export function replacements(
  marked: readonly bigint[],
  named: Iterable<bigint>,
): (files: readonly NamedFile[]) => boolean {
  const known = new Set(named);
  const hasStrangers = marked.some((inode) => !known.has(inode));
  return (files) => hasStrangers && files.some(({ inode, isComplete }) => !marked.includes(inode) && !isComplete());
}
