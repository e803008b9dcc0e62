/**
 * Backends of blobs: the one in nydusd's configuration, and registries that have logins or from which images come.
 *
 * A backend is asked for a blob that does not exist: "not found" shows that it is reachable and grants access. A
 * registry is asked for `/v2/`, whose response also contains its time, because tokens and signatures are valid only for
 * a limited time.
 *
 * @module
 */
import { openBackend, openRegistry } from "../backend/open_backend.ts";
import { hasCode } from "../base/errors.ts";
import { parseReference } from "../oci/reference.ts";
import { type Check, fail, failedWith, ok, type Outcome, warn } from "./check.ts";
import { statusOf } from "./daemon_checks.ts";
import { type Installation, type Readable, readable } from "./installation.ts";

const GROUP = "blobs";

/** Digest that no blob has. */
const NO_BLOB = "0".repeat(64);
/** Repository for a registry of which no repository is known; it need not exist. */
const ANY_REPOSITORY = "nydus-gd/doctor";
const TIMEOUT_MS = 10_000;
/** Tokens that are not yet valid are refused; object stores refuse signatures that are 15 minutes off. */
const SKEW_WARN_MS = 60_000;
const SKEW_FAIL_MS = 5 * 60_000;
/** Timeout for the daemon to list the sources of its images. */
const STATUS_TIMEOUT_MS = 2_000;

/** Returns one check for the configured backend and one per registry. */
export async function backendChecks(installation: Installation): Promise<Check[]> {
  const { config, deps } = installation;
  const configured: Check[] = config === undefined ? [] : [{
    group: GROUP,
    name: `backend ${config.backend.type}`,
    timeoutMs: TIMEOUT_MS,
    async run(signal) {
      const backend = openBackend(config.backend, deps);
      try {
        await backend.blob(NO_BLOB).size(signal);
      } catch (error) {
        if (!hasCode(error, "not-found")) {
          return failedWith(error, `device.backend in ${installation.options.config.path}`);
        }
      }
      return await missingFolder(config.backend) ?? ok(`${backend.description} answers`);
    },
  }];
  const logins = await readable(installation.logins.hosts());
  const places = await registries(installation, "value" in logins ? logins.value : []);
  return [
    ...configured,
    { group: GROUP, name: "logins", run: () => judgeLogins(logins, installation) },
    ...places.map((place) => registryCheck(installation, place)),
  ];
}

/** Reports a missing directory, which also answers "not found" for every blob. */
async function missingFolder(backend: NonNullable<Installation["config"]>["backend"]): Promise<Outcome | undefined> {
  if (backend.type !== "localfs" || backend.dir === undefined) return undefined;
  try {
    await Deno.stat(backend.dir);
    return undefined;
  } catch (error) {
    return failedWith(error, `mkdir ${backend.dir}`);
  }
}

interface Place {
  readonly host: string;
  readonly repository: string;
}

/** @param logins registries for which Docker has logins */
function judgeLogins(logins: Readable<readonly string[]>, { pulled, pulledFiles }: Installation): Outcome {
  if ("error" in logins) return failedWith(logins.error);
  if ("error" in pulledFiles) return failedWith(pulledFiles.error);
  const handedOver = new Set(pulled?.list().flatMap((image) => image.logins.map(({ host }) => host)));
  const listed = [
    ...logins.value,
    ...Array.from(handedOver).sort().map((host) => `${host} (from nydus-gd pull)`),
  ];
  return ok(listed.length === 0 ? "none: registries are accessed anonymously" : listed.join(", "));
}

/** Registries to check, each host once. */
async function registries({ options, config, pulled }: Installation, loggedIn: readonly string[]): Promise<Place[]> {
  const places = new Map<string, Place>();
  const add = (place: Place) => places.has(place.host) || places.set(place.host, place);
  if (config?.backend.type === "registry") add({ host: config.backend.host, repository: config.backend.repo });
  const status = await statusOf(options.adminSocket, AbortSignal.timeout(STATUS_TIMEOUT_MS)).catch(() => undefined);
  for (const { home } of status?.images ?? []) {
    const name = /^registry (\S+)$/.exec(home)?.[1];
    if (name !== undefined) add(parseReference(name));
  }
  for (const { registry: host, repository } of pulled?.list() ?? []) add({ host, repository });
  for (const host of loggedIn) add({ host, repository: ANY_REPOSITORY });
  return [...places.values()];
}

function registryCheck({ deps }: Installation, { host, repository }: Place): Check {
  return {
    group: GROUP,
    name: `registry ${host}`,
    timeoutMs: TIMEOUT_MS,
    async run(signal) {
      const login = await deps.keychain.resolve(host, signal);
      const { transport } = openRegistry({ host, repo: repository }, deps);
      const request = { method: "GET", path: "/v2/", what: `reach registry ${host}` } as const;
      try {
        const date = await transport.request(request, { priority: "on-demand", signal }, async (response) => {
          const sent = response.header("date");
          await response.discard();
          return sent;
        });
        return judgeClock(date) ?? ok(`answers ${login === undefined ? "without a login" : "with our login"}`);
      } catch (error) {
        return failedWith(error, hasCode(error, "unauthorized") ? `docker login ${host}` : undefined);
      }
    },
  };
}

function judgeClock(date: string | undefined): Outcome | undefined {
  const skewMs = date === undefined ? NaN : Date.now() - Date.parse(date);
  if (!(Math.abs(skewMs) > SKEW_WARN_MS)) return undefined;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const seen = `answers, but the clock here is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} its`;
  const mend = "timedatectl set-ntp true";
  return Math.abs(skewMs) > SKEW_FAIL_MS ? fail(`${seen}: tokens and signatures are refused`, mend) : warn(seen, mend);
}
