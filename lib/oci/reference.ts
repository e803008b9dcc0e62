/**
 * Image references in Docker's notation: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
 *
 * ```ts
 * parseReference("nginx");                       // docker.io/library/nginx:latest
 * parseReference("localhost:5000/a/b:1@sha256:…");
 * ```
 * The first component is a host only if it contains a dot or a colon, is "localhost", or has an upper-case letter;
 * otherwise the image is on Docker Hub. Source: distribution/reference, grammar of version 0.6.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { type Digest, isDigest } from "./digest.ts";

/** Registry of references without a host. */
const DEFAULT_HOST = "docker.io";
/** Tag of references with neither tag nor digest. */
export const DEFAULT_TAG = "latest";

/** Maximum characters of a repository, without the host. */
const MAX_REPOSITORY = 255;

const LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** A parsed reference, with defaults applied. */
export interface Reference {
  /** "docker.io", "localhost:5000". */
  readonly host: string;
  /** "library/nginx". */
  readonly repository: string;
  /** Undefined if only a digest was given. */
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/**
 * Whether the text is a registry name: HOST or HOST:PORT that is valid in a URL, which the grammar alone does not
 * guarantee.
 */
export function isRegistryHost(text: string): boolean {
  return HOST.test(text) && URL.canParse(`https://${text}/`);
}

/** Whether the text is a valid tag: "1.27-alpine". */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Whether the text is a repository name without its host: "library/nginx". */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY && text.split("/").every((component) => COMPONENT.test(component));
}

/**
 * Parses a reference.
 *
 * @throws {NydusGdError} "usage"
 */
export function parseReference(text: string): Reference {
  const fail = (state: string): never => {
    throw new NydusGdError("usage", `Cannot parse image reference ${JSON.stringify(text.slice(0, 300))}: ${state}`, {
      hint: hintFor(text),
    });
  };
  if (text === "") fail("it is empty");
  if (text.includes("://")) fail("it is a URL");
  const at = text.indexOf("@");
  const digestText = at < 0 ? undefined : text.slice(at + 1);
  if (digestText !== undefined && !isDigest(digestText)) fail("its digest is malformed");
  let name = at < 0 ? text : text.slice(0, at);

  const colon = name.lastIndexOf(":");
  let tag: string | undefined;
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!isTag(tag)) fail("its tag is malformed");
  }
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const hasHost = slash > 0 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  const host = hasHost ? first : DEFAULT_HOST;
  let repository = hasHost ? name.slice(slash + 1) : name;
  if (!isRegistryHost(host)) fail("its host is malformed");
  if (repository !== repository.toLowerCase()) fail("its repository has upper-case letters");
  if (/^[0-9a-f]{64}$/.test(text)) fail("it is an image id, not a name");
  const isHub = host === DEFAULT_HOST || host === "index.docker.io";
  if (isHub && !repository.includes("/")) repository = `library/${repository}`;
  if (!isRepository(repository)) fail("its repository is malformed");
  return {
    host: isHub ? DEFAULT_HOST : host,
    repository,
    tag: tag ?? (digestText === undefined ? DEFAULT_TAG : undefined),
    digest: digestText as Digest | undefined,
  };
}

/** How to write what was meant. */
function hintFor(text: string): string {
  const [scheme] = /^\w+:\/\//.exec(text) ?? [];
  if (scheme !== undefined) return `leave ${scheme} out`;
  const paths = /^[./~]/.test(text) ? ", or a path as oci:DIR, tar:FILE or dir:DIR" : "";
  return `write it as [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]${paths}`;
}

/** Formats the complete reference: "docker.io/library/nginx:latest". */
export function formatReference(reference: Reference): string {
  const { host, repository, tag, digest } = reference;
  return `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** Formats a reference as `docker images` does: without Docker Hub's host and "library/". */
export function familiarReference(reference: Reference): string {
  const full = formatReference(reference);
  return full.replace(/^docker\.io\/(?:library\/(?=[^/]+$))?/, "");
}

/** Name of the manifest in a registry URL: the digest if there is one, otherwise the tag. */
export function manifestName(reference: Reference): string {
  return reference.digest ?? reference.tag ?? DEFAULT_TAG;
}
