/**
 * A value in PostgreSQL's text form as JSON text, by the type of its column: booleans, small integers and floats as JSON's own,
 * json inline, arrays as arrays; whatever a JSON number would not hold exactly, and all else, as a string.
 */
import { elementTypeOf, Type } from './builtin-types';

/** The server sent a value that is not in the form of its type. */
export class BadValue extends Error {}

export function valueJson(text: string, typeId: number): string {
  const element = elementTypeOf(typeId);
  if (element) return new ArrayText(text, element.typeId, element.delimiter).json();
  switch (typeId) {
    case Type.bool:
      return text === 't' ? 'true' : 'false';
    case Type.int2:
    case Type.int4:
    case Type.json:
    case Type.jsonb:
      return text;
    case Type.float4:
    case Type.float8:
      return /^[-0-9]/.test(text) && !text.startsWith('-I') ? text : JSON.stringify(text);
    default:
      return JSON.stringify(text);
  }
}

/**
 * An array's text: `{1,"two, and",NULL,{…}}`, maybe behind bounds as in `[0:1]={…}`, which JSON cannot say and which are left
 * out (PostgreSQL: array_out, src/backend/utils/adt/arrayfuncs.c).
 */
class ArrayText {
  readonly #text: string;
  readonly #typeId: number;
  readonly #delimiter: string;
  #at = 0;

  constructor(text: string, typeId: number, delimiter: string) {
    this.#text = text;
    this.#typeId = typeId;
    this.#delimiter = delimiter;
  }

  json(): string {
    if (this.#text[0] === '[') this.#at = this.#text.indexOf('=') + 1;
    const json = this.#array();
    if (this.#at !== this.#text.length) throw new BadValue('an array goes on behind its end');
    return json;
  }

  #array(): string {
    this.#expect('{');
    if (this.#accept('}')) return '[]';
    const elements: string[] = [];
    do elements.push(this.#element());
    while (this.#accept(this.#delimiter));
    this.#expect('}');
    return `[${elements.join(',')}]`;
  }

  #element(): string {
    const next = this.#text[this.#at];
    if (next === '{') return this.#array();
    if (next === '"') return valueJson(this.#quoted(), this.#typeId);
    const from = this.#at;
    while (this.#at < this.#text.length && !this.#endsElement(this.#text[this.#at]!)) this.#at += 1;
    const text = this.#text.slice(from, this.#at);
    return text === 'NULL' ? 'null' : valueJson(text, this.#typeId);
  }

  #endsElement(character: string): boolean {
    return character === this.#delimiter || character === '}';
  }

  #quoted(): string {
    let from = ++this.#at;
    let text = '';
    for (; ; this.#at += 1) {
      const character = this.#text[this.#at];
      if (character === undefined) throw new BadValue('an array ends within quotes');
      if (character !== '"' && character !== '\\') continue;
      text += this.#text.slice(from, this.#at);
      this.#at += 1;
      if (character === '"') return text;
      from = this.#at;
    }
  }

  #accept(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character: string): void {
    if (!this.#accept(character)) throw new BadValue(`an array lacks "${character}" at ${this.#at}`);
  }
}
