/**
 * Runs a command in an image like a container without network: on an overlay over its mount, in separate namespaces,
 * with environment and working folder from its configuration.
 *
 * Everything it writes is discarded. It runs as root of this machine without limits, so the image must be trusted.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../../base/errors.ts";
import { parseWith } from "../../../base/schema.ts";
import { DEFAULT_PATH } from "../../programs/command_files.ts";

/** The parts of a configuration used here. */
const RunSchema = v.object({
  config: v.optional(v.nullable(v.object({
    Env: v.optional(v.nullable(v.array(v.string()))),
    WorkingDir: v.optional(v.nullable(v.string())),
  }))),
});

/** Characters of a command's error output that are shown. */
const MAX_STDERR_CHARS = 300;

/**
 * Runs in the namespaces: executes command $3 in folder $2 of an overlay whose parts are below $1. PATH is the image's,
 * so programs of this machine are given by absolute paths. A folder that is on an overlay itself, as in a container,
 * cannot be an upper layer; what is written is kept in memory then.
 */
const SCRIPT = `
path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount_root() {
  mkdir -p "$1/written/upper" "$1/written/work"
  mount -t overlay overlay -o "lowerdir=$1/image,upperdir=$1/written/upper,workdir=$1/written/work" "$1/root"
}
mount_root "$1" 2>/dev/null || { mount -t tmpfs tmpfs "$1/written" && mount_root "$1"; }
mkdir -p "$1/root/dev" "$1/root/proc" "$1/root/sys" "$1/root$2"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
cd "$1/root"
PATH=$path exec /usr/sbin/chroot . /bin/sh -c 'cd -- "$0" && exec /bin/sh -c "$1"' "$2" "$3"
`;

/** Folders that {@link runOnce} needs below its own, besides the mounted image. */
export const RUN_FOLDERS = ["image", "written", "root"] as const;

/** Description of a run. */
export interface OnlyRun {
  /** Contains {@link RUN_FOLDERS}; `image` is the mount. */
  readonly dir: string;
  /** The image's configuration as parsed JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Command for the image's /bin/sh. */
  readonly command: string;
}

/**
 * Runs the command until it ends, or until `enough` resolves and it is terminated.
 *
 * @throws {NydusGdError} "usage" for a command that fails, with its error output; "environment"
 */
export async function runOnce({ dir, config, command }: OnlyRun, enough: Promise<void>): Promise<void> {
  const parsed = parseWith(RunSchema, config);
  const { Env = [], WorkingDir } = parsed.ok ? parsed.value.config ?? {} : {};
  const env = Object.fromEntries((Env ?? []).map((each) => {
    const [name = "", ...value] = each.split("=");
    return [name, value.join("=")];
  }));
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--net"];
  const child = new Deno.Command("/usr/bin/unshare", {
    args: [...namespaces, "--propagation", "private", "/bin/sh", "-ec", SCRIPT, "sh", dir, WorkingDir || "/", command],
    env: { PATH: DEFAULT_PATH, ...env },
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let isEnough = false;
  enough.then(() => {
    isEnough = true;
    child.kill("SIGKILL");
  }).catch(() => {}); // it has ended already
  const { success, code, stderr } = await child.output();
  if (success || isEnough) return;
  const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1)?.slice(0, MAX_STDERR_CHARS);
  throw new NydusGdError("usage", `Cannot run ${JSON.stringify(command)} in the image: it ended with ${code}`, {
    hint: said || "it printed nothing",
  });
}
