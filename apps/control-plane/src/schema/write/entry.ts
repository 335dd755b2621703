import type { SchemaModel } from '../model';
import type { InheritedColumns } from '../order/inherited-columns';
import type { Node } from '../order/node';
import { quoteName } from './quoting';

/** One headed piece of the SQL. */
export interface Entry {
  readonly type: string;
  readonly tag: string;
  readonly schema: string | null;
  readonly owner: string;
  readonly sql: string;
  /** What ALTER … OWNER TO names. */
  readonly ownerOf?: string | null;
  /** Default tablespace to have been set; undefined where none matters. */
  readonly tablespace?: string;
  /** Default access method to have been set. */
  readonly accessMethod?: string;
  /** Statement that follows the owner's. */
  readonly afterwards?: string;
  /** Privileges come after all definitions, event triggers after the privileges. */
  readonly pass?: 'privileges' | 'events';
}

/** What the writers of objects look up. */
export class Names {
  readonly keywords: ReadonlySet<string>;
  readonly inherited: InheritedColumns;
  readonly #nodes: ReadonlyMap<string, Node>;
  readonly #parts = new Map<string, Node[]>();
  readonly #comments: SchemaModel['comments'];

  constructor(model: SchemaModel, nodes: readonly Node[], inherited: InheritedColumns) {
    this.keywords = model.keywords;
    this.inherited = inherited;
    this.#comments = model.comments;
    this.#nodes = new Map(nodes.map((node) => [node.object.id, node]));
    for (const node of nodes) {
      const { object } = node;
      const owner =
        object.form === 'default' ? object.table : object.form === 'check' ? object.of : undefined;
      if (owner === undefined) continue;
      const parts = this.#parts.get(owner);
      if (parts) parts.push(node);
      else this.#parts.set(owner, [node]);
    }
  }

  quote(name: string): string {
    return quoteName(name, this.keywords);
  }

  /** Quoted and qualified name of an object. */
  of({ schema, name }: { readonly schema: string | null; readonly name: string }): string {
    return schema === null ? this.quote(name) : `${this.quote(schema)}.${this.quote(name)}`;
  }

  object(id: string): Node['object'] {
    const node = this.#nodes.get(id);
    if (!node) throw new Error(`the schema names ${id} and does not hold it`);
    return node.object;
  }

  has(id: string): boolean {
    return this.#nodes.has(id);
  }

  table(id: string): Node['object'] & { readonly form: 'table' } {
    const object = this.object(id);
    if (object.form !== 'table') throw new Error(`${id} is a ${object.form}, not a table`);
    return object;
  }

  /** Defaults and CHECK constraints of a table or domain. */
  parts(id: string): readonly Node[] {
    return this.#parts.get(id) ?? [];
  }

  comments(id: string): ReadonlyMap<number, string> {
    return this.#comments.get(id) ?? new Map<number, string>();
  }
}
