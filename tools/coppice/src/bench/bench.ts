/** `coppice bench`: measures beside their baselines on a stack of its own; exits 1 when a target is missed. */
import { Stack } from '@coppice/testing';
import { Problem } from '../problem';
import { prepareTestMachine } from '../test/test-machine';
import { benchColdStart } from './cold-start';
import { benchCommit } from './commit';
import type { Figure } from './figures';
import { report, verdict } from './figures';
import { benchDensity } from './density';
import { benchFork } from './fork';
import { benchHttp } from './http-sql';
import { benchProject } from './project';
import { benchProxy } from './proxy';
import { benchReadWarm } from './read-warm';
import { benchWakeStorm } from './wake-storm';

const BENCHES: Readonly<Record<string, (stack: Stack) => Promise<Figure[]>>> = {
  fork: benchFork,
  project: benchProject,
  density: benchDensity,
  'cold-start': benchColdStart,
  'wake-storm': benchWakeStorm,
  commit: benchCommit,
  'read-warm': benchReadWarm,
  proxy: benchProxy,
  http: benchHttp,
};

/** What the agent keeps ready where a node has nothing else to do: its own default. */
const AS_A_NODE = { COPPICE_AGENT_SPARE_MEMORIES: '100' };

export async function bench(names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !(name in BENCHES));
  if (unknown !== undefined)
    throw new Problem(`there is no bench ${unknown}: choose from ${Object.keys(BENCHES).join(', ')}`);
  prepareTestMachine({ benches: true });
  const figures: Figure[] = [];
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
    const stack = await Stack.start(AS_A_NODE);
    try {
      const measured = await BENCHES[name]!(stack);
      report(measured);
      figures.push(...measured);
    } finally {
      await stack.remove();
    }
  }
  if (figures.some((f) => verdict(f) === 'short')) process.exitCode = 1;
}
