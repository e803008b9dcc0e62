/**
 * Paths of a layer's files, in the layout of overlay2.
 *
 * ```
 * <home>/<id>/diff        the layer's own files; the overlay's upperdir
 *            /link        its short name, 26 characters
 *            /lower       layers below, topmost first: "l/AAAA:l/BBBB"; absent for the lowest layer
 *            /work        the overlay's workdir; absent without lower
 *            /merged      mount point; absent without lower and while not mounted
 *            /committed   a layer was made on top: mounted read-only from now on
 *            /apply       an ApplyDiff was begun (layer_record.ts)
 *            /layer.json  record of the finished layer (layer_record.ts)
 * <home>/l/<short>        symbolic link to ../<id>/diff
 * <home>/.making/<id>     a layer being created; renamed to its place when complete
 * <home>/.making/.view-…  mount point of a lazy image as containers see it, while a layer is being mounted on it
 * <home>/.removing/…      a layer being deleted; renamed away first
 * <home>/.lock            held while a store is open
 * ```
 *
 * @module
 */
import { isLayerId, layerId } from "./layer_id.ts";

/** Absolute paths of one layer. */
export interface LayerPaths {
  readonly root: string;
  readonly diff: string;
  readonly link: string;
  readonly lower: string;
  readonly work: string;
  readonly merged: string;
  readonly committed: string;
  readonly applyMarker: string;
  readonly record: string;
}

function below(root: string): LayerPaths {
  return {
    root,
    diff: `${root}/diff`,
    link: `${root}/link`,
    lower: `${root}/lower`,
    work: `${root}/work`,
    merged: `${root}/merged`,
    committed: `${root}/committed`,
    applyMarker: `${root}/apply`,
    record: `${root}/layer.json`,
  };
}

/** Prefix that no layer id has. */
const VIEW = ".view-";
const SHORT_NAME = /^[A-Z2-7]{26}$/;
const LINK_TARGET = /^\.\.\/([^/]+)\/diff$/;

/** Paths of a home. `home` is absolute and free of symbolic links. */
export class HomePaths {
  readonly links: string;
  readonly making: string;
  readonly removing: string;
  readonly lock: string;

  constructor(readonly home: string) {
    if (!home.startsWith("/") || home === "/") {
      throw new RangeError(`Cannot use home "${home}": not a folder of its own`);
    }
    this.links = `${home}/l`;
    this.making = `${home}/.making`;
    this.removing = `${home}/.removing`;
    this.lock = `${home}/.lock`;
  }

  /** Paths of the layer `id`. Validates the id without file access. */
  layer(id: string): LayerPaths {
    return below(`${this.home}/${layerId(id)}`);
  }

  /** Paths of the layer `id` while it is being created. */
  staging(id: string): LayerPaths {
    return below(`${this.making}/${layerId(id)}`);
  }

  /** Mount point of the view of a lazy image that is needed until the layer `id` is mounted on it. */
  viewPlace(id: string): string {
    return `${this.making}/${VIEW}${layerId(id)}`;
  }

  /** Whether a path is that of a {@link viewPlace}. */
  isViewPlace(path: string): boolean {
    return path.startsWith(`${this.making}/${VIEW}`);
  }

  /** Path of the link of a short name. */
  shortLink(short: string): string {
    return `${this.links}/${short}`;
  }
}

/** Target of the link of a layer. */
export function linkTarget(id: string): string {
  return `../${id}/diff`;
}

/** The id in the target of a link; undefined for a target not written by this store. */
export function idOfLinkTarget(target: string): string | undefined {
  const id = LINK_TARGET.exec(target)?.[1];
  return id !== undefined && isLayerId(id) ? id : undefined;
}

/** A new short name: 26 characters of base32, 130 random bits. */
export function newShortName(): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const random = crypto.getRandomValues(new Uint8Array(26));
  return Array.from(random, (byte) => alphabet.charAt(byte & 31)).join("");
}

/** Whether a text is a short name: what is written to files is read as a path again. */
export function isShortName(text: string): boolean {
  return SHORT_NAME.test(text);
}

/** Formats a `lower` file. */
export function formatLower(shortNames: readonly string[]): string {
  return shortNames.map((short) => `l/${short}`).join(":");
}

/** Parses a `lower` file into short names, topmost first; undefined if it is damaged. */
export function parseLower(text: string): string[] | undefined {
  const names: string[] = [];
  for (const entry of text.trimEnd().split(":")) {
    const short = entry.startsWith("l/") ? entry.slice(2) : "";
    if (!isShortName(short)) return undefined;
    names.push(short);
  }
  return names;
}
