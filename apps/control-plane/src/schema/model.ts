/**
 * A database's schema as read: its objects, what each needs to exist first, and of each the text that does not depend on the
 * order of writing. `deparsed` texts (expressions, definitions) are PostgreSQL's own, with every name qualified.
 */

/** Kinds in the order in which pg_dump writes them where nothing else asks for another order. */
export const OBJECT_KINDS = [
  'schema',
  'language',
  'collation',
  'transform',
  'extension',
  'type',
  'cast',
  'function',
  'aggregate',
  'access-method',
  'operator',
  'operator-family',
  'conversion',
  'search-parser',
  'search-template',
  'search-dictionary',
  'search-configuration',
  'foreign-data-wrapper',
  'server',
  'table',
  'table-attach',
  'row-type',
  'default',
  'pre-data-boundary',
  'post-data-boundary',
  'constraint',
  'index',
  'index-attach',
  'statistics',
  'rule',
  'trigger',
  'foreign-key',
  'policy',
  'publication',
  'publication-table',
  'publication-schema',
  'default-privileges',
  'event-trigger',
] as const;

export type ObjectKind = (typeof OBJECT_KINDS)[number];

/** Privileges of an object as access control items, and those it would have untouched. */
export interface Grants {
  /** As GRANT names it: `TABLE`, `FUNCTION` … */
  readonly on: string;
  /** Quoted, without its schema. */
  readonly name: string;
  readonly items: readonly string[];
  readonly base: readonly string[];
}

interface Identity {
  /** `<catalog oid>:<oid>` as pg_depend names it, or made up for what the catalog has no row of. */
  readonly id: string;
  readonly kind: ObjectKind;
  readonly schema: string | null;
  readonly name: string;
  /** What orders objects of one kind, schema and name. */
  readonly ties: readonly (string | number)[];
}

/** An object that one fixed text creates. */
export interface PlainObject extends Identity {
  readonly form: 'plain';
  /** Its type and name in the heading above its text; no text, no heading. */
  readonly type: string;
  readonly tag: string;
  readonly owner: string;
  readonly sql: string;
  /** `TYPE public.mood`: what ALTER … OWNER TO names; null where ownership is not separate. */
  readonly ownerOf: string | null;
  /** `TYPE` and `mood` of COMMENT ON TYPE public.mood. */
  readonly comment: { readonly on: string; readonly name: string } | null;
  readonly grants: Grants | null;
  /** Names of the columns of a composite type, by number; they have comments. */
  readonly columns?: ReadonlyMap<number, string>;
  /** Identity under which the comments of those columns are kept. */
  readonly columnsOf?: string;
}

/** Known for the sake of the order only: row types, shells, what inheritance attaches. */
export interface SilentObject extends Identity {
  readonly form: 'silent';
}

export interface Column {
  readonly number: number;
  readonly name: string;
  readonly type: string;
  readonly notNull: boolean;
  /** Defined by this table, not only by a parent. */
  readonly local: boolean;
  readonly identity: 'a' | 'd' | null;
  readonly generated: boolean;
  /** Quoted and qualified, when it is not the type's. */
  readonly collation: string | null;
  /** `SET STATISTICS 100` and the like, without ALTER TABLE … ALTER COLUMN. */
  readonly settings: readonly string[];
  readonly items: readonly string[];
}

export interface TableObject extends Identity {
  readonly form: 'table';
  /** relkind: r table, p partitioned, f foreign, v view, m materialized view, c composite type. */
  readonly relation: string;
  readonly owner: string;
  readonly unlogged: boolean;
  readonly columns: readonly Column[];
  /** Identities of parents, in the order of INHERITS. */
  readonly parents: readonly string[];
  readonly partition: boolean;
  /** `name='value'` lists, storage parameters and those of its TOAST table. */
  readonly options: readonly string[];
  readonly checkOption: string | null;
  readonly accessMethod: string | null;
  readonly tablespace: string | null;
  readonly ofType: string | null;
  readonly partitionKey: string | null;
  /** Query of a view, without the semicolon. */
  readonly query: string | null;
  readonly server: string | null;
  readonly serverOptions: string | null;
  readonly replicaIdentity: string;
  readonly forcesRowSecurity: boolean;
  readonly dependsOnExtensions: readonly string[];
  readonly items: readonly string[] | null;
  readonly base: readonly string[];
  /** Whether the table is itself written (tables of extensions are not). */
  readonly written: boolean;
}

export interface SequenceObject extends Identity {
  readonly form: 'sequence';
  readonly owner: string;
  readonly unlogged: boolean;
  readonly valueType: string;
  readonly start: string;
  readonly increment: string;
  readonly minimum: string | null;
  readonly maximum: string | null;
  readonly cache: string;
  readonly cycle: boolean;
  readonly ownedBy: { readonly table: string; readonly column: number; readonly identity: boolean } | null;
  readonly items: readonly string[] | null;
  readonly base: readonly string[];
}

/** A default or the expression of a generated column. */
export interface DefaultObject extends Identity {
  readonly form: 'default';
  readonly table: string;
  readonly column: number;
  readonly expression: string;
}

/** A CHECK constraint of a table, or CHECK or NOT NULL of a domain. */
export interface CheckObject extends Identity {
  readonly form: 'check';
  /** Table or domain. */
  readonly of: string;
  readonly type: 'c' | 'n';
  readonly definition: string;
  readonly local: boolean;
  readonly validated: boolean;
}

export interface DomainObject extends Identity {
  readonly form: 'domain';
  readonly owner: string;
  /** Base type with its collation. */
  readonly base: string;
  readonly notNull: boolean;
  readonly default: string | null;
  readonly grants: Grants | null;
}

/** A rule; that of a view is its query. */
export interface RuleObject extends Identity {
  readonly form: 'rule';
  readonly table: string;
  readonly isQuery: boolean;
  readonly definition: string;
  /** `ENABLE ALWAYS`, `ENABLE REPLICA`, `DISABLE` or null. */
  readonly enabled: string | null;
}

/** A partition joins its table. */
export interface AttachObject extends Identity {
  readonly form: 'attach';
  readonly parent: string;
  readonly child: string;
  readonly bound: string;
}

export interface IndexObject extends Identity {
  readonly form: 'index';
  readonly table: string;
  /** The constraint that makes it, which is written in its place. */
  readonly constraint: string | null;
  /** Identity of the index of the table that this one's table is a partition of. */
  readonly parent: string | null;
  readonly definition: string;
  readonly tablespace: string | null;
  readonly clustered: boolean;
  /** Whether it is the table's replica identity. */
  readonly identifies: boolean;
  /** `2 SET STATISTICS 100` of its columns. */
  readonly statistics: readonly string[];
  readonly extensions: readonly string[];
}

/** The index of a partition joins the one of its table. */
export interface IndexAttachObject extends Identity {
  readonly form: 'index-attach';
  readonly parent: string;
  readonly child: string;
}

/** A constraint that is always added to an existing table: of an index or a foreign key. */
export interface KeyObject extends Identity {
  readonly form: 'key';
  readonly table: string;
  readonly type: 'CONSTRAINT' | 'FK CONSTRAINT';
  /** Deparsed; null for primary keys and unique constraints, which `unique` tells. */
  readonly definition: string | null;
  readonly unique?: {
    readonly primary: boolean;
    readonly nullsSame: boolean;
    readonly columns: readonly string[];
    readonly included: readonly string[];
    readonly options: readonly string[];
    readonly deferrable: boolean;
    readonly deferred: boolean;
  };
  readonly index: string | null;
  readonly only: boolean;
}

/** Privileges of objects that a role will make. */
export interface DefaultPrivilegesObject extends Identity {
  readonly form: 'default-privileges';
  readonly owner: string;
  readonly grants: Grants;
}

/** The bare name of a type, written when its own functions need it before the type. */
export interface ShellObject extends Identity {
  readonly form: 'shell';
  readonly owner: string;
  readonly sql: string;
}

/** Row level security is on for a table, with policies or without. */
export interface RowSecurityObject extends Identity {
  readonly form: 'row-security';
  readonly table: string;
}

export type SchemaObject =
  | PlainObject
  | AttachObject
  | RowSecurityObject
  | DefaultPrivilegesObject
  | ShellObject
  | IndexObject
  | IndexAttachObject
  | KeyObject
  | SilentObject
  | TableObject
  | SequenceObject
  | DefaultObject
  | CheckObject
  | DomainObject
  | RuleObject;

/** A key as clients of the API see it. */
export interface KeyConstraint {
  readonly table: string;
  readonly type: 'p' | 'u' | 'f';
  readonly name: string;
  readonly columns: readonly string[];
  readonly references: {
    readonly schema: string;
    readonly table: string;
    readonly columns: readonly string[];
  } | null;
}

export interface SchemaModel {
  readonly version: string;
  readonly encoding: string;
  /** Keywords that are quoted as names. */
  readonly keywords: ReadonlySet<string>;
  readonly objects: readonly SchemaObject[];
  /** `[later, earlier]` by identity. */
  readonly needs: readonly (readonly [string, string])[];
  /** By identity, then by number of the column (0: the object). */
  readonly comments: ReadonlyMap<string, ReadonlyMap<number, string>>;
  readonly constraints: readonly KeyConstraint[];
  /** What the SQL does not say, one line each. */
  readonly notes: readonly string[];
}
