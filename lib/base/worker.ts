/**
 * Starts Workers. A Worker's module is located beside its owner in the source tree and beside the bundle in a build.
 *
 * A Worker module is named `<something>_worker.ts`, unique in the repository; `scripts/build_binary.ts` bundles each
 * into `<something>_worker.js` beside `main.js`.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { NydusGdError } from "./errors.ts";
import { taskLimits } from "./control_groups.ts";
import { OPEN_FILES_HINT, TASKS_HINT } from "./error_report.ts";

/** Descriptors of a thread's event loop: 6 with Deno 2.9. */
const THREAD_DESCRIPTORS = 8;

/** Descriptors left for everything else. */
const SPARE_DESCRIPTORS = 8;

/** Tasks that a control group must allow besides the thread itself: the runtime starts threads for calls that block. */
const SPARE_TASKS = 2;

/** Milliseconds after which a thread has opened its descriptors, also on a busy machine. */
const STARTING_MS = 1000;

/** Times at which recent Workers were started, milliseconds of performance.now(). */
let starts: number[] = [];

/**
 * Starts a Worker from the module at `url`.
 *
 * Looks in advance whether there are as many tasks and descriptors as this thread and those still starting need, because
 * the runtime ends the whole program if a new thread cannot be started or cannot open them.
 *
 * @param name of the thread, for debuggers
 * @throws {NydusGdError} "environment" when the process is out of descriptors, or its control group of tasks
 */
export function startWorker(url: URL, name: string): Worker {
  const now = performance.now();
  const starting = starts.filter((at) => now - at < STARTING_MS).length + 1;
  requireTasks(starting + SPARE_TASKS, name);
  requireDescriptors(starting * THREAD_DESCRIPTORS + SPARE_DESCRIPTORS, name);
  starts = [...starts.filter((at) => now - at < STARTING_MS), now];
  return new Worker(url, { type: "module", name });
}

function requireTasks(needed: number, name: string): void {
  const { freeTasks = Infinity, tasks } = taskLimits();
  if (freeTasks >= needed) return;
  throw new NydusGdError("environment", `Cannot start thread ${name}: its control group allows ${tasks} tasks`, {
    hint: TASKS_HINT,
  });
}

function requireDescriptors(needed: number, name: string): void {
  using tried = new DisposableStack();
  try {
    for (let i = 0; i < needed; i++) tried.use(open("/dev/null", O.RDONLY));
  } catch (error) {
    if (!isErrno(error, "EMFILE", "ENFILE")) throw error;
    throw new NydusGdError("environment", `Cannot start thread ${name}: out of file descriptors`, {
      hint: OPEN_FILES_HINT,
      cause: error,
    });
  }
}

/** Resolves a Worker module relative to its owner: `workerUrl(import.meta, "decode_worker.ts")`. */
export function workerUrl(meta: ImportMeta, file: string): URL {
  return new URL(meta.url.endsWith(".ts") ? file : file.replace(/\.ts$/, ".js"), meta.url);
}

/**
 * Posts a message to a Worker that has nothing else to do, and returns its reply.
 *
 * @param what completes the error: "Cannot unmount /mnt"
 * @throws {NydusGdError} "internal" if the Worker fails
 */
export async function askWorker<Reply>(worker: Worker, message: unknown, what: string): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  worker.onmessage = ({ data }: MessageEvent<Reply>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new NydusGdError("internal", `${what}: Worker ended: ${event.message}`));
  };
  worker.postMessage(message);
  return await promise;
}
