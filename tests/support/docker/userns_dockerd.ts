/**
 * dockerd with `--userns-remap`: root in a container is an unprivileged user of the machine.
 *
 * @module
 */
import type { Sandbox } from "../../../lib/demo/sandbox.ts";
import type { Dockerd } from "./docker_stack.ts";

/** Id of the containers' root on the machine. */
export const FIRST_ID = 100_000;
/** The user whose subordinate ids the containers get. */
const USER = "daemon";

/** Options of a stack whose dockerd has user namespaces. `flags` are those of dockerd. */
export const USERNS = { flags: ["--userns-remap", USER], dataFolder: `/${FIRST_ID}.${FIRST_ID}` } as const;

/** Changes of /etc stay in the sandbox. */
const HIDE_ETC = "mkdir /run/etc /run/etc-work && " +
  "mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc-work overlay /etc";
const GRANT_IDS = `for file in /etc/subuid /etc/subgid; do echo ${USER}:${FIRST_ID}:65536 >$file; done`;

async function shell(system: Pick<Sandbox, "spawn">, script: string): Promise<void> {
  const { success, stderr } = await system.spawn("sh", ["-c", script], { stdout: "piped", stderr: "piped" }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** `dockerd` on a system where {@link USER} has subordinate ids. */
export function withSubordinateIds(dockerd: Dockerd): Dockerd {
  return {
    ...dockerd,
    open: async (sandbox, scratch) => {
      await Deno.chmod(scratch, 0o711); // the remapped root must be able to pass through
      const system = await dockerd.open?.(sandbox, scratch);
      if (system === undefined) await shell(sandbox, HIDE_ETC);
      await shell(system ?? sandbox, GRANT_IDS);
      return {
        spawn: (...args) => (system ?? sandbox).spawn(...args),
        [Symbol.asyncDispose]: async () => await system?.[Symbol.asyncDispose](),
      };
    },
  };
}
