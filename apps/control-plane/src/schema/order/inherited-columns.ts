import type { DefaultObject, SchemaModel, SchemaObject, TableObject } from '../model';

/** What the columns of tables with parents have from them. */
export interface InheritedColumns {
  /** `<table>/<column name>` of columns that a parent makes NOT NULL. */
  readonly notNull: ReadonlySet<string>;
  /** Identities of generation expressions that a parent states alike. */
  readonly sameExpression: ReadonlySet<string>;
  /** `DEFAULT NULL` of columns whose parent has a default that they have not. */
  readonly noDefaults: readonly DefaultObject[];
}

/** Compares the columns of every table with those of its parents. */
export function inheritedColumns({ objects }: SchemaModel): InheritedColumns {
  const tables = new Map(objects.filter(isTable).map((table) => [table.id, table]));
  const defaults = new Map(objects.filter(isDefault).map((one) => [`${one.table}/${one.column}`, one]));
  const notNull = new Set<string>();
  const sameExpression = new Set<string>();
  const noDefaults: DefaultObject[] = [];
  for (const table of tables.values()) {
    if (!table.written || table.parents.length === 0) continue;
    const parents = table.parents.map((id) => tables.get(id)).filter((parent) => parent !== undefined);
    for (const column of table.columns) {
      const own = defaults.get(`${table.id}/${column.number}`);
      const theirs = parents.flatMap((parent) =>
        parent.columns
          .filter(({ name }) => name === column.name)
          .map((other) => ({ other, value: defaults.get(`${parent.id}/${other.number}`) })),
      );
      if (theirs.some(({ other }) => other.notNull)) notNull.add(`${table.id}/${column.name}`);
      if (!own && theirs.some(({ other, value }) => value && value.expression !== 'NULL' && !other.generated))
        noDefaults.push(noDefault(table, column.number));
      const generated = theirs.filter(({ other }) => other.generated);
      const alike = generated.every(({ value }) => value && own && value.expression === own.expression);
      if (own && generated.length > 0 && alike && !table.partition) sameExpression.add(own.id);
    }
  }
  return { notNull, sameExpression, noDefaults };
}

function noDefault(table: TableObject, column: number): DefaultObject {
  return {
    form: 'default',
    kind: 'default',
    id: `no-default:${table.id}/${column}`,
    schema: table.schema,
    name: table.name,
    ties: [column],
    table: table.id,
    column,
    expression: 'NULL',
  };
}

function isTable(object: SchemaObject): object is TableObject {
  return object.form === 'table';
}

function isDefault(object: SchemaObject): object is DefaultObject {
  return object.form === 'default';
}
