import type { Grants } from '../model';
import { quoteName } from './quoting';

/** Letters of access control items, in the order in which GRANT statements name the privileges. */
const PRIVILEGES: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  TABLE: [
    ['r', 'SELECT'],
    ['a', 'INSERT'],
    ['x', 'REFERENCES'],
    ['d', 'DELETE'],
    ['t', 'TRIGGER'],
    ['D', 'TRUNCATE'],
    ['m', 'MAINTAIN'],
    ['w', 'UPDATE'],
  ],
  COLUMN: [
    ['r', 'SELECT'],
    ['a', 'INSERT'],
    ['x', 'REFERENCES'],
    ['w', 'UPDATE'],
  ],
  SEQUENCE: [
    ['r', 'SELECT'],
    ['U', 'USAGE'],
    ['w', 'UPDATE'],
  ],
  FUNCTION: [['X', 'EXECUTE']],
  PROCEDURE: [['X', 'EXECUTE']],
  LANGUAGE: [['U', 'USAGE']],
  SCHEMA: [
    ['C', 'CREATE'],
    ['U', 'USAGE'],
  ],
  TYPE: [['U', 'USAGE']],
  'FOREIGN DATA WRAPPER': [['U', 'USAGE']],
  'FOREIGN SERVER': [['U', 'USAGE']],
};

interface Item {
  readonly grantee: string;
  readonly grantor: string;
  readonly codes: string;
}

export interface GrantTarget {
  readonly schema: string | null;
  readonly owner: string;
  /** Quoted name of the column, when the privileges are one column's. */
  readonly column?: string;
  /** `ALTER DEFAULT PRIVILEGES … ` before each statement. */
  readonly prefix?: string;
}

/** GRANT and REVOKE statements that lead from the untouched privileges to the present ones; empty when they are the same. */
export function grantStatements(grants: Grants, target: GrantTarget, keywords: ReadonlySet<string>): string {
  const writer = new GrantWriter(grants, target, keywords);
  const revoked = grants.base.filter((item) => !grants.items.includes(item));
  const granted = grants.items.filter((item) => !grants.base.includes(item));
  return [
    ...revoked.map((item) => writer.revoke(parseItem(item))),
    ...granted
      .map(parseItem)
      .filter((item) => writer.isOwners(item))
      .map((item) => writer.grant(item)),
    ...granted
      .map(parseItem)
      .filter((item) => !writer.isOwners(item))
      .map((item) => writer.grant(item)),
  ].join('');
}

class GrantWriter {
  readonly #privileges: readonly (readonly [string, string])[];
  readonly #on: string;
  readonly #name: (name: string) => string;

  constructor(
    grants: Grants,
    readonly target: GrantTarget,
    keywords: ReadonlySet<string>,
  ) {
    const singular = target.prefix ? grants.on.replace(/S$/, '') : grants.on;
    this.#privileges = PRIVILEGES[target.column ? 'COLUMN' : singular] ?? [];
    this.#name = (name) => quoteName(name, keywords);
    const schema = target.schema === null ? '' : `${this.#name(target.schema)}.`;
    this.#on = grants.name ? `${grants.on} ${schema}${grants.name}` : grants.on;
  }

  isOwners({ grantee, grantor }: Item): boolean {
    return grantee === this.target.owner && grantor === this.target.owner;
  }

  revoke(item: Item): string {
    const { plain, withOption } = this.#named(item, false);
    const privileges = plain || withOption;
    return privileges ? `${this.#prefix}REVOKE ${privileges} ON ${this.#on} FROM ${this.#role(item)};\n` : '';
  }

  grant(item: Item): string {
    const { plain, withOption } = this.#named(item, true);
    let sql = '';
    if (plain) sql += `${this.#prefix}GRANT ${plain} ON ${this.#on} TO ${this.#role(item)};\n`;
    if (withOption)
      sql += `${this.#prefix}GRANT ${withOption} ON ${this.#on} TO ${this.#role(item)} WITH GRANT OPTION;\n`;
    if (!sql || item.grantor === this.target.owner) return sql;
    return `SET SESSION AUTHORIZATION ${this.#name(item.grantor)};\n${sql}RESET SESSION AUTHORIZATION;\n`;
  }

  get #prefix(): string {
    return this.target.prefix ?? '';
  }

  #role({ grantee }: Item): string {
    return grantee === '' ? 'PUBLIC' : this.#name(grantee);
  }

  #named({ codes }: Item, heedsOption: boolean): { readonly plain: string; readonly withOption: string } {
    const held = this.#privileges
      .filter(([code]) => codes.includes(code))
      .map(([code, name]) => ({ name, option: heedsOption && codes[codes.indexOf(code) + 1] === '*' }));
    const all = held.length === this.#privileges.length;
    const word = (option: boolean): string => {
      const names = held
        .filter((privilege) => privilege.option === option)
        .map(({ name }) => this.#ofColumn(name));
      return all && names.length === held.length ? this.#ofColumn('ALL') : names.join(',');
    };
    return { plain: word(false), withOption: word(true) };
  }

  #ofColumn(privilege: string): string {
    return this.target.column === undefined ? privilege : `${privilege}(${this.target.column})`;
  }
}

/** Reads `grantee=codes/grantor`; names are quoted where they hold more than letters, digits and underscores. */
function parseItem(item: string): Item {
  const [grantee, afterGrantee] = roleAt(item, 0);
  const slash = item.indexOf('/', afterGrantee);
  const [grantor] = roleAt(item, slash + 1);
  return { grantee, codes: item.slice(afterGrantee + 1, slash), grantor };
}

function roleAt(item: string, start: number): [string, number] {
  let name = '';
  let quoted = false;
  let at = start;
  for (; at < item.length && (quoted || !'=/'.includes(item[at]!)); at++) {
    if (item[at] !== '"') name += item[at];
    else if (quoted && item[at + 1] === '"') name += item[at++];
    else quoted = !quoted;
  }
  return [name, at];
}
