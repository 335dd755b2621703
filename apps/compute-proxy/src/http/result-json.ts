/**
 * The answer to one statement as JSON text, grown row by row so that one that gets too large is given up early:
 *   {"fields":[{"name","dataTypeID","tableID","columnID","dataTypeSize","dataTypeModifier","format"}…],
 *    "rows":[…],"command":"SELECT","rowCount":1,"rowAsArray":true}
 */
import type { CommandTag, Field } from '@coppice/postgres';
import { valueJson } from './value-json';

export interface RowForm {
  /** Values stay PostgreSQL's text. */
  readonly raw: boolean;
  /** Rows are arrays rather than objects. */
  readonly asArrays: boolean;
}

export class ResultJson {
  readonly #form: RowForm;
  #fields: readonly Field[] = [];
  /** `"name":` of each column for rows that are objects. */
  #keys: readonly string[] = [];
  #rows = '';
  #command: CommandTag = { command: '', rowCount: null };

  constructor(form: RowForm) {
    this.#form = form;
  }

  /** Characters so far; no fewer bytes. */
  get length(): number {
    return this.#rows.length;
  }

  describe(fields: readonly Field[]): void {
    this.#fields = fields;
    this.#keys = fields.map(({ name }) => `${JSON.stringify(name)}:`);
  }

  row(values: readonly (string | null)[]): void {
    const { raw, asArrays } = this.#form;
    let row = '';
    for (const [at, value] of values.entries()) {
      if (at > 0) row += ',';
      if (!asArrays) row += this.#keys[at];
      if (value === null) row += 'null';
      else row += raw ? JSON.stringify(value) : valueJson(value, this.#fields[at]!.typeId);
    }
    if (this.#rows !== '') this.#rows += ',';
    this.#rows += asArrays ? `[${row}]` : `{${row}}`;
  }

  complete(tag: CommandTag): void {
    this.#command = tag;
  }

  json(): string {
    const fields = this.#fields.map(fieldJson).join(',');
    const { command, rowCount } = this.#command;
    return `{"fields":[${fields}],"rows":[${this.#rows}],"command":${JSON.stringify(command)},"rowCount":${rowCount},"rowAsArray":${this.#form.asArrays}}`;
  }
}

function fieldJson(field: Field): string {
  return JSON.stringify({
    name: field.name,
    dataTypeID: field.typeId,
    tableID: field.tableId,
    columnID: field.columnId,
    dataTypeSize: field.typeSize,
    dataTypeModifier: field.typeModifier,
    format: 'text',
  });
}
