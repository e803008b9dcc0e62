/**
 * Positioned reads of an open file or device.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";

/**
 * Reads `length` bytes at `offset`; fewer only at the end of the file. Moves the file position: one reader at a time.
 */
export async function readAt(
  file: Deno.FsFile,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await file.seek(offset, Deno.SeekMode.Start);
  for (let filled = 0; filled < length;) {
    throwIfAborted(signal);
    const count = await file.read(bytes.subarray(filled));
    if (count === null) return bytes.subarray(0, filled);
    filled += count;
  }
  return bytes;
}
