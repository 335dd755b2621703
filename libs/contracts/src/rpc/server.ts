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
import { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Identity, Log, Part } from '@coppice/service-kit';
import { after, asCoppiceError, CoppiceError, shownOutside, systemClock } from '@coppice/service-kit';
import { MAX_MESSAGE_BYTES } from './client';
import type { MethodAccess, Pass } from './gate';
import { Gate } from './gate';
import type { WireMethod } from './load-protos';
import { loadProto, loadService } from './load-protos';
import type { ServerSecurity } from './security';
import { CLIENT_ADDRESS_HEADER, IDENTITY_HEADER } from './security';
import type { MessageStream, Method, Methods, ServiceContract } from './service';
import { toStatus } from './status';
import { serverCredentials } from './transport';

export interface CallContext {
  /** Fires when the client cancelled, went away or its deadline passed. */
  readonly signal: AbortSignal;
  /** Who calls, as its token proves; absent only where callers are told apart by API key. */
  readonly identity: Identity | undefined;
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
  /** Whose tokens are believed, and what TCP connections are kept private with. */
  readonly security: ServerSecurity;
  /** For contracts whose callers have API keys only: over TLS no certificate is asked of clients, and none may speak for others. */
  readonly anyone?: boolean;
}

type AnyCall =
  | ServerUnaryCall<object, object>
  | ServerReadableStream<object, object>
  | ServerWritableStream<object, object>
  | ServerDuplexStream<object, object>;

/** Made once: every call that is over is told of, also one that went well, and a stack trace costs more than the telling. */
const CALLER_GONE = new CoppiceError('Unavailable', 'cancelled', 'the caller went away');

function contextOf(call: AnyCall, abort: AbortController, { identity }: Pass, anyone: boolean): CallContext {
  // A long stream has as many waits on its signal as it has things under way.
  setMaxListeners(0, abort.signal);
  (call as ServerUnaryCall<object, object>).on('cancelled', () => abort.abort(CALLER_GONE));
  return {
    signal: abort.signal,
    identity,
    header: (name) =>
      anyone && name === CLIENT_ADDRESS_HEADER
        ? hostOf(call.getPeer())
        : call.metadata.get(name)[0]?.toString(),
  };
}

/** `10.0.0.7` of `10.0.0.7:40112`; as it is when it is no such address. */
function hostOf(peer: string): string {
  return /^\[?([^\]]+?)\]?:\d+$/.exec(peer)?.[1] ?? peer;
}

/** A gRPC server as a part of a service: listens on start, with health and reflection; on stop ends streams, then drains. */
export function grpcServer({ address, services, log, security, anyone = false }: GrpcServerOptions): Part {
  const closed = services.find(({ contract }) => contract.access !== 'api-key');
  if (anyone && closed) throw new Error(`${closed.contract.name} is for services only`);
  const credentials = serverCredentials(address, security.tls, { anyone });
  const gate = new Gate({ address, verifier: security.verifier, log, clock: systemClock });
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
      const access = accessOf(contract, name);
      implementation[wireName] = handle(
        method,
        handlers[name] as never,
        wireMethod.path,
        (call) => gate.enter(wireMethod.path, access, call.metadata.get(IDENTITY_HEADER)[0]?.toString()),
        log,
        streams,
        anyone,
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
        server.bindAsync(address, credentials, (error) => (error ? reject(error) : resolve())),
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

/** An entry that is missing all the same lets nobody in. */
function accessOf({ access }: ServiceContract<Methods>, method: string): MethodAccess {
  return access === 'api-key' ? undefined : ((access[method] ?? []) as MethodAccess);
}

function handle(
  method: AnyMethod,
  handler: (a: unknown, c: CallContext) => unknown,
  path: string,
  enter: (call: AnyCall) => Pass,
  log: Log,
  streams: Set<AbortController>,
  anyone: boolean,
): unknown {
  const note = (error: unknown): ReturnType<typeof toStatus> => {
    const known = asCoppiceError(error);
    if (known.kind === 'Internal' || known.kind === 'Corrupt')
      log.error({ err: error, method: path }, 'request fails');
    return toStatus(anyone ? shownOutside(known) : known);
  };
  switch (method.shape) {
    case 'unary':
      return (call: ServerUnaryCall<object, object>, callback: (error: unknown, value?: unknown) => void) => {
        const abort = new AbortController();
        void (async () => {
          const pass = enter(call);
          const request = checked(pass, method.request.fromWire(call.request, ''));
          return method.response.toWire(await handler(request, contextOf(call, abort, pass, anyone)));
        })().then(
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
        const requests = async function* (pass: Pass): AsyncGenerator<unknown> {
          for await (const wire of call) yield checked(pass, method.request.fromWire(wire, ''));
        };
        void (async () => {
          const pass = enter(call);
          return method.response.toWire(await handler(requests(pass), contextOf(call, abort, pass, anyone)));
        })().then(
          (value) => callback(null, value),
          (error: unknown) => callback(note(error)),
        );
      };
    case 'serverStream':
      return (call: ServerWritableStream<object, object>) => {
        const abort = new AbortController();
        streams.add(abort);
        void (async () => {
          const pass = enter(call);
          const request = checked(pass, method.request.fromWire(call.request, ''));
          const values = handler(request, contextOf(call, abort, pass, anyone)) as AsyncIterable<unknown>;
          for await (const value of values) {
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
        const fail = (error: unknown): void => void call.emit('error', note(error));
        let pass: Pass;
        try {
          pass = enter(call);
        } catch (error) {
          streams.delete(abort);
          return fail(error);
        }
        const context = contextOf(call, abort, pass, anyone);
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
                receive(checked(pass, method.request.fromWire(wire, '')));
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

function checked(pass: Pass, request: unknown): unknown {
  pass.check(request);
  return request;
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
