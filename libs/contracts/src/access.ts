/**
 * Who may call what. Every contract has a table with an entry for each of its methods; the server asks it before the handler
 * runs. An entry is a list of services, or says in addition what of a request must agree with the caller's token:
 *
 *   wake: ['compute-proxy']                                                 a service of the fleet
 *   propose: { services: ['compute'], timeline: (m) => … }                  the token's timeline is the request's
 *   agentHeartbeat: { services: ['compute-agent'], node: (r) => r.nodeId }  the token's node is the request's
 *
 * `compute` and `compute-agent` run beside what tenants run: lists of whole services cannot name them, only entries that
 * bind their requests.
 */
import type { Identity, ServiceName } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import type { Method, Methods, MethodShape } from './rpc/service';

/** Whose tokens open a method whatever a request names. */
export type WholeService = Exclude<ServiceName, 'compute' | 'compute-agent'>;

type TimelineOf<Req> = (request: Req) => TimelineId | undefined;
type NodeOf<Req> = (request: Req) => string;

/** An entry that compares requests with the caller's token. */
export type BoundAccess<Req> =
  | {
      readonly services: readonly Exclude<ServiceName, 'compute-agent'>[];
      /** The timeline that a message is about; `undefined` for later messages of a stream, which are about the same. */
      readonly timeline: TimelineOf<Req>;
    }
  | {
      readonly services: readonly Exclude<ServiceName, 'compute'>[];
      /** The node that a request speaks for. */
      readonly node: NodeOf<Req>;
    };

export type Access<Req> = readonly WholeService[] | BoundAccess<Req>;

type RequestOf<M> = M extends Method<MethodShape, infer Req, infer _Res> ? Req : never;

/** An entry for each method; `api-key` where the handlers themselves tell callers apart by their API key. */
export type AccessTable<M extends Methods> = 'api-key' | { readonly [K in keyof M]: Access<RequestOf<M[K]>> };

/** Throws `identity-not-allowed` unless the entry names the caller's service. */
export function checkService(access: Access<never>, { service }: Identity, method: string): void {
  const allowed: readonly string[] = 'services' in access ? access.services : access;
  if (allowed.includes(service)) return;
  throw new CoppiceError('Forbidden', 'identity-not-allowed', `${service} may not call ${method}`, {
    remedy: `It is for ${allowed.join(', ')}.`,
  });
}

/** Throws `timeline-not-allowed` or `node-not-allowed` when a message is about another than the caller's token. */
export function checkRequest<Req>(access: Access<Req>, identity: Identity, request: Req): void {
  if ('timeline' in access) {
    const timeline = access.timeline(request);
    // A whole service's token names none, and opens all.
    if (timeline === undefined || identity.timeline === undefined || identity.timeline === timeline) return;
    throw new CoppiceError(
      'Forbidden',
      'timeline-not-allowed',
      `the token of ${identity.compute ?? identity.service} opens timeline ${identity.timeline}, not ${timeline}`,
      { remedy: 'Start a compute on that timeline: it gets a token of its own.' },
    );
  }
  if ('node' in access) {
    const node = access.node(request);
    if (identity.node === node) return;
    throw new CoppiceError(
      'Forbidden',
      'node-not-allowed',
      `the token of ${identity.service} is for node ${identity.node ?? '(none)'}, not ${node.slice(0, 60)}`,
      { remedy: 'Give each node a token that names it.' },
    );
  }
}
