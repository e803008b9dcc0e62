/**
 * Runs a command in an image, as a container without network would: an overlay on top of its mount, namespaces of its
 * own, environment and working folder of its configuration.
 *
 * What it writes is thrown away. It runs as root of this machine; no limits hold, so an image is run that one trusts.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import { parseWith } from "../../base/schema.ts";

/** What of a configuration counts here. */
const RunSchema = v.object({
  config: v.optional(v.nullable(v.object({
    Env: v.optional(v.nullable(v.array(v.string()))),
    WorkingDir: v.optional(v.nullable(v.string())),
  }))),
});

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Characters of a command's complaint that are shown. */
const MAX_SAID = 300;

/**
 * In namespaces: runs the command $3 in the folder $2 of an overlay whose parts are below $1. PATH is the image's, so
 * everything of this machine is named by its own.
 */
const SCRIPT = `
path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t overlay overlay -o "lowerdir=$1/image,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root/dev" "$1/root/proc" "$1/root/sys" "$1/root$2"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
cd "$1/root"
PATH=$path exec /usr/sbin/chroot . /bin/sh -c 'cd -- "$0" && exec /bin/sh -c "$1"' "$2" "$3"
`;

/** Folders that {@link runOnce} needs below its own, beside the mounted image. */
export const RUN_FOLDERS = ["image", "upper", "work", "root"] as const;

/** What is run. */
export interface Run {
  /** Holds {@link RUN_FOLDERS}; `image` is the mount. */
  readonly dir: string;
  /** The image's, as JSON has it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** For the image's /bin/sh. */
  readonly command: string;
}

/**
 * Runs it until it ends, or `enough` resolves: then it is ended.
 *
 * @throws {NydusGdError} "usage" for a command that fails, with what it says; "environment"
 */
export async function runOnce({ dir, config, command }: Run, enough: Promise<void>): Promise<void> {
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
  }).catch(() => {}); // it has ended by itself
  const { success, code, stderr } = await child.output();
  if (success || isEnough) return;
  const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1)?.slice(0, MAX_SAID);
  throw new NydusGdError("usage", `Cannot run ${JSON.stringify(command)} in the image: it ended with ${code}`, {
    hint: said || "it said nothing",
  });
}
