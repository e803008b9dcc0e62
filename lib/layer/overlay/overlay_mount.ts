/**
 * Mounts overlays of any number of layers.
 *
 * Tries three ways, in this order:
 * 1. mount(2) with absolute paths: the option string must fit a page (about 40 layers of Docker's path lengths);
 * 2. fsopen(2) and one `lowerdir+` per layer: Linux >= 6.7, up to 500 layers;
 * 3. mount(2) with `/proc/self/fd/N` for each layer: every kernel, about 230 layers.
 *
 * Mount points and paths must not change meanwhile: the store holds the layer's lock.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { procFdPath } from "../../../ffi/fd.ts";
import { FsContext, moveMount } from "../../../ffi/mount_api.ts";
import { MNT, mount, MOUNT_DATA_MAX, umount2, umount2OffThread } from "../../../ffi/sys_mount.ts";
import { NydusGdError } from "../../base/errors.ts";
import { mountIdAt } from "../../../ffi/mountinfo.ts";
import { unmount } from "../../mount/unmount/unmount.ts";
import {
  byteLength,
  isPlainOverlayValue,
  overlayFeatures,
  overlayOptions,
  type OverlayStack,
} from "./overlay_options.ts";

/** How a stack was passed to the kernel. */
export type OverlayMethod = "options" | "context" | "descriptors";

/** Device name in /proc/mounts. */
const SOURCE = "overlay";

/**
 * Mounts `stack` on the folder `target`.
 *
 * @param methods to try, in order
 * @returns the method that succeeded
 * @throws {SyscallError} the kernel's error
 * @throws {NydusGdError} "unsupported" if no method supports so many layers
 */
export function mountOverlay(
  stack: OverlayStack,
  target: string,
  methods: readonly OverlayMethod[] = ["options", "context", "descriptors"],
): OverlayMethod {
  for (const method of methods) {
    if (METHODS[method](stack, target)) return method;
  }
  throw new NydusGdError("unsupported", `Cannot mount "${target}": ${stack.lowers.length} layers are too many here`, {
    hint: "use an image of fewer layers: up to 500 can be mounted from Linux 6.7, some 230 before",
  });
}

const METHODS: Record<OverlayMethod, (stack: OverlayStack, target: string) => boolean> = {
  options: mountByOptions,
  context: mountByContext,
  descriptors: mountByDescriptors,
};

function mountByOptions(stack: OverlayStack, target: string): boolean {
  const options = overlayOptions(stack, overlayFeatures());
  if (byteLength(options) > MOUNT_DATA_MAX) return false;
  mount(SOURCE, target, "overlay", 0, options);
  return true;
}

function mountByContext(stack: OverlayStack, target: string): boolean {
  using held = new DisposableStack();
  const value = (path: string) => isPlainOverlayValue(path) ? path : descriptorPath(path, held);
  try {
    const context = held.use(FsContext.open("overlay"));
    for (const lower of stack.lowers) context.setString("lowerdir+", value(lower));
    context.setString("source", SOURCE);
    for (const [key, setting] of overlayFeatures()) context.setString(key, setting);
    if (stack.upper !== undefined) {
      context.setString("upperdir", value(stack.upper.diff)).setString("workdir", value(stack.upper.work));
    }
    if (stack.label) context.setString("context", stack.label);
    moveMount(held.use(context.create().mount()), target);
    return true;
  } catch (error) {
    // EINVAL: the kernel's overlay has no lowerdir+. The next method reports any other problem of the stack.
    if (isErrno(error, "ENOSYS", "EINVAL")) return false;
    throw error;
  }
}

function mountByDescriptors(stack: OverlayStack, target: string): boolean {
  using held = new DisposableStack();
  const short = (path: string) => descriptorPath(path, held);
  const { upper } = stack;
  return mountByOptions({
    ...stack,
    lowers: stack.lowers.map(short),
    ...(upper === undefined ? {} : { upper: { diff: short(upper.diff), work: short(upper.work) } }),
  }, target);
}

function descriptorPath(path: string, held: DisposableStack): string {
  return procFdPath(held.use(open(path, O.PATH | O.DIRECTORY)));
}

/** More mounts than are ever stacked on one mount point; bounds a loop that others could prolong. */
const MAX_STACKED = 64;

/** Yields as long as something is mounted on `target`: each time to be unmounted. */
function* stackedOn(target: string): Generator<void> {
  for (let count = 0; count < MAX_STACKED && mountIdAt(target) !== undefined; count++) yield;
}

/**
 * Like {@link unmountAll}, where lazy images may be below: this may be the last use of one, for whose end the kernel
 * waits for reads that this process has to answer.
 */
export async function unmountAllServed(target: string): Promise<void> {
  for (const _ of stackedOn(target)) await unmount(target, MNT.DETACH);
}

/**
 * Like {@link unmountAll}, off this thread: the kernel first writes what containers have changed to disk, together with
 * all else that the disk's file system has not written yet.
 */
export async function unmountAllOffThread(target: string): Promise<void> {
  try {
    for (const _ of stackedOn(target)) await umount2OffThread(target, MNT.DETACH);
  } catch (error) {
    if (!isUnmounted(error)) throw error;
  }
}

/**
 * Unmounts everything stacked on `target`, including mounts below it. Programs that use it keep their files until they
 * close them. Nothing mounted is no error.
 */
export function unmountAll(target: string): void {
  try {
    for (const _ of stackedOn(target)) umount2(target, MNT.DETACH);
  } catch (error) {
    if (!isUnmounted(error)) throw error;
  }
}

/** Whether somebody else was faster. */
function isUnmounted(error: unknown): boolean {
  return isErrno(error, "EINVAL", "ENOENT");
}
