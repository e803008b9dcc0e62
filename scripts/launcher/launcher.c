/*
 * The launcher of nydus-gd: one executable that carries the Deno runtime and the bundled program.
 *
 *   [this ELF][pad][deno][main.js][…_worker.js …][table][trailer]       pack.h; pack.ts writes it
 *
 * The files are unpacked once into <base>/<digest of the table>, where <base> is /var/cache/nydus-gd, else
 * $XDG_CACHE_HOME/nydus-gd, else ~/.cache/nydus-gd. Then `deno run main.js …` takes this process over, so that the pid,
 * the descriptors and the signals of `nydus-gd` are those of the program.
 *
 * What is checked, and when:
 *  - At every start the whole content of every file, by XXH64. Of the 80 ms that a start may take, SHA-256 of the 95 MB
 *    runtime would need 30 by the processor's instructions on two idle cores, and 340 in plain C; XXH64 needs 9 on one.
 *    So decay of the medium is seen, and any change that goes by the file system, whatever inode and times say. A block
 *    that cannot be read is damage too.
 *  - Where a file fails, each is checked by SHA-256, and what is not sound is unpacked again: its SHA-256 is checked on
 *    the way, then it is synced and renamed into place. When that fails the executable itself is damaged, and refuses.
 *  - All expected digests stand in the table of this executable, and the table's own SHA-256 in the trailer. Nothing that
 *    lies beside the unpacked files is believed.
 *  - Folders and files must belong to root or to the user, and be writable by the owner only. XXH64 withstands damage,
 *    not an adversary: who can write the owner's files is kept out by these permissions alone.
 *
 * After unpacking, the folders of other versions that are not in use and were not for 30 days are removed: folders.h.
 *
 * Built with -DINSTALLED_DIR="…" the files lie there, put and guarded by the package manager, and nothing is unpacked.
 * -DRUNNING_DIR="…" has links to them that an upgrade leaves alone: build_deb.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "report.h"

#define RUNTIME "deno"
#define PROGRAM "main.js"
#define SYSTEM_BASE "/var/cache/nydus-gd"

/* The user's own cache folder; NULL: the user has none. */
static const char *user_base(void) {
  const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (xdg != NULL && xdg[0] == '/') return text("%s/nydus-gd", xdg);
  if (home != NULL && home[0] == '/') return text("%s/.cache/nydus-gd", home);
  return NULL;
}

/* Tells the program where this executable is, for units that start it again. One that was replaced since has no name. */
static void tell_executable(void) {
  static char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length > 0 && path[0] == '/' && strstr(path, " (deleted)") == NULL) setenv("NYDUS_GD_EXECUTABLE", path, 1);
  else unsetenv("NYDUS_GD_EXECUTABLE");
}

/* Tells the program that it is to outlive its terminal, as under nohup(1): the runtime soon forgets it. */
static void tell_nohup(void) {
  struct sigaction action;
  if (sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN) setenv("NYDUS_GD_NOHUP", "1", 1);
}

/* The runtime wants a working directory. Another one in its stead would give relative paths another meaning. */
static int has_working_directory(void) {
  char *path = getcwd(NULL, 0);
  free(path);
  return path != NULL;
}

/* Becomes the program that lies in `dir`. Returns only on failure, with errno. `caches`: the folder for Deno's folder of
 * compiled code. V8_FLAGS comes from the build. */
static void start(const char *dir, const char *caches, int argc, char **argv) {
  static char *const OPTIONS[] = {"run",       "--allow-all", "--quiet",  "--no-config",
                                  "--no-lock", "--no-remote", "--no-npm", "--no-prompt"};
  const size_t options = sizeof OPTIONS / sizeof *OPTIONS;
  char **arguments = calloc((size_t)argc + options + 4, sizeof *arguments);
  if (arguments == NULL) return;
  size_t n = 0;
  arguments[n++] = argc > 0 ? argv[0] : "nydus-gd";
  for (size_t i = 0; i < options; i++) arguments[n++] = OPTIONS[i];
  arguments[n++] = V8_FLAGS;
  arguments[n++] = text("%s/" PROGRAM, dir);
  for (int i = 1; i < argc; i++) arguments[n++] = argv[i];
  tell_executable();
  tell_nohup();
  setenv("DENO_DIR", text("%s/deno-dir", caches), 1);
  setenv("DENO_NO_UPDATE_CHECK", "1", 1);
  unsetenv("NODE_OPTIONS"); /* meant for another program: it would change this one */
  execv(text("%s/" RUNTIME, dir), arguments);
}

#ifdef INSTALLED_DIR

int main(int argc, char **argv) {
  if (!has_working_directory()) return fail("cd /", "find the working directory");
  const char *base = geteuid() == 0 ? SYSTEM_BASE : user_base();
  /* A folder that cannot be written is no obstacle: Deno goes on without the cache. */
  const char *caches = base != NULL ? base : INSTALLED_DIR;
  if (access(RUNNING_DIR, X_OK) == 0) start(RUNNING_DIR, caches, argc, argv);
  start(INSTALLED_DIR, caches, argc, argv); /* the package is not configured yet */
  return fail("reinstall the package nydus-gd", "start " INSTALLED_DIR "/" RUNTIME);
}

#else

#include "folders.h"

/* Starts the program from `base`. Returns when it cannot, with errno. */
static void start_from(const char *base, int argc, char **argv) {
  char id[ID_DIGITS + 1];
  struct stat status;
  for (int i = 0; i < ID_DIGITS / 2; i++) snprintf(id + 2 * i, 3, "%02x", trailer.table_digest[i]);
  int all = open_folder(base);
  if (all < 0) return;
  const char *path = text("%s/%s", base, id);
  int dir = open_in_use(path);
  int ready = dir >= 0 && is_ready(dir);
  if (dir >= 0 && !ready && make_ready(dir)) {
    ready = 1;
    prune(all, id);
  }
  if (ready && fcntl(dir, F_SETFD, 0) == 0) { /* the program inherits the lock with the descriptor */
    /* Compiled code is only taken from a folder of our own. */
    const char *own = fstat(dir, &status) == 0 && status.st_uid == geteuid() ? path : user_base();
    start(path, own != NULL ? own : path, argc, argv);
  }
  int saved = errno;
  if (dir >= 0) close(dir);
  close(all);
  errno = saved;
}

/* Where a standard stream is closed, the folder that the program inherits must not become it. */
static void open_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
  open_standard_streams();
  if (!has_working_directory()) return fail("cd /", "find the working directory");
  if (!read_table()) return fail("get the file again", "read the program inside this executable");
  start_from(SYSTEM_BASE, argc, argv);
  const char *base = user_base();
  if (base == NULL) return fail("set XDG_CACHE_HOME to a folder of yours", "unpack into " SYSTEM_BASE);
  char *parent = text("%s", base);
  *strrchr(parent, '/') = 0;
  mkdir(parent, 0700); /* missing on a new account; whether it is there now is seen next */
  start_from(base, argc, argv);
  return fail("set XDG_CACHE_HOME to a folder of yours that allows execution", "unpack into %s", base);
}

#endif
