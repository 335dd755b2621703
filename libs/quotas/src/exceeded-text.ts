import type { LimitName } from './resources';

export interface ExceededFacts {
  readonly limit: number;
  readonly used: number;
  /** What was asked for on top; only for what is counted. */
  readonly wanted?: number;
  /** When it helps to come again, Unix milliseconds: the end of the period, or of the wait. */
  readonly againAtMs?: number;
}

export interface ExceededText {
  readonly message: string;
  readonly remedy: string;
}

/** What an agent that reached a limit is told: the limit, what it uses, and what to do. Safe for clients. */
export function exceededText(name: LimitName, facts: ExceededFacts): ExceededText {
  return { message: MESSAGES[name](facts), remedy: `${REMEDIES[name](facts)} ${RAISE(name)}` };
}

const RAISE = (name: LimitName): string =>
  `Or ask the operator to raise the limit ${snake(name)} of this agent.`;

const counted =
  (noun: string) =>
  ({ limit, used, wanted = 1 }: ExceededFacts): string =>
    `this agent has ${used} of at most ${limit} ${noun} and asks for ${wanted} more`;

const MESSAGES: Record<LimitName, (facts: ExceededFacts) => string> = {
  projects: counted('projects'),
  branches: counted('branches'),
  computes: counted('running computes'),
  storageBytes: ({ limit, used }) => `this agent stores ${used} bytes, its limit is ${limit}`,
  computeSeconds: ({ limit, used }) =>
    `this agent used ${used} of its ${limit} compute seconds of this month`,
  requestsPerSecond: ({ limit }) => `this agent sends more than ${limit} requests per second`,
};

const REMEDIES: Record<LimitName, (facts: ExceededFacts) => string> = {
  projects: () => 'Delete a project that is not needed any more.',
  branches: () => 'Delete branches that are not needed any more.',
  computes: () => 'Suspend a compute, or wait until an idle one suspends.',
  storageBytes: () => 'Delete branches or data that are not needed any more.',
  computeSeconds: ({ againAtMs }) => `Computes start again${at(againAtMs)} with a new month.`,
  requestsPerSecond: ({ againAtMs }) => `Send the request again${at(againAtMs) || ' in a moment'}.`,
};

function at(timeMs: number | undefined): string {
  return timeMs === undefined ? '' : ` at ${new Date(timeMs).toISOString()}`;
}

function snake(name: LimitName): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
