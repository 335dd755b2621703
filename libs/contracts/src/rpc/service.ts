/**
 * A typed view of one gRPC service: each method names its two codecs, its shape and, for calls with a single answer, its
 * default deadline; a second table says who may call it. Clients and servers are made from the same tables, so they cannot
 * disagree.
 */
import type { AccessTable } from '../access';
import type { Codec } from './codec';

export type MethodShape = 'unary' | 'serverStream' | 'clientStream' | 'bidi';

export interface Method<S extends MethodShape, Req, Res> {
  readonly shape: S;
  readonly request: Codec<Req>;
  readonly response: Codec<Res>;
  /** Milliseconds until a call fails with `Unavailable`; streams without one end by cancellation. */
  readonly deadlineMs: number | undefined;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- variance: a table of unlike methods
export type Methods = Readonly<Record<string, Method<MethodShape, any, any>>>;

export interface ServiceContract<M extends Methods> {
  /** File in `protos/`. */
  readonly file: string;
  /** Full name, `coppice.pageserver.v1.Pageserver`. */
  readonly name: string;
  /** By name in lower camel case. */
  readonly methods: M;
  /** Who may call each of them. */
  readonly access: AccessTable<M>;
}

export function defineService<const M extends Methods>(
  file: string,
  name: string,
  methods: M,
  access: AccessTable<NoInfer<M>>,
): ServiceContract<M> {
  return { file, name, methods, access };
}

export function unary<Req, Res>(
  request: Codec<Req>,
  response: Codec<Res>,
  deadlineMs = 10_000,
): Method<'unary', Req, Res> {
  return { shape: 'unary', request, response, deadlineMs };
}

export function serverStream<Req, Res>(
  request: Codec<Req>,
  response: Codec<Res>,
  deadlineMs?: number,
): Method<'serverStream', Req, Res> {
  return { shape: 'serverStream', request, response, deadlineMs };
}

export function clientStream<Req, Res>(
  request: Codec<Req>,
  response: Codec<Res>,
  deadlineMs: number,
): Method<'clientStream', Req, Res> {
  return { shape: 'clientStream', request, response, deadlineMs };
}

export function bidi<Req, Res>(request: Codec<Req>, response: Codec<Res>): Method<'bidi', Req, Res> {
  return { shape: 'bidi', request, response, deadlineMs: undefined };
}

/** One side of a long-lived stream: sends `Out`, receives `In`. */
export interface MessageStream<Out, In> {
  /** Sends; `false` means the buffer is full: wait for `drained` before sending more. Ignored once the stream ended. */
  send(message: Out): boolean;
  /** Resolves when the send buffer has room, or when the stream has ended. */
  drained(): Promise<void>;
  /** Called for each message, in order. Set it in the same turn in which the stream was made. */
  onMessage(handler: (message: In) => void): void;
  /** Stops and restarts the flow of incoming messages; the peer sees back-pressure. */
  pause(): void;
  resume(): void;
  /** Ends the sending side in good order. */
  end(): void;
  /** Ends both sides now. */
  cancel(reason?: unknown): void;
  /** Resolves when the peer ended in good order; rejects with a `CoppiceError` when the stream broke. */
  readonly closed: Promise<void>;
}
