/**
 * Messages of containerd's snapshot service, and how they travel.
 *
 * ```
 * containerd.services.snapshots.v1.Snapshots      package and service: containerd 1.6 to 2.2
 * ```
 * The wire knows neither names nor packages of messages, only the numbers and types of their fields: of
 * api/services/snapshots/v1, api/types/mount, and google.protobuf's Timestamp and FieldMask. Fields that are not listed
 * are ignored.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import protobuf from "protobufjs";

/** A point in time. */
interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

/** A mount for containerd to make. */
export interface MountMessage {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** Kinds of snapshots, by their number. */
export const KIND_NUMBERS = { view: 1, active: 2, committed: 3 } as const;

/** A snapshot. */
export interface InfoMessage {
  readonly name: string;
  readonly parent: string;
  /** One of {@link KIND_NUMBERS}. */
  readonly kind: number;
  readonly createdAt: Timestamp | null;
  readonly updatedAt: Timestamp | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** What every request has. */
export interface ToSnapshotter {
  /** The name that the client's configuration gives to the snapshotter. */
  readonly snapshotter: string;
}

/** Requests and responses by the name of their schema. */
export interface Messages {
  readonly Empty: Readonly<Record<never, never>>;
  readonly CleanupRequest: ToSnapshotter;
  readonly CreateRequest: ToSnapshotter & {
    readonly key: string;
    readonly parent: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly KeyRequest: ToSnapshotter & { readonly key: string };
  readonly CommitRequest: ToSnapshotter & {
    readonly name: string;
    readonly key: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly UpdateRequest: ToSnapshotter & {
    readonly info: InfoMessage | null;
    readonly updateMask: { readonly paths: readonly string[] } | null;
  };
  readonly ListRequest: ToSnapshotter & { readonly filters: readonly string[] };
  readonly MountsResponse: { readonly mounts: readonly MountMessage[] };
  readonly InfoResponse: { readonly info: InfoMessage | null };
  readonly ListResponse: { readonly info: readonly InfoMessage[] };
  readonly UsageResponse: { readonly size: number; readonly inodes: number };
}

const text = (id: number) => ({ type: "string", id });
const texts = (id: number) => ({ rule: "repeated", type: "string", id });
const textMap = (id: number) => ({ keyType: "string", type: "string", id });
const int64 = (id: number) => ({ type: "int64", id });
const one = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ rule: "repeated", type, id });

const SCHEMAS = protobuf.Root.fromJSON({
  nested: {
    Timestamp: { fields: { seconds: int64(1), nanos: one("int32", 2) } },
    FieldMask: { fields: { paths: texts(1) } },
    Mount: { fields: { type: text(1), source: text(2), options: texts(4) } },
    Info: {
      fields: {
        name: text(1),
        parent: text(2),
        kind: one("int32", 3), // an enum
        createdAt: one("Timestamp", 4),
        updatedAt: one("Timestamp", 5),
        labels: textMap(6),
      },
    },
    Empty: { fields: {} },
    CleanupRequest: { fields: { snapshotter: text(1) } },
    CreateRequest: { fields: { snapshotter: text(1), key: text(2), parent: text(3), labels: textMap(4) } },
    KeyRequest: { fields: { snapshotter: text(1), key: text(2) } },
    CommitRequest: { fields: { snapshotter: text(1), name: text(2), key: text(3), labels: textMap(4) } },
    UpdateRequest: { fields: { snapshotter: text(1), info: one("Info", 2), updateMask: one("FieldMask", 3) } },
    ListRequest: { fields: { snapshotter: text(1), filters: texts(2) } },
    MountsResponse: { fields: { mounts: many("Mount", 1) } },
    InfoResponse: { fields: { info: one("Info", 1) } },
    ListResponse: { fields: { info: many("Info", 1) } },
    UsageResponse: { fields: { size: int64(1), inodes: int64(2) } },
  },
});

/** 64-bit numbers become numbers; what a message lacks gets its default, null for a message. */
const PLAIN = { longs: Number, defaults: true, arrays: true, objects: true } as const;

/** Turns messages of one schema into bytes and back. */
export interface Codec<T> {
  encode(message: T): Buffer;
  /** @throws {Error} for bytes that are no such message */
  decode(bytes: Uint8Array): T;
}

/** The codec of a message. */
export function codecOf<N extends keyof Messages>(name: N): Codec<Messages[N]> {
  const schema = SCHEMAS.lookupType(name);
  return {
    encode: (message) => Buffer.from(schema.encode(schema.fromObject(message)).finish()),
    decode: (bytes) => schema.toObject(schema.decode(bytes), PLAIN) as Messages[N],
  };
}
