/** The typed client of the public contracts: deadlines, retries and idempotency keys around every call. */
import {
  type CallOptions,
  connectPublic,
  controlContract,
  fleetContract,
  type PublicClient,
} from '@coppice/contracts';
import {
  asCoppiceError,
  type Clock,
  CoppiceError,
  type Random,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { type Method, REPEATS } from './repeats';
import { DEFAULT_RETRIES, pauseBeforeRetry, type RetryPolicy } from './retry';

export interface ClientOptions {
  /** `host:port` or `unix:/path` of a control-plane's public address. */
  readonly address: string;
  readonly apiKey: string;
  /** Under which the audit log and the accounts keep what is done, a path such as `job-7/step-2`. */
  readonly taskId?: string;
  /** For other than loopback and unix addresses: `{}` to trust what Node.js trusts, or the PEM of an authority. */
  readonly tls?: { readonly ca?: Buffer };
  /** Time for a call with all its retries, milliseconds; by default twice what its method is given for one. */
  readonly deadlineMs?: number;
  readonly retries?: Partial<RetryPolicy>;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Of one call; beside `signal`, what overrides the client's options. */
export interface ClientCall {
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
  readonly taskId?: string;
  /** Of calls that create; one is made up for each call that has none. */
  readonly idempotencyKey?: string;
}

type Calls<C> = {
  readonly [K in Exclude<keyof C, 'close'>]: C[K] extends (
    request: infer Req,
    options?: CallOptions,
  ) => infer Answer
    ? (request: Req, call?: ClientCall) => Answer
    : never;
};

/** All methods of control.proto and fleet.proto. */
export type CoppiceClient = Calls<PublicClient<(typeof controlContract)['methods']>> &
  Calls<PublicClient<(typeof fleetContract)['methods']>> & {
    /** The same connection, under another task. */
    withTask(taskId: string): CoppiceClient;
    /** Ends the connection and calls under way. */
    close(): void;
  };

const CONTRACTS = [controlContract, fleetContract] as const;

/** Connects lazily; a lost connection is made again. Throws `Malformed` for options that cannot be. */
export function createClient(options: ClientOptions): CoppiceClient {
  const policy = { ...DEFAULT_RETRIES, ...options.retries };
  if (!/^[\x21-\x7e]{1,512}$/.test(options.apiKey))
    throw new CoppiceError(
      'Malformed',
      'bad-api-key',
      'the API key is empty or holds characters that none has',
      {
        remedy: 'Use a key as it was shown when it was made, cpk_….',
      },
    );
  if (!Number.isInteger(policy.attempts) || policy.attempts < 1 || policy.attempts > 100)
    throw new CoppiceError('Malformed', 'bad-retries', `retries.attempts is ${policy.attempts}`, {
      remedy: 'Use 1 (none) to 100.',
    });
  const security = { tls: options.tls };
  const peers = CONTRACTS.map((contract) =>
    connectPublic(contract as typeof controlContract, { address: options.address, security }),
  );
  const close = (): void => peers.forEach((peer) => peer.close());
  return callsOf(peers, options, policy, close);
}

type Peer = PublicClient<(typeof controlContract)['methods']>;

function callsOf(
  peers: readonly Peer[],
  options: ClientOptions,
  policy: RetryPolicy,
  close: () => void,
): CoppiceClient {
  const calls = CONTRACTS.flatMap((contract, i) =>
    Object.entries(contract.methods).map(([name, { deadlineMs }]) => {
      const once = peers[i]![name as keyof Peer] as unknown as Once;
      return [name, retried(name as Method, once, deadlineMs, options, policy)] as const;
    }),
  );
  return {
    ...Object.fromEntries(calls),
    withTask: (taskId: string) => callsOf(peers, { ...options, taskId }, policy, close),
    close,
  } as unknown as CoppiceClient;
}

type Once = (request: unknown, options: CallOptions) => Promise<unknown>;

function retried(
  method: Method,
  once: Once,
  onceMs: number,
  { apiKey, taskId, deadlineMs, clock = systemClock, random = systemRandom }: ClientOptions,
  policy: RetryPolicy,
) {
  const repeat = REPEATS[method];
  return async (request: unknown, call: ClientCall = {}): Promise<unknown> => {
    const end = clock.monotonic() + (call.deadlineMs ?? deadlineMs ?? 2 * onceMs);
    const task = call.taskId ?? taskId;
    const headers = {
      authorization: `Bearer ${apiKey}`,
      ...(task === undefined ? {} : { 'x-task-id': task }),
      ...(repeat === 'keyed'
        ? { 'idempotency-key': call.idempotencyKey ?? random.bytes(16).toString('hex') }
        : {}),
    };
    for (let made = 1; ; made += 1) {
      try {
        const left = Math.max(1, end - clock.monotonic());
        return await once(request, {
          headers,
          deadlineMs: Math.min(onceMs, left),
          ...(call.signal ? { signal: call.signal } : {}),
        });
      } catch (error) {
        if (call.signal?.aborted) throw error;
        const pause = pauseBeforeRetry(policy, {
          error: asCoppiceError(error),
          made,
          repeat,
          leftMs: end - clock.monotonic(),
          chance: random.unit(),
        });
        if (pause === undefined) throw error;
        await clock.sleep(pause, call.signal).catch((woken: unknown) => {
          throw call.signal?.reason ?? woken;
        });
      }
    }
  };
}
