/** One route of the REST surface: what it accepts and answers, as schemas, and what it does. */
import type { CallOptions, controlContract, fleetContract, PublicClient } from '@coppice/contracts';
import type { z } from 'zod';

export type ControlClient = PublicClient<(typeof controlContract)['methods']>;
export type FleetClient = PublicClient<(typeof fleetContract)['methods']>;

/** A checked request. */
export interface RestRequest<Path, Query, Body> {
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
  readonly control: ControlClient;
  readonly fleet: FleetClient;
  /** The caller's key and headers, passed on to the control-plane. */
  readonly call: CallOptions;
  /** When it arrived, milliseconds since 1970. */
  readonly now: number;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** With `{name}` parameters, under `/api/v2`. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: { readonly schema: z.ZodType; readonly required: boolean };
  readonly status: 200 | 201 | 202;
  readonly response: z.ZodType;
  /** Of a deletion: the error code that says there is nothing to delete, which is answered with 204. */
  readonly gone?: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- variance: a table of unlike routes
  readonly handle: (request: RestRequest<any, any, any>) => Promise<unknown>;
}

type Out<S> = S extends z.ZodType ? z.infer<S> : undefined;

interface TypedRoute<
  P extends z.ZodType | undefined,
  Q extends z.ZodType | undefined,
  B extends z.ZodType | undefined,
  R extends z.ZodType,
> {
  readonly method: Route['method'];
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B extends z.ZodType ? { readonly schema: B; readonly required: boolean } : undefined;
  readonly status: Route['status'];
  readonly response: R;
  readonly gone?: string;
  readonly handle: (request: RestRequest<Out<P>, Out<Q>, Out<B>>) => Promise<z.infer<R>>;
}

/** Ties a handler's types to the schemas of its route. */
export function route<
  R extends z.ZodType,
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(typed: TypedRoute<P, Q, B, R>): Route {
  return typed as unknown as Route;
}

/** The next page's cursor as lists answer it. */
export function nextPage(cursor: string): { readonly cursor: string } | undefined {
  return cursor === '' ? undefined : { cursor };
}
