/**
 * The answer to one statement as JSON, grown row by row so that one that gets too large is given up early:
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

/** Text becomes bytes in pieces of so many characters: one string grown by all rows takes a multiple of its length. */
const PIECE_CHARACTERS = 8 * 1024;

export class ResultJson {
  readonly #form: RowForm;
  #fields: readonly Field[] = [];
  /** `"name":` of each column for rows that are objects. */
  #keys: readonly string[] = [];
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  /** Rows that are no bytes yet. */
  #text = '';
  #hasRows = false;
  #command: CommandTag = { command: '', rowCount: null };

  constructor(form: RowForm) {
    this.#form = form;
  }

  /** Bytes of rows so far, at least. */
  get length(): number {
    return this.#bytes + this.#text.length;
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
    if (this.#hasRows) this.#text += ',';
    this.#hasRows = true;
    this.#text += asArrays ? `[${row}]` : `{${row}}`;
    if (this.#text.length >= PIECE_CHARACTERS) this.#cut();
  }

  #cut(): void {
    const piece = Buffer.from(this.#text);
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    this.#text = '';
  }

  complete(tag: CommandTag): void {
    if (this.#text !== '') this.#cut();
    this.#command = tag;
  }

  /** One after the other. */
  json(): readonly Buffer[] {
    const fields = this.#fields.map(fieldJson).join(',');
    const { command, rowCount } = this.#command;
    const rest = `"command":${JSON.stringify(command)},"rowCount":${rowCount},"rowAsArray":${this.#form.asArrays}`;
    return [
      Buffer.from(`{"fields":[${fields}],"rows":[`),
      ...this.#pieces,
      Buffer.from(`${this.#text}],${rest}}`),
    ];
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
