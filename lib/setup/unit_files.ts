/**
 * systemd units: the daemon's own, and the drop-ins for Docker's and containerd's.
 *
 * Source: systemd.service(5), systemd.exec(5), systemd.kill(5), systemd 252.
 *
 * @module
 */
import { STORED_DESCRIPTORS } from "../mount/keeper/guard.ts";
import { PLUGIN_VARIABLE } from "./docker/docker_version.ts";

/** Room for the stored descriptors, and for those that a successor stores before the old copies are removed. */
const STORE_SIZE = 4 * STORED_DESCRIPTORS;

/** The daemon's unit. */
export const SERVICE = "nydus-gd.service";
/** Docker's unit. */
export const DOCKER_SERVICE = "docker.service";
/** containerd's unit. */
export const CONTAINERD_SERVICE = "containerd.service";
/** Directory of the administrator's units. */
export const UNIT_DIR = "/etc/systemd/system";
/** Our files in it. */
export const UNIT_PATH = `${UNIT_DIR}/${SERVICE}`;
export const ENABLED_PATH = `${UNIT_DIR}/multi-user.target.wants/${SERVICE}`;
export const DROP_IN_PATH = `${UNIT_DIR}/${DOCKER_SERVICE}.d/nydus-gd.conf`;
export const CONTAINERD_DROP_IN_PATH = `${UNIT_DIR}/${CONTAINERD_SERVICE}.d/nydus-gd.conf`;

/**
 * Unit of the daemon.
 *
 * @param command program (an absolute path) and leading arguments of this program
 * @param snapshotterSocket where it serves containerd, if it does
 */
export function serviceUnit(command: readonly string[], snapshotterSocket: string | undefined): string {
  const flags = snapshotterSocket === undefined ? [] : ["--snapshotter-socket", snapshotterSocket];
  const before = snapshotterSocket === undefined ? DOCKER_SERVICE : `${CONTAINERD_SERVICE} ${DOCKER_SERVICE}`;
  return `# Written by nydus-gd setup. Put changes into a drop-in: systemctl edit ${SERVICE}

[Unit]
Description=nydus-gd, containers that start before their image is downloaded
Wants=network-online.target
After=network-online.target local-fs.target
# Docker asks for its storage driver as soon as it starts, and stops before it.
Before=${before}
# Containers wait while the daemon is down, so restart it without a limit.
StartLimitIntervalSec=0

[Service]
# Ready when its sockets answer.
Type=notify
ExecStart=${[...command, "serve", ...flags].map(execWord).join(" ")}
Restart=always
RestartSec=100ms
TimeoutStartSec=2min
# The keeper holds the images of running containers while the daemon is down: a stop, a crash or an upgrade ends only
# the daemon.
KillMode=process
OOMPolicy=continue
# If the keeper is killed too (systemctl kill, out of memory), descriptors stay in systemd's own store, as does the
# snapshotter's socket, where containerd waits for the next daemon. Before systemd 254 nothing tells the daemon that it
# has a store.
FileDescriptorStoreMax=${STORE_SIZE}
Environment=FDSTORE=${STORE_SIZE}
OOMScoreAdjust=-900
LimitNOFILE=1048576
TasksMax=infinity
# Registry logins of root
Environment=HOME=/root

# Sandboxing that mounts allow. Docker has to see every mount, so nothing here gives the daemon a mount namespace of
# its own (PrivateTmp, ProtectSystem and the like), or takes devices away. Layers hold setuid files, device nodes and
# capabilities.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_RAWIO CAP_SYS_PACCT CAP_SYS_TTY_CONFIG
CapabilityBoundingSet=~CAP_NET_ADMIN CAP_NET_RAW CAP_SYSLOG CAP_WAKE_ALARM CAP_AUDIT_CONTROL CAP_AUDIT_READ

[Install]
WantedBy=multi-user.target
`;
}

/**
 * Drop-in for Docker's unit, which wants our daemon and orders it first. It is not required: stopping or restarting our
 * daemon must not stop Docker.
 */
export function dockerDropIn(options: { readonly needsVariable: boolean }): string {
  const service = options.needsVariable
    ? `
[Service]
# Docker 27 supports graph-driver plugins only with this variable.
Environment=${PLUGIN_VARIABLE}=1
`
    : "";
  return `# Written by nydus-gd setup.

[Unit]
Wants=${SERVICE}
After=${SERVICE}
${service}`;
}

/** Drop-in for containerd's unit, like {@link dockerDropIn}. */
export function containerdDropIn(): string {
  return `# Written by nydus-gd setup.

[Unit]
Wants=${SERVICE}
After=${SERVICE}
`;
}

/** Escapes a word of ExecStart=: quoted if necessary, without specifiers or variables. */
function execWord(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : `"${plain.replace(/[\\"]/g, "\\$&")}"`;
}
