import type { KeyConstraint, SchemaModel } from './model';

export interface ColumnJson {
  readonly name: string;
  readonly type: string;
  readonly nullable?: boolean;
  readonly generated?: boolean;
}

export interface ConstraintJson {
  readonly type: string;
  readonly columns: readonly string[];
  readonly name?: string;
  readonly referenced_table?: {
    readonly schema: string;
    readonly table: string;
    readonly columns: readonly string[];
  };
}

export interface TableJson {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly ColumnJson[];
  readonly constraints?: readonly ConstraintJson[];
}

/** A branch's schema as the API's `BranchSchemaJSON`. */
export interface SchemaJson {
  readonly tables: readonly TableJson[];
}

const CONSTRAINT_TYPES: Readonly<Record<KeyConstraint['type'], string>> = {
  p: 'primary_key',
  u: 'unique',
  f: 'foreign_key',
};

/** Tables (plain, partitioned, partitions and foreign) with their columns and keys, in the order of their names. */
export function schemaJson({ objects, constraints }: SchemaModel): SchemaJson {
  const byTable = new Map<string, ConstraintJson[]>();
  for (const constraint of constraints) {
    const known = byTable.get(constraint.table);
    if (known) known.push(constraintJson(constraint));
    else byTable.set(constraint.table, [constraintJson(constraint)]);
  }
  const tables = objects.flatMap((object) => {
    if (object.form !== 'table' || !object.written || !'rpf'.includes(object.relation)) return [];
    const own = byTable.get(object.id);
    const columns = object.columns.map(({ name, type, notNull, generated }) => ({
      name,
      type,
      nullable: !notNull,
      ...(generated ? { generated } : {}),
    }));
    return [
      { schema: object.schema ?? '', name: object.name, columns, ...(own ? { constraints: own } : {}) },
    ];
  });
  return { tables: tables.sort(byName) };
}

function byName(a: TableJson, b: TableJson): number {
  if (a.schema !== b.schema) return a.schema < b.schema ? -1 : 1;
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

function constraintJson({ type, columns, name, references }: KeyConstraint): ConstraintJson {
  return {
    type: CONSTRAINT_TYPES[type],
    columns,
    name,
    ...(references ? { referenced_table: references } : {}),
  };
}
