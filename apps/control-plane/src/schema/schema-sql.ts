import type { SchemaModel } from './model';
import { inheritedColumns } from './order/inherited-columns';
import { orderObjects } from './order/order-objects';
import { SCHEMA_LIMITS, type SchemaLimits, schemaTooLarge } from './schema-query';
import { type Entry, Names } from './write/entry';
import { quoteText } from './write/quoting';
import { writeObject } from './write/write-object';

const PASSES = [undefined, 'privileges', 'events'] as const;

/** The schema as SQL that makes it in an empty database: the text of `pg_dump --schema-only`, without psql's commands. */
export function schemaSql(model: SchemaModel, limits: SchemaLimits = SCHEMA_LIMITS): string {
  const inherited = inheritedColumns(model);
  const whole = withNoDefaults(model, inherited.noDefaults);
  const nodes = orderObjects(whole);
  const names = new Names(whole, nodes, inherited);
  const entries = nodes.flatMap((node) => writeObject(node, names));
  const writer = new SqlWriter(limits, names);
  writer.add(heading(model));
  for (const pass of PASSES) for (const entry of entries) if (entry.pass === pass) writer.entry(entry);
  for (const note of model.notes) writer.add(`-- Not written: ${oneLine(note)}\n`);
  writer.add(`${model.notes.length > 0 ? '\n' : ''}--\n-- PostgreSQL database dump complete\n--\n\n`);
  return writer.sql();
}

function withNoDefaults(model: SchemaModel, noDefaults: SchemaModel['objects']): SchemaModel {
  const needs = noDefaults.flatMap((one) => (one.form === 'default' ? [[one.id, one.table] as const] : []));
  return { ...model, objects: [...model.objects, ...noDefaults], needs: [...model.needs, ...needs] };
}

function heading({ version, encoding }: SchemaModel): string {
  return `--
-- PostgreSQL database dump
--

-- Dumped from database version ${oneLine(version)}

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = ${quoteText(encoding)};
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

`;
}

/** A name may hold line ends, which would end the comment that it stands in. */
function oneLine(text: string): string {
  return text.replace(/[\r\n]/g, ' ');
}

class SqlWriter {
  readonly #pieces: string[] = [];
  readonly #limits: SchemaLimits;
  readonly #names: Names;
  #length = 0;
  #tablespace: string | undefined;
  #accessMethod: string | undefined;

  constructor(limits: SchemaLimits, names: Names) {
    this.#limits = limits;
    this.#names = names;
  }

  add(piece: string): void {
    this.#length += piece.length;
    if (this.#length > this.#limits.sqlCharacters)
      throw schemaTooLarge('characters of SQL or more', this.#length, this.#limits.sqlCharacters);
    this.#pieces.push(piece);
  }

  entry(entry: Entry): void {
    this.#select(entry);
    const schema = oneLine(entry.schema ?? '') || '-';
    // pg_dump knows no owner of such comments, and says so without the dash.
    const owner = oneLine(entry.owner) || (entry.type === 'COMMENT' ? '' : '-');
    const tablespace = entry.tablespace ? `; Tablespace: ${oneLine(entry.tablespace)}` : '';
    this.add(
      `--\n-- Name: ${oneLine(entry.tag)}; Type: ${entry.type}; Schema: ${schema}; Owner: ${owner}${tablespace}\n--\n\n`,
    );
    if (entry.sql) this.add(`${entry.sql}\n\n`);
    if (entry.ownerOf && entry.owner)
      this.add(`ALTER ${entry.ownerOf} OWNER TO ${this.#names.quote(entry.owner)};\n\n`);
    if (entry.afterwards) this.add(`${entry.afterwards}\n\n`);
  }

  /** Sets what CREATE takes from the session where it differs from the entry before. */
  #select({ tablespace, accessMethod }: Entry): void {
    if (tablespace !== undefined && tablespace !== this.#tablespace) {
      this.add(`SET default_tablespace = ${tablespace === '' ? "''" : this.#names.quote(tablespace)};\n\n`);
      this.#tablespace = tablespace;
    }
    if (accessMethod !== undefined && accessMethod !== this.#accessMethod) {
      this.add(`SET default_table_access_method = ${this.#names.quote(accessMethod)};\n\n`);
      this.#accessMethod = accessMethod;
    }
  }

  sql(): string {
    return this.#pieces.join('');
  }
}
