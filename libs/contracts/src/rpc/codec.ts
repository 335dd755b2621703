/**
 * Between wire objects (as @grpc/proto-loader makes them: camelCase, 64-bit integers as `Long`s, bytes as Buffer)
 * and models. `fromWire` checks everything on arrival and throws `Malformed` naming the field; `toWire` checks
 * nothing. A message's codec is a table of field codecs, from which the model's type follows.
 */
import { CoppiceError } from '@coppice/service-kit';
import type { Generation, Lsn, PageKey, Term, TimelineId } from '@coppice/vocabulary';
import { generation, lsn, pageKeyFromBytes, parseTimelineId, term } from '@coppice/vocabulary';

export interface Codec<M> {
  fromWire(wire: unknown, field: string): M;
  toWire(model: M): unknown;
}

/** The model type of a codec. */
export type Model<C> = C extends Codec<infer M> ? M : never;

function malformed(field: string, wanted: string, got: unknown): CoppiceError {
  const shown = Buffer.isBuffer(got) ? `${got.length} bytes` : JSON.stringify(got)?.slice(0, 80);
  return new CoppiceError('Malformed', 'malformed-message', `${field} is ${shown}, wanted ${wanted}`);
}

function codec<M>(
  fromWire: (wire: unknown, field: string) => M,
  toWire: (model: M) => unknown = (m) => m,
): Codec<M> {
  return { fromWire, toWire };
}

export const text: Codec<string> = codec((wire, field) => {
  if (typeof wire !== 'string') throw malformed(field, 'text', wire);
  return wire;
});

export const bool: Codec<boolean> = codec((wire, field) => {
  if (typeof wire !== 'boolean') throw malformed(field, 'true or false', wire);
  return wire;
});

/** A 32-bit integer or a double. */
export const number: Codec<number> = codec((wire, field) => {
  if (typeof wire !== 'number' || Number.isNaN(wire)) throw malformed(field, 'a number', wire);
  return wire;
});

/** Any bytes; the buffer is not copied. */
export const bytes: Codec<Buffer> = codec((wire, field) => {
  if (Buffer.isBuffer(wire)) return wire;
  if (wire instanceof Uint8Array) return Buffer.from(wire.buffer, wire.byteOffset, wire.byteLength);
  throw malformed(field, 'bytes', wire);
});

/** A 64-bit integer of the wire in two halves, whatever their signs. Text would be dear to make and to read. */
interface Long {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
}

function isLong(wire: unknown): wire is Long {
  return typeof wire === 'object' && wire !== null && Number.isInteger((wire as Long).low) && 'high' in wire;
}

const HALF = 2 ** 32;
const highOf = ({ high, unsigned }: Long): number => (unsigned ? high >>> 0 : high);

/** A 64-bit integer of the wire as `bigint`. */
export const int64: Codec<bigint> = codec(
  (wire, field) => {
    if (!isLong(wire)) throw malformed(field, 'a 64-bit integer', wire);
    return (BigInt(highOf(wire)) << 32n) | BigInt(wire.low >>> 0);
  },
  (model): Long => ({
    low: Number(BigInt.asIntN(32, model)),
    high: Number(BigInt.asIntN(32, model >> 32n)),
    unsigned: model >= 0n,
  }),
);

/** A 64-bit integer of the wire that must be exact as a number. */
export const safeInt: Codec<number> = codec(
  (wire, field) => {
    const value = isLong(wire) ? highOf(wire) * HALF + (wire.low >>> 0) : wire;
    if (!Number.isSafeInteger(value)) throw malformed(field, 'an integer within 2^53', wire);
    return value as number;
  },
  // A field without a sign would take a negative number for 0; its halves are refused on arrival.
  (model) => (model < 0 ? int64.toWire(BigInt(model)) : model),
);

export const lsnField: Codec<Lsn> = codec(
  (wire, field) => lsn(int64.fromWire(wire, field)),
  (model) => int64.toWire(model),
);

/** An LSN that may be absent; 0 on the wire. */
export const optionalLsn: Codec<Lsn | undefined> = codec(
  (wire, field) => {
    const value = lsnField.fromWire(wire, field);
    return value === 0n ? undefined : value;
  },
  (model) => int64.toWire(model ?? 0n),
);

export const termField: Codec<Term> = codec((wire, field) => term(safeInt.fromWire(wire, field)));

export const generationField: Codec<Generation> = codec((wire, field) =>
  generation(safeInt.fromWire(wire, field)),
);

/** 16 raw bytes on the wire. */
export const timelineId: Codec<TimelineId> = codec(
  (wire, field) => {
    const raw = bytes.fromWire(wire, field);
    const id = parseTimelineId(raw.toString('hex'));
    if (!id) throw malformed(field, 'a timeline id of 16 bytes', wire);
    return id;
  },
  (model) => Buffer.from(model, 'hex'),
);

/** A timeline id that may be absent; no bytes on the wire. */
export const optionalTimelineId: Codec<TimelineId | undefined> = codec(
  (wire, field) => (bytes.fromWire(wire, field).length === 0 ? undefined : timelineId.fromWire(wire, field)),
  (model) => (model === undefined ? Buffer.alloc(0) : timelineId.toWire(model)),
);

/** 18 raw bytes on the wire. */
export const pageKey: Codec<PageKey> = codec(
  (wire, field) => {
    const key = pageKeyFromBytes(bytes.fromWire(wire, field));
    if (!key) throw malformed(field, 'a page key of 18 bytes', wire);
    return key;
  },
  (model) => Buffer.from(model, 'latin1'),
);

/** A closed set of names; the wire has the enum's name in upper snake case with `prefix`. */
export function oneOf<const T extends readonly string[]>(prefix: string, names: T): Codec<T[number]> {
  const toName = new Map<string, T[number]>(
    names.map((n) => [`${prefix}_${n.toUpperCase().replaceAll('-', '_')}`, n]),
  );
  const toEnum = new Map([...toName].map(([e, n]) => [n, e]));
  return codec(
    (wire, field) => {
      const name = toName.get(wire as string);
      if (name === undefined) throw malformed(field, `one of ${names.join(', ')}`, wire);
      return name;
    },
    (model) => toEnum.get(model),
  );
}

export function repeated<M>(item: Codec<M>): Codec<readonly M[]> {
  return codec<readonly M[]>(
    (wire, field) => {
      if (!Array.isArray(wire)) throw malformed(field, 'a list', wire);
      return wire.map((w, i) => item.fromWire(w, `${field}[${i}]`));
    },
    (model) => model.map((m) => item.toWire(m)),
  );
}

/** A message or proto3 `optional` field that may be absent. */
export function optional<M>(item: Codec<M>): Codec<M | undefined> {
  return codec<M | undefined>(
    (wire, field) => (wire === null || wire === undefined ? undefined : item.fromWire(wire, field)),
    (model) => (model === undefined ? undefined : item.toWire(model)),
  );
}

type UndefinedKeys<T> = { [K in keyof T]: undefined extends T[K] ? K : never }[keyof T];
type Loosen<T> = { readonly [K in Exclude<keyof T, UndefinedKeys<T>>]: T[K] } & {
  readonly [K in UndefinedKeys<T>]?: T[K];
};
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- variance: a table of codecs of unlike models
export type AnyFields = Readonly<Record<string, Codec<any>>>;

/** A message: one codec per field. Fields whose model may be `undefined` are optional in the model. */
export function message<const F extends AnyFields>(
  fields: F,
): Codec<Loosen<{ [K in keyof F]: Model<F[K]> }>> {
  type M = Loosen<{ [K in keyof F]: Model<F[K]> }>;
  const entries = Object.entries(fields);
  return codec<M>(
    (wire, field) => {
      if (typeof wire !== 'object' || wire === null) throw malformed(field, 'a message', wire);
      const model: Record<string, unknown> = {};
      for (const [name, c] of entries)
        model[name] = c.fromWire(
          (wire as Record<string, unknown>)[name],
          field === '' ? name : `${field}.${name}`,
        );
      return model as M;
    },
    (model) => {
      const wire: Record<string, unknown> = {};
      // What a caller of a public contract leaves out has its default on arrival.
      for (const [name, c] of entries) {
        const value = (model as Record<string, unknown>)[name];
        if (value !== undefined) wire[name] = c.toWire(value);
      }
      return wire;
    },
  );
}

/** A `map<string, string>`. */
export const textMap: Codec<Readonly<Record<string, string>>> = codec((wire, field) => {
  if (typeof wire !== 'object' || wire === null) throw malformed(field, 'a map', wire);
  return Object.fromEntries(Object.entries(wire).map(([k, v]) => [k, text.fromWire(v, `${field}.${k}`)]));
});

type Union<F> = { [K in keyof F]: { readonly kind: K } & { readonly value: Model<F[K]> } }[keyof F];

/** A message that is a single `oneof` named `body`: exactly one of the fields, as `{kind, value}`. */
export function union<const F extends AnyFields>(fields: F): Codec<Union<F>> {
  return codec<Union<F>>(
    (wire, field) => {
      const w = wire as Record<string, unknown>;
      const kind = w?.['body'] as string | undefined;
      const c = kind === undefined ? undefined : fields[kind];
      if (kind === undefined || c === undefined)
        throw malformed(`${field}.body`, `one of ${Object.keys(fields).join(', ')}`, kind ?? null);
      return { kind, value: c.fromWire(w[kind], field === '' ? kind : `${field}.${kind}`) } as Union<F>;
    },
    (model) => ({ [model.kind as string]: fields[model.kind as string]!.toWire(model.value) }),
  );
}

/** A message without fields. */
export const empty: Codec<Readonly<Record<string, never>>> = codec(
  () => ({}),
  () => ({}),
);
