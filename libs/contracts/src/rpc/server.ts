import { setMaxListeners } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type {
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Log, Part } from '@coppice/service-kit';
import { after, asCoppiceError, CoppiceError } from '@coppice/service-kit';
import { MAX_MESSAGE_BYTES } from './client';
import type { WireMethod } from './load-protos';
import { loadProto, loadService } from './load-protos';
import type { MessageStream, Method, Methods, ServiceContract } from './service';
import { toStatus } from './status';

export interface CallContext {
  /** Fires when the client cancelled, went away or its deadline passed. */
  readonly signal: AbortSignal;
  /** Who calls (`coppice-service`); empty when it did not say. */
  readonly identity: string;
  /** A request header; `undefined` when absent. */
  header(name: string): string | undefined;
}

type Handler<M> =
  M extends Method<'unary', infer Req, infer Res>
    ? (request: Req, context: CallContext) => Promise<Res>
    : M extends Method<'serverStream', infer Req, infer Res>
      ? (request: Req, context: CallContext) => AsyncIterable<Res>
      : M extends Method<'clientStream', infer Req, infer Res>
        ? (requests: AsyncIterable<Req>, context: CallContext) => Promise<Res>
        : M extends Method<'bidi', infer Req, infer Res>
          ? (stream: MessageStream<Res, Req>, context: CallContext) => Promise<void>
          : never;

export type Handlers<M extends Methods> = { readonly [K in keyof M]: Handler<M[K]> };

/** A contract with its handlers, ready to be served. */
export interface ServedContract {
  readonly contract: ServiceContract<Methods>;
  readonly handlers: Handlers<Methods>;
}

/** Pairs a contract with handlers; the types must agree. */
export function serve<M extends Methods>(
  contract: ServiceContract<M>,
  handlers: Handlers<M>,
): ServedContract {
  return { contract, handlers: handlers as unknown as Handlers<Methods> } as ServedContract;
}

export interface GrpcServerOptions {
  /** `unix:/path` or `host:port`. A socket file left by a dead process is removed. */
  readonly address: string;
  readonly services: readonly ServedContract[];
  readonly log: Log;
  readonly credentials?: ServerCredentials;
}

type AnyCall =
  | ServerUnaryCall<object, object>
  | ServerReadableStream<object, object>
  | ServerWritableStream<object, object>
  | ServerDuplexStream<object, object>;

function contextOf(call: AnyCall, abort: AbortController): CallContext {
  // A long stream has as many waits on its signal as it has things under way.
  setMaxListeners(0, abort.signal);
  (call as ServerUnaryCall<object, object>).on('cancelled', () =>
    abort.abort(new CoppiceError('Unavailable', 'cancelled', 'the caller went away')),
  );
  return {
    signal: abort.signal,
    identity: call.metadata.get('coppice-service')[0]?.toString() ?? '',
    header: (name) => call.metadata.get(name)[0]?.toString(),
  };
}

/** A gRPC server as a part of a service: listens on start, with health and reflection; on stop ends streams, then drains. */
export function grpcServer({ address, services, log, credentials }: GrpcServerOptions): Part {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  const streams = new Set<AbortController>();
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  for (const { contract, handlers } of services) {
    const wire = loadService(contract.file, contract.name);
    const implementation: UntypedServiceImplementation = {};
    const definition: Record<string, WireMethod> = {};
    for (const [name, method] of Object.entries(contract.methods)) {
      const wireName = name[0]!.toUpperCase() + name.slice(1);
      const wireMethod = wire[wireName] as WireMethod | undefined;
      if (!wireMethod) throw new Error(`${contract.name} has no method ${name}`);
      definition[wireName] = wireMethod;
      implementation[wireName] = handle(
        method,
        handlers[name] as never,
        wireMethod.path,
        log,
        streams,
      ) as UntypedServiceImplementation[string];
    }
    server.addService(definition as never, implementation);
  }
  new ReflectionService(Object.assign({}, ...services.map((s) => loadProto(s.contract.file)))).addToServer(
    server,
  );
  return {
    name: `grpc ${address}`,
    start: async () => {
      if (address.startsWith('unix:')) {
        mkdirSync(dirname(address.slice(5)), { recursive: true, mode: 0o700 });
        rmSync(address.slice(5), { force: true });
      }
      await new Promise<void>((resolve, reject) =>
        server.bindAsync(address, credentials ?? ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        ),
      );
      health.setStatus('', 'SERVING');
    },
    stop: async () => {
      health.setStatus('', 'NOT_SERVING');
      for (const stream of streams)
        stream.abort(new CoppiceError('Unavailable', 'shutting-down', 'the service is shutting down'));
      await new Promise<void>((resolve) => {
        const cancelForce = after(2_000, () => {
          server.forceShutdown();
          resolve();
        });
        server.tryShutdown(() => {
          cancelForce();
          resolve();
        });
      });
    },
  };
}

type AnyMethod = Methods[string];

function handle(
  method: AnyMethod,
  handler: (a: unknown, c: CallContext) => unknown,
  path: string,
  log: Log,
  streams: Set<AbortController>,
): unknown {
  const note = (error: unknown): ReturnType<typeof toStatus> => {
    const known = asCoppiceError(error);
    if (known.kind === 'Internal' || known.kind === 'Corrupt')
      log.error({ err: error, method: path }, 'request fails');
    return toStatus(known);
  };
  switch (method.shape) {
    case 'unary':
      return (call: ServerUnaryCall<object, object>, callback: (error: unknown, value?: unknown) => void) => {
        const abort = new AbortController();
        const context = contextOf(call, abort);
        void (async () =>
          method.response.toWire(await handler(method.request.fromWire(call.request, ''), context)))().then(
          (value) => callback(null, value),
          (error: unknown) => callback(note(error)),
        );
      };
    case 'clientStream':
      return (
        call: ServerReadableStream<object, object>,
        callback: (error: unknown, value?: unknown) => void,
      ) => {
        const abort = new AbortController();
        const context = contextOf(call, abort);
        const requests = (async function* () {
          for await (const wire of call) yield method.request.fromWire(wire, '');
        })();
        void (async () => method.response.toWire(await handler(requests, context)))().then(
          (value) => callback(null, value),
          (error: unknown) => callback(note(error)),
        );
      };
    case 'serverStream':
      return (call: ServerWritableStream<object, object>) => {
        const abort = new AbortController();
        streams.add(abort);
        const context = contextOf(call, abort);
        void (async () => {
          for await (const value of handler(
            method.request.fromWire(call.request, ''),
            context,
          ) as AsyncIterable<unknown>) {
            if (abort.signal.aborted) break;
            if (!call.write(method.response.toWire(value) as object)) await drainOf(call, abort.signal);
          }
          if (abort.signal.aborted) throw abort.signal.reason;
          call.end();
        })()
          .catch((error: unknown) => call.emit('error', note(error)))
          .finally(() => streams.delete(abort));
      };
    case 'bidi':
      return (call: ServerDuplexStream<object, object>) => {
        const abort = new AbortController();
        streams.add(abort);
        const context = contextOf(call, abort);
        const fail = (error: unknown): void => void call.emit('error', note(error));
        let ended = false;
        const closed = new Promise<void>((resolve, reject) => {
          call.on('end', () => resolve());
          abort.signal.addEventListener('abort', () => reject(abort.signal.reason), { once: true });
        });
        closed.catch(() => undefined);
        const stream: MessageStream<unknown, unknown> = {
          send: (message) =>
            ended || abort.signal.aborted || call.write(method.response.toWire(message) as object),
          drained: () => drainOf(call, abort.signal),
          onMessage: (receive) =>
            void call.on('data', (wire: object) => {
              if (ended) return;
              try {
                receive(method.request.fromWire(wire, ''));
              } catch (error) {
                ended = true;
                fail(error);
                abort.abort(error);
              }
            }),
          pause: () => void call.pause(),
          resume: () => void call.resume(),
          end: () => {
            if (ended) return;
            ended = true;
            call.end();
          },
          cancel: (reason) =>
            abort.abort(
              reason ?? new CoppiceError('Unavailable', 'cancelled', 'the service ended the stream'),
            ),
          closed,
        };
        void (handler as (s: MessageStream<unknown, unknown>, c: CallContext) => Promise<void>)(
          stream,
          context,
        )
          .then(
            () => stream.end(),
            (error: unknown) => {
              if (ended) return;
              ended = true;
              fail(error);
            },
          )
          .finally(() => streams.delete(abort));
      };
  }
}

function drainOf(
  call: ServerWritableStream<object, object> | ServerDuplexStream<object, object>,
  signal: AbortSignal,
): Promise<void> {
  if (!call.writableNeedDrain || signal.aborted) return Promise.resolve();
  return new Promise<void>((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.on('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
