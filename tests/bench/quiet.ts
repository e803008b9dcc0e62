/**
 * Waits until the machine is idle, since figures measured while other processes are busy say little.
 *
 * While this process waits, all activity in /proc/stat is that of others. Time stolen by a hypervisor is not included.
 *
 * @module
 */

/** Maximum share of all CPUs that others may use. */
const LIMIT = 0.15;
const WINDOW_MS = 500;

/** Waits before each measurement until the total patience is used up. */
export class Quiet {
  #waitedMs = 0;
  #measures = 0;
  /** Measurements started although others were busy, and the highest share that these used. */
  #disturbed = 0;
  #worst = 0;

  /** @param patienceMs maximum total time to wait */
  constructor(private readonly patienceMs: number) {}

  /** Resolves when others use less than {@link LIMIT}, or patience has run out. */
  async wait(): Promise<void> {
    this.#measures++;
    for (;;) {
      const share = await shareOfOthers();
      if (share < LIMIT) return;
      this.#waitedMs += WINDOW_MS;
      if (this.#waitedMs <= this.patienceMs) continue;
      this.#disturbed++;
      this.#worst = Math.max(this.#worst, share);
      return;
    }
  }

  /** Describes in a sentence how quiet it was. */
  get report(): string {
    if (this.#disturbed === 0) return `${this.#measures} measures, each on a quiet machine`;
    const worst = `${Math.round(this.#worst * 100)} %`;
    return `${this.#disturbed} of ${this.#measures} measures began while other processes used up to ${worst} of the CPUs`;
  }
}

async function shareOfOthers(): Promise<number> {
  const before = await cpuTimes();
  await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
  const after = await cpuTimes();
  return (after.busy - before.busy) / Math.max(1, after.total - before.total);
}

/** Ticks of all CPUs since boot. */
async function cpuTimes(): Promise<{ busy: number; total: number }> {
  const [line = ""] = (await Deno.readTextFile("/proc/stat")).split("\n", 1);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line.split(/\s+/)
    .slice(1).map(Number);
  const busy = user + nice + system + irq + softirq;
  return { busy, total: busy + idle + iowait + steal };
}
