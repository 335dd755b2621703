import type { ChannelOptions } from '@grpc/grpc-js';
import { Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { CoppiceError } from '@coppice/service-kit';
import type { WireMethod } from './load-protos';
import { loadService } from './load-protos';
import type { CallerSecurity } from './security';
import { IDENTITY_HEADER } from './security';
import type { MessageStream, Method, Methods, ServiceContract } from './service';
import { fromStatus } from './status';
import { channelCredentials } from './transport';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Overrides the method's default deadline, milliseconds. */
  readonly deadlineMs?: number;
  /** Extra request headers, ASCII. */
  readonly headers?: Readonly<Record<string, string>>;
}

type Call<M> =
  M extends Method<'unary', infer Req, infer Res>
    ? (request: Req, options?: CallOptions) => Promise<Res>
    : M extends Method<'serverStream', infer Req, infer Res>
      ? (request: Req, options?: CallOptions) => AsyncIterable<Res>
      : M extends Method<'clientStream', infer Req, infer Res>
        ? (requests: AsyncIterable<Req> | Iterable<Req>, options?: CallOptions) => Promise<Res>
        : M extends Method<'bidi', infer Req, infer Res>
          ? (options?: CallOptions) => MessageStream<Req, Res>
          : never;

export type Client<M extends Methods> = { readonly [K in keyof M]: Call<M[K]> } & {
  /** The same channel with another identity token; closing it closes nothing. */
  as(token: string): Client<M>;
  /** Closes the channel; calls under way end. */
  close(): void;
};

/** A request of which fields that should have their default may be left out. */
export type Omittable<T> = T extends readonly (infer I)[]
  ? readonly Omittable<I>[]
  : T extends string | number | bigint | boolean | Uint8Array | undefined
    ? T
    : { readonly [K in keyof T]?: Omittable<T[K]> | undefined };

type PublicCall<M> =
  M extends Method<'unary', infer Req, infer Res>
    ? (request: Omittable<Req>, options?: CallOptions) => Promise<Res>
    : never;

/** The client of a public contract, for those who do not know every field; between our own services all are spelt out. */
export type PublicClient<M extends Methods> = { readonly [K in keyof M]: PublicCall<M[K]> } & {
  close(): void;
};

/** `connect` for public contracts. */
export function connectPublic<M extends Methods>(
  contract: ServiceContract<M>,
  options: ConnectOptions,
): PublicClient<M> {
  return connect(contract, options) as unknown as PublicClient<M>;
}

/** Largest message either side accepts, bytes: a compute image part or a WAL chunk is far below. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

const OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1000,
};

export interface ConnectOptions {
  /** `unix:/path` or `host:port`. */
  readonly address: string;
  /** Who calls; its token goes with every request. */
  readonly security: CallerSecurity;
}

/** A client of one service. Connecting is lazy; a lost connection is re-made with back-off. */
export function connect<M extends Methods>(
  contract: ServiceContract<M>,
  { address, security: { token = '', tls } }: ConnectOptions,
): Client<M> {
  const channel = new GrpcClient(address, channelCredentials(address, tls), OPTIONS);
  return callsOver(channel, contract, token, () => channel.close());
}

function callsOver<M extends Methods>(
  channel: GrpcClient,
  contract: ServiceContract<M>,
  token: string,
  close: () => void,
): Client<M> {
  const wire = loadService(contract.file, contract.name);
  const calls: Record<string, unknown> = {
    as: (other: string) => callsOver(channel, contract, other, () => undefined),
    close,
  };
  for (const [name, method] of Object.entries(contract.methods)) {
    const definition = wire[name[0]!.toUpperCase() + name.slice(1)] as WireMethod | undefined;
    if (!definition) throw new Error(`${contract.name} has no method ${name}`);
    calls[name] = makeCall(channel, definition, method, token);
  }
  return calls as Client<M>;
}

function metadataOf(token: string, options: CallOptions): Metadata {
  const metadata = new Metadata();
  if (token !== '') metadata.set(IDENTITY_HEADER, token);
  for (const [key, value] of Object.entries(options.headers ?? {})) metadata.set(key, value);
  return metadata;
}

type AnyMethod = Methods[string];

function makeCall(channel: GrpcClient, definition: WireMethod, method: AnyMethod, token: string): unknown {
  const { path } = definition;
  const encode = (model: unknown): Buffer =>
    definition.requestSerialize(method.request.toWire(model) as object);
  const decode = (bytes: Buffer): unknown =>
    method.response.fromWire(definition.responseDeserialize(bytes), '');
  const callOptions = (options: CallOptions): { deadline?: number } => {
    const ms = options.deadlineMs ?? method.deadlineMs;
    return ms === undefined ? {} : { deadline: new Date().getTime() + ms };
  };
  const watch = (signal: AbortSignal | undefined, cancel: () => void): (() => void) => {
    if (!signal) return () => undefined;
    signal.addEventListener('abort', cancel, { once: true });
    return () => signal.removeEventListener('abort', cancel);
  };

  switch (method.shape) {
    case 'unary':
      return (request: unknown, options: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          if (options.signal?.aborted) return reject(options.signal.reason);
          const call = channel.makeUnaryRequest(
            path,
            encode,
            decode,
            request,
            metadataOf(token, options),
            callOptions(options),
            (error, value) => {
              unwatch();
              if (error) reject(options.signal?.aborted ? options.signal.reason : fromStatus(error, path));
              else resolve(value);
            },
          );
          const unwatch = watch(options.signal, () => call.cancel());
        });
    case 'clientStream':
      return (requests: AsyncIterable<unknown>, options: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          const call = channel.makeClientStreamRequest(
            path,
            encode,
            decode,
            metadataOf(token, options),
            callOptions(options),
            (error, value) => {
              unwatch();
              if (error) reject(fromStatus(error, path));
              else resolve(value);
            },
          );
          const unwatch = watch(options.signal, () => call.cancel());
          void (async () => {
            for await (const request of requests) {
              if (!call.write(request))
                await new Promise<void>((r) => void call.once('drain', r).once('close', r));
            }
            call.end();
          })().catch((error: unknown) => {
            call.cancel();
            reject(error);
          });
        });
    case 'serverStream':
      return async function* (request: unknown, options: CallOptions = {}) {
        options.signal?.throwIfAborted();
        const call = channel.makeServerStreamRequest(
          path,
          encode,
          decode,
          request,
          metadataOf(token, options),
          callOptions(options),
        );
        const unwatch = watch(options.signal, () => call.cancel());
        try {
          for await (const value of call) yield value;
        } catch (error) {
          throw options.signal?.aborted ? options.signal.reason : fromStatus(error, path);
        } finally {
          unwatch();
          call.cancel();
        }
      };
    case 'bidi':
      return (options: CallOptions = {}) => {
        const call = channel.makeBidiStreamRequest(
          path,
          encode,
          decode,
          metadataOf(token, options),
          callOptions(options),
        );
        const unwatch = watch(options.signal, () => call.cancel());
        let over = false;
        let cancelled: unknown;
        const closed = new Promise<void>((resolve, reject) => {
          call.on('error', (error) => {
            over = true;
            unwatch();
            reject(cancelled ?? fromStatus(error, path));
          });
          call.on('end', () => {
            over = true;
            unwatch();
            resolve();
          });
        });
        closed.catch(() => undefined);
        const stream: MessageStream<unknown, unknown> = {
          send: (message) => over || call.write(message),
          drained: () => (over || !call.writableNeedDrain ? Promise.resolve() : drainedOrOver(call)),
          onMessage: (handler) => void call.on('data', handler),
          pause: () => void call.pause(),
          resume: () => void call.resume(),
          end: () => void call.end(),
          cancel: (reason) => {
            cancelled = reason ?? new CoppiceError('Unavailable', 'cancelled', `${path} was cancelled`);
            call.cancel();
          },
          closed,
        };
        return stream;
      };
  }
}

/** Resolves when there is room to write, or when there never will be; leaves no listener behind. */
function drainedOrOver(call: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'error', 'end']) call.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'error', 'end']) call.on(event, done);
  });
}
