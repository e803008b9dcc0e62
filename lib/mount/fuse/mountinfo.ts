/**
 * /proc/self/mountinfo: what is mounted where, without touching it. A stat of a FUSE mount waits for its server, which
 * may be the very process that asks.
 *
 * Source: proc_pid_mountinfo(5).
 *
 * @module
 */

/** One line. Paths have their octal escapes resolved; bytes that are no UTF-8 became U+FFFD. */
export interface MountEntry {
  readonly mountId: number;
  /** Device number of the file system, as "0:53". For FUSE the minor names the connection. */
  readonly device: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
}

/** Parses the whole file; lines that are not of its form are left out. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const [left, right] = line.split(" - ", 2);
    const [mountId, , device, , mountPoint] = left?.split(" ") ?? [];
    const [fsType, source] = right?.split(" ") ?? [];
    if (mountId === undefined || device === undefined || mountPoint === undefined) continue;
    if (fsType === undefined || source === undefined) continue;
    entries.push({
      mountId: Number(mountId),
      device,
      mountPoint: unescapeOctal(mountPoint),
      fsType,
      source: unescapeOctal(source),
    });
  }
  return entries;
}

/** What is topmost at `mountPoint`, an absolute path without links; undefined when nothing is mounted there. */
export async function mountAt(mountPoint: string): Promise<MountEntry | undefined> {
  const text = await Deno.readTextFile("/proc/self/mountinfo");
  return parseMountInfo(text).findLast((entry) => entry.mountPoint === mountPoint);
}

/** Space, tab, newline and backslash stand as \040 and so on. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
