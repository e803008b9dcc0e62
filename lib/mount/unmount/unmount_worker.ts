/**
 * Unmounts on a thread of its own. umount2(2) may wait for replies that the main thread has to give, and its errno can
 * only be read on the thread that made the call.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { umount2 } from "../../../ffi/sys_mount.ts";

/** What to unmount. */
export interface UnmountRequest {
  readonly target: string;
  /** MNT_* of ffi/sys_mount.ts. */
  readonly flags: number;
}

/** 0, or the errno. */
export interface UnmountResult {
  readonly errno: number;
}

const scope = self as unknown as {
  postMessage(message: UnmountResult): void;
  onmessage: ((event: MessageEvent<UnmountRequest>) => void) | null;
};

scope.onmessage = ({ data }) => {
  try {
    umount2(data.target, data.flags);
    scope.postMessage({ errno: 0 });
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    scope.postMessage({ errno: error.errno });
  }
};
