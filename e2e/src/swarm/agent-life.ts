/** What one agent of the swarm does, and what it must find. */
import { AgentClient, eventually, type Json, sql } from '@coppice/testing';

/** What computes wrote is accounted for every few seconds. */
const METERED_WITHIN_MS = 20_000;

export interface LifePlan {
  readonly deep: number;
  readonly wide: number;
  /** Branches that the agent may have: fewer than it asks for. */
  readonly maxBranches: number;
  /** Whether it connects to one of its branches and writes. */
  readonly writes: boolean;
}

export interface Turns {
  /** Bounds how many requests are under way. */
  readonly api: <T>(work: () => Promise<T>) => Promise<T>;
  /** Bounds how many computes run. */
  readonly compute: <T>(work: () => Promise<T>) => Promise<T>;
}

interface Branch {
  readonly id: string;
  readonly uri?: string;
  readonly endpoint?: string;
}

export class AgentLife {
  readonly client: AgentClient;
  readonly #plan: LifePlan;
  readonly #turns: Turns;
  #project = '';
  #main = '';
  #chain: Branch[] = [];
  /** Creations that a limit refused. */
  refused = 0;

  constructor(client: AgentClient, plan: LifePlan, turns: Turns) {
    this.client = client;
    this.#plan = plan;
    this.#turns = turns;
  }

  /** A project, a chain of forks, a fan of forks until the limit refuses. Ends with as many branches as are allowed. */
  async grow(): Promise<void> {
    const { deep, wide, maxBranches, writes } = this.#plan;
    const { project, branch } = await this.#ask('POST', '/projects', { project: {} });
    this.#project = project.id;
    this.#main = branch.id;
    for (let depth = 0, parent = this.#main; depth < deep; depth++) {
      const made = await this.#fork(parent, writes && depth === 0);
      if (!made) throw new Error(`a fork at depth ${depth} is refused though the limit is ${maxBranches}`);
      this.#chain.push(made);
      parent = made.id;
    }
    const fan = await Promise.all(Array.from({ length: wide }, () => this.#fork(this.#main, false)));
    const made = 1 + deep + fan.filter(Boolean).length;
    if (made !== maxBranches) throw new Error(`${made} branches were made, ${maxBranches} are allowed`);
  }

  /** Writes to a branch, goes back to a checkpoint of it, and finds what was there; its sizes move, its sister's do not. */
  async writeAndUndo(): Promise<void> {
    const [branch, untouched] = this.#chain;
    const { id, uri, endpoint } = branch!;
    await this.#turns.compute(async () => {
      await sql(
        uri!,
        'create table t (n int, pad text)',
        'insert into t select i, repeat(md5(i::text), 20) from generate_series(1, 500) i',
      );
      await this.#ask('POST', this.#of(id, '/checkpoints'), { checkpoint: { name: 'good' } });
      await sql(uri!, 'delete from t', 'drop table if exists gone');
      await this.#ask('POST', this.#of(id, '/restore'), { source_checkpoint: 'good' });
      const [row] = await sql(uri!, 'select count(*)::int as n from t');
      if (row!['n'] !== 500) throw new Error(`after the undo the table has ${row!['n']} rows of 500`);
      await this.#ask('POST', `/projects/${this.#project}/endpoints/${endpoint}/suspend`);
    });
    await eventually(METERED_WITHIN_MS, async () => {
      const { written_data_bytes: written } = await this.#branch(id);
      if (!(written > 100_000))
        throw new Error(`${written} bytes are said to be written where 500 rows were`);
    });
    const { written_data_bytes: none } = await this.#branch(untouched!.id);
    if (none !== 0) throw new Error(`${none} bytes are said to be written where nothing was`);
  }

  /** Deletes the lower part of the chain, brings it back, and has all branches again. */
  async pruneAndRecover(): Promise<void> {
    const top = this.#chain[Math.floor(this.#chain.length / 2)]!.id;
    await this.#ask('DELETE', this.#of(top, '?children=delete'));
    const gone = await this.#request('GET', this.#of(top, ''));
    if (gone.status !== 404) throw new Error(`a deleted branch answers ${gone.status}`);
    await this.#ask('POST', this.#of(top, '/recover'));
    const { count } = await this.#ask('GET', `/projects/${this.#project}/branches/count`);
    if (count !== this.#plan.maxBranches) throw new Error(`${count} branches after the recovery`);
  }

  /** Ends everything for good. */
  async end(): Promise<void> {
    await this.#ask('DELETE', `/projects/${this.#project}?hard_delete=true`);
  }

  async #fork(parent: string, withEndpoint: boolean): Promise<Branch | undefined> {
    const answer = await this.#request('POST', `/projects/${this.#project}/branches`, {
      branch: { parent_id: parent },
      ...(withEndpoint ? { endpoints: [{ type: 'read_write' }] } : {}),
    });
    if (answer.status === 429 && answer.body.code === 'quota-exceeded') {
      this.refused += 1;
      return undefined;
    }
    if (answer.status !== 201)
      throw new Error(`a fork is answered ${answer.status} ${JSON.stringify(answer.body)}`);
    const { branch, endpoints, connection_uris: uris } = answer.body;
    return withEndpoint
      ? { id: branch.id, uri: uris[0].connection_uri, endpoint: endpoints[0].id }
      : { id: branch.id };
  }

  #of(branch: string, rest: string): string {
    return `/projects/${this.#project}/branches/${branch}${rest}`;
  }

  async #branch(id: string): Promise<Json> {
    return (await this.#ask('GET', this.#of(id, ''))).branch;
  }

  #ask(method: string, path: string, body?: unknown): Promise<Json> {
    return this.#turns.api(() => this.client.ask(method, path, body));
  }

  #request(method: string, path: string, body?: unknown) {
    return this.#turns.api(() => this.client.request(method, path, body));
  }
}
