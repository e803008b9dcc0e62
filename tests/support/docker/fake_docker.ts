/**
 * The part of Docker's API that describes a dockerd, for versions and setups that cannot be run here.
 *
 * @module
 */

/** What it reports. */
export interface FakeDockerState {
  version: string;
  info: Record<string, unknown>;
  containers: { readonly Id: string; readonly Names: readonly string[]; readonly Image: string }[];
}

/** A dockerd 20.10 on overlay2 without experimental features. */
export function plainDocker(): FakeDockerState {
  return {
    version: "20.10.24",
    info: {
      Driver: "overlay2",
      DriverStatus: [["Backing Filesystem", "extfs"]],
      DockerRootDir: "/var/lib/docker",
      ExperimentalBuild: false,
      LiveRestoreEnabled: false,
      SecurityOptions: ["name=seccomp,profile=default"],
      Images: 3,
    },
    containers: [],
  };
}

/** Serves `state`, which may be changed later, at the Unix socket `path`. */
export function serveFakeDocker(path: string, state: FakeDockerState): AsyncDisposable {
  return Deno.serve({ path, onListen: () => {} }, (request) => {
    switch (new URL(request.url).pathname) {
      case "/info":
        return Response.json({ ServerVersion: state.version, ...state.info });
      case "/containers/json":
        return Response.json(state.containers);
      default:
        return new Response("page not found", { status: 404 });
    }
  });
}
