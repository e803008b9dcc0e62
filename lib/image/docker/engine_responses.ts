/**
 * Schemas of dockerd's responses. Unknown members are ignored.
 *
 * Source: Docker Engine API 1.41 (`GET /info`, `/containers/json`, `/images/NAME/json`).
 *
 * @module
 */
import * as v from "valibot";

/** `GET /info`. */
export const InfoResponse = v.pipe(
  v.object({
    Driver: v.string(),
    DriverStatus: v.nullish(v.array(v.tuple([v.string(), v.string()])), []),
    DockerRootDir: v.optional(v.string(), "/var/lib/docker"),
    ExperimentalBuild: v.optional(v.boolean(), false),
    Images: v.optional(v.number(), 0),
    LiveRestoreEnabled: v.optional(v.boolean(), false),
    SecurityOptions: v.nullish(v.array(v.string()), []),
    ServerVersion: v.optional(v.string(), "unknown"),
  }),
  v.transform((info): DockerInfo => ({
    driver: info.Driver,
    driverStatus: info.DriverStatus,
    usesContainerdStore: info.DriverStatus.some(([name, value]) =>
      name === "driver-type" && value.startsWith("io.containerd.snapshotter")
    ),
    dataRoot: info.DockerRootDir,
    isExperimental: info.ExperimentalBuild,
    imageCount: info.Images,
    hasLiveRestore: info.LiveRestoreEnabled,
    securityOptions: info.SecurityOptions,
    version: info.ServerVersion,
  })),
);

/** System information of dockerd. */
export interface DockerInfo {
  /** Name of the storage driver. */
  readonly driver: string;
  /** Status rows of the storage driver, as `docker info` shows them. */
  readonly driverStatus: readonly (readonly [name: string, value: string])[];
  /** Whether the images are in containerd, and the storage driver is one of its snapshotters. */
  readonly usesContainerdStore: boolean;
  /** The data-root. */
  readonly dataRoot: string;
  /** Whether experimental features are enabled. */
  readonly isExperimental: boolean;
  readonly imageCount: number;
  /** Whether containers keep running while dockerd restarts. */
  readonly hasLiveRestore: boolean;
  /** "name=userns", "name=rootless", … */
  readonly securityOptions: readonly string[];
  /** "26.1.5+dfsg1"; "unknown" if absent. */
  readonly version: string;
}

/** `GET /images/NAME/json`. */
export const ImageResponse = v.pipe(
  v.object({
    Id: v.string(),
    RootFS: v.object({ Layers: v.nullish(v.array(v.string()), []) }),
  }),
  v.transform(({ Id, RootFS }): DockerImage => ({ id: Id, diffIds: RootFS.Layers })),
);

/** An image in Docker's store. */
export interface DockerImage {
  /** Digest "sha256:…" of its configuration. */
  readonly id: string;
  /** diffIDs, lowest first. */
  readonly diffIds: readonly string[];
}

/** `GET /containers/json`. */
export const ContainersResponse = v.array(v.pipe(
  v.object({ Id: v.string(), Names: v.nullish(v.array(v.string()), []), Image: v.string() }),
  v.transform(({ Id, Names, Image }): RunningContainer => ({
    id: Id,
    name: Names[0]?.replace(/^\//, "") ?? Id.slice(0, SHORT_ID),
    image: Image,
  })),
));

/** Length of Docker's short IDs. */
const SHORT_ID = 12;

/** A running container. */
export interface RunningContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
}

/** The body of an error response. */
export const ErrorResponse = v.object({ message: v.string() });
