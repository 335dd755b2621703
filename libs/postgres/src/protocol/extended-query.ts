/**
 * The extended query protocol from the client's side, with the unnamed statement and portal and everything as text
 * (PostgreSQL documentation, "Message Formats"; server: src/backend/tcop/postgres.c).
 *
 *   Parse  'P'  name\0 query\0 types u16=0          Describe  'D'  kind u8 name\0
 *   Bind   'B'  portal\0 name\0 formats u16=0       Execute   'E'  portal\0 rows u32=0 (all)
 *               values u16 (length i32, bytes)…     Sync      'S'
 *               result formats u16=0 (all text)
 */
import { ByteReader, ByteWriter, EndOfBytes } from '@coppice/bytes';
import { BadMessage, writeMessage } from './messages';

/** As many as Bind's count can say. */
export const MAX_PARAMETERS = 65_535;

/** Parse, Bind, Describe and Execute of one statement; `null` is NULL. */
export function writeStatement(query: string, values: readonly (string | null)[]): Buffer {
  return Buffer.concat([
    writeMessage('P', new ByteWriter(query.length + 16).u8(0).cstring(query).u16be(0).finish()),
    writeMessage('B', writeValues(values)),
    writeMessage('D', Buffer.from('P\0')),
    writeMessage('E', Buffer.alloc(5)),
  ]);
}

function writeValues(values: readonly (string | null)[]): Buffer {
  const body = new ByteWriter().u8(0).u8(0).u16be(0).u16be(values.length);
  for (const value of values) {
    if (value === null) {
      body.i32be(-1);
      continue;
    }
    const bytes = Buffer.from(value, 'utf8');
    body.i32be(bytes.length).raw(bytes);
  }
  return body.u16be(0).finish();
}

export const SYNC = writeMessage('S');

export interface Field {
  readonly name: string;
  /** 0: not a column of a table. */
  readonly tableId: number;
  readonly columnId: number;
  readonly typeId: number;
  /** Negative: of variable width. */
  readonly typeSize: number;
  readonly typeModifier: number;
}

/** The body of a RowDescription ('T'). */
export function readRowDescription(body: Buffer): readonly Field[] {
  return whole(body, 'RowDescription', (reader) => {
    const fields: Field[] = [];
    for (let left = reader.u16be(); left > 0; left -= 1) {
      fields.push({
        name: reader.cstring(),
        tableId: reader.u32be(),
        columnId: reader.i16be(),
        typeId: reader.u32be(),
        typeSize: reader.i16be(),
        typeModifier: reader.i32be(),
      });
      reader.u16be();
    }
    return fields;
  });
}

/** The body of a DataRow ('D'), every value as text. */
export function readDataRow(body: Buffer): readonly (string | null)[] {
  return whole(body, 'DataRow', (reader) => {
    const values: (string | null)[] = [];
    for (let left = reader.u16be(); left > 0; left -= 1) {
      const length = reader.i32be();
      values.push(length < 0 ? null : reader.take(length).toString('utf8'));
    }
    return values;
  });
}

export interface CommandTag {
  /** First word: `SELECT`, `INSERT`, `CREATE`, … */
  readonly command: string;
  /** Rows that it says it touched; `null`: it does not say. */
  readonly rowCount: number | null;
}

/** The body of a CommandComplete ('C'): `SELECT 3`, `INSERT 0 3` (the middle was once an oid), `CREATE TABLE`. */
export function readCommandTag(body: Buffer): CommandTag {
  const words = body.toString('latin1', 0, body.indexOf(0)).split(' ');
  const command = words[0]!;
  const count = words[command === 'INSERT' ? 2 : 1];
  return { command, rowCount: count !== undefined && /^\d+$/.test(count) ? Number(count) : null };
}

function whole<T>(body: Buffer, what: string, read: (reader: ByteReader) => T): T {
  try {
    return read(new ByteReader(body));
  } catch (error) {
    if (error instanceof EndOfBytes) throw new BadMessage(`malformed ${what}: ${error.message}`);
    throw error;
  }
}
