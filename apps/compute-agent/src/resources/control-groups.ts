import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { UsageCounters } from '@coppice/scaling';
import type { Clock, Log } from '@coppice/service-kit';
import type { CgroupDialect, GroupCounters } from './cgroup-dialect';
import type { ComputeResources, ResourceGroup, SizeInForce } from './compute-resources';

/** Groups of an agent by its process id; the agent itself moves into one of its own where it must. */
export const OURS = /^coppice-(\d+)(?:-self)?$/;
export const nameOfAgent = (pid: number): string => `coppice-${pid}`;

const REMOVE_POLL_MS = 20;
const REMOVE_PATIENCE_MS = 10_000;
/** CPU below which there is nothing else to look at, seconds. */
const STILL = 0.000_5;

export interface ControlGroupsOptions {
  readonly dialect: CgroupDialect;
  readonly nodeCpus: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Computes in control groups of the kernel. */
export class ControlGroups implements ComputeResources {
  readonly #options: ControlGroupsOptions;
  readonly #leaving = new Set<Promise<void>>();
  #made = 0;

  constructor(options: ControlGroupsOptions) {
    this.#options = options;
  }

  get kind(): CgroupDialect['kind'] {
    return this.#options.dialect.kind;
  }

  get nodeCpus(): number {
    return this.#options.nodeCpus;
  }

  group(name: string): ResourceGroup {
    const { dialect, clock } = this.#options;
    // One that is still being removed may have had the name, too.
    this.#made += 1;
    return new ControlGroup(dialect, `${name}-${this.#made}`, clock, (directories, settled) =>
      this.#remove(directories, settled),
    );
  }

  async removeLeftovers(): Promise<void> {
    for (const ours of this.#options.dialect.parents) {
      const parent = dirname(ours);
      for (const name of await readdir(parent)) {
        const pid = OURS.exec(name)?.[1];
        if (pid === undefined || (await isAlive(pid))) continue;
        const groups = (await directoriesIn(join(parent, name))).map((group) => join(parent, name, group));
        // One that has processes is somebody's still.
        for (const directory of [...groups, join(parent, name)]) await removed(directory);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#leaving);
    this.#remove(this.#options.dialect.parents, Promise.resolve());
    await Promise.all(this.#leaving);
  }

  /** In this order, when nobody makes them any more. The kernel lets a group go once its last process is gone. */
  #remove(directories: readonly string[], settled: Promise<void>): void {
    const leaving = settled
      .then(() => this.#removeAll(directories))
      .finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  async #removeAll(directories: readonly string[]): Promise<void> {
    const { clock, log } = this.#options;
    const deadline = clock.monotonic() + REMOVE_PATIENCE_MS;
    for (const directory of directories) {
      try {
        while (!(await removed(directory))) {
          if (clock.monotonic() > deadline)
            throw new Error(`it still has processes after ${REMOVE_PATIENCE_MS} ms`);
          await clock.sleep(REMOVE_POLL_MS);
        }
      } catch (error) {
        // It costs some kernel memory, and the next agent that starts here tries again.
        log.warn({ err: error, directory }, 'a control group is left');
      }
    }
  }
}

class ControlGroup implements ResourceGroup {
  readonly #dialect: CgroupDialect;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #remove: (directories: readonly string[], settled: Promise<void>) => void;
  /** A move takes as long as the kernel likes, and the group may be given up meanwhile. */
  #adding: Promise<void> = Promise.resolve();
  #isDiscarded = false;
  #counters: GroupCounters | undefined;
  #last: UsageCounters | undefined;

  constructor(
    dialect: CgroupDialect,
    name: string,
    clock: Clock,
    remove: (directories: readonly string[], settled: Promise<void>) => void,
  ) {
    this.#dialect = dialect;
    this.#name = name;
    this.#clock = clock;
    this.#remove = remove;
  }

  add(pid: number): Promise<void> {
    const added = this.#add(pid);
    this.#adding = added.catch(() => undefined);
    return added;
  }

  async #add(pid: number): Promise<void> {
    for (const parent of this.#dialect.parents) await mkdir(join(parent, this.#name), { recursive: true });
    await this.#place(pid);
    // What it forked before it was in the group is outside; what it forks from now on is not.
    for (const child of await childrenOf(pid)) await this.#place(child);
    if (!this.#isDiscarded) this.#counters = this.#dialect.counters(this.#name);
  }

  usage(): UsageCounters {
    if (!this.#counters) throw new Error(`group ${this.#name} has no process yet`);
    const atMs = this.#clock.monotonic();
    const isStill = this.#last !== undefined && this.#counters.cpuSeconds() - this.#last.cpuSeconds < STILL;
    this.#last = isStill ? { ...this.#last!, atMs } : { ...this.#counters.all(), atMs };
    return this.#last;
  }

  async resize(size: SizeInForce | undefined): Promise<void> {
    for (const { path, value } of this.#dialect.settings(this.#name, size)) await writeFile(path, value);
  }

  discard(): void {
    this.#isDiscarded = true;
    this.#counters?.close();
    this.#counters = undefined;
    this.#remove(
      this.#dialect.parents.map((parent) => join(parent, this.#name)),
      this.#adding,
    );
  }

  async #place(pid: number): Promise<void> {
    for (const parent of this.#dialect.parents) {
      try {
        await writeFile(join(parent, this.#name, 'cgroup.procs'), String(pid));
      } catch (error) {
        // It has ended: whoever started it hears of that.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  try {
    return (await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1'))
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

async function isAlive(pid: string): Promise<boolean> {
  return (await readdir(`/proc/${pid}`).catch(() => [])).length > 0;
}

async function directoriesIn(path: string): Promise<string[]> {
  return (await readdir(path, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/** False while processes are in it. */
async function removed(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY') return false;
    throw error;
  }
}
