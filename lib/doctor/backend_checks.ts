/**
 * The homes of blobs: the backend of nydusd's configuration, and registries that somebody has logged in to or that images
 * come from.
 *
 * A home is asked for a blob that nobody has: "not found" is the answer of one that is reachable and lets us in. A
 * registry is asked for `/v2/`, whose answer also tells its time: tokens and signatures hold for a while only.
 *
 * @module
 */
import { openBackend, openRegistry } from "../backend/open_backend.ts";
import { hasCode } from "../base/errors.ts";
import { parseReference } from "../oci/reference.ts";
import { type Check, fail, failedWith, type Finding, ok, warn } from "./check.ts";
import { statusOf } from "./daemon_checks.ts";
import { type Readable, readable, type Subject } from "./subject.ts";

const GROUP = "blobs";

/** No blob has this digest. */
const NO_BLOB = "0".repeat(64);
/** What is asked for where a registry is known, but none of its repositories; nobody needs to have it. */
const ANY_REPOSITORY = "nydus-gd/doctor";
const TIMEOUT_MS = 10_000;
/** A token is refused when it is not valid yet; object stores refuse signatures that are 15 minutes off. */
const SKEW_WARN_MS = 60_000;
const SKEW_FAIL_MS = 5 * 60_000;
/** How long the daemon may take to say where its images come from. */
const STATUS_TIMEOUT_MS = 2_000;

/** One for the configured backend, one for each registry. */
export async function backendChecks(subject: Subject): Promise<Check[]> {
  const { config, deps } = subject;
  const configured: Check[] = config === undefined ? [] : [{
    group: GROUP,
    name: `backend ${config.backend.type}`,
    timeoutMs: TIMEOUT_MS,
    async look(signal) {
      const backend = openBackend(config.backend, deps);
      try {
        await backend.blob(NO_BLOB).size(signal);
      } catch (error) {
        if (!hasCode(error, "not-found")) return failedWith(error, `device.backend in ${subject.options.config.path}`);
      }
      return await missingFolder(config.backend) ?? ok(`${backend.description} answers`);
    },
  }];
  const logins = await readable(subject.logins.hosts());
  const places = await registries(subject, "value" in logins ? logins.value : []);
  return [
    ...configured,
    { group: GROUP, name: "logins", look: () => judgeLogins(logins, subject) },
    ...places.map((place) => registryCheck(subject, place)),
  ];
}

/** A folder that is not there gives no blob either. */
async function missingFolder(backend: NonNullable<Subject["config"]>["backend"]): Promise<Finding | undefined> {
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

/** @param logins registries that Docker has logins for */
function judgeLogins(logins: Readable<readonly string[]>, { pulled }: Subject): Finding {
  if ("error" in logins) return failedWith(logins.error);
  const handedOver = new Set(pulled?.list().flatMap((image) => image.logins.map(({ host }) => host)));
  const told = [
    ...logins.value,
    ...Array.from(handedOver).sort().map((host) => `${host} (from nydus-gd pull)`),
  ];
  return ok(told.length === 0 ? "none: registries are asked anonymously" : told.join(", "));
}

/** Each host once. */
async function registries({ options, config, pulled }: Subject, loggedIn: readonly string[]): Promise<Place[]> {
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

function registryCheck({ deps }: Subject, { host, repository }: Place): Check {
  return {
    group: GROUP,
    name: `registry ${host}`,
    timeoutMs: TIMEOUT_MS,
    async look(signal) {
      const login = await deps.keychain.resolve(host, signal);
      const { transport } = openRegistry({ host, repo: repository }, deps);
      const request = { method: "GET", path: "/v2/", what: `reach registry ${host}` } as const;
      try {
        const date = await transport.request(request, { priority: "on-demand", signal }, async (response) => {
          const sent = response.header("date");
          await response.discard();
          return sent;
        });
        return judgeClock(date) ?? ok(`answers ${login === undefined ? "without a login" : "our login"}`);
      } catch (error) {
        return failedWith(error, hasCode(error, "unauthorized") ? `docker login ${host}` : undefined);
      }
    },
  };
}

function judgeClock(date: string | undefined): Finding | undefined {
  const skewMs = date === undefined ? NaN : Date.now() - Date.parse(date);
  if (!(Math.abs(skewMs) > SKEW_WARN_MS)) return undefined;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const seen = `answers, but the clock here is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} its`;
  const mend = "timedatectl set-ntp true";
  return Math.abs(skewMs) > SKEW_FAIL_MS ? fail(`${seen}: tokens and signatures are refused`, mend) : warn(seen, mend);
}
