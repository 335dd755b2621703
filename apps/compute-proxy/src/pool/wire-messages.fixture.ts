import { writeMessage } from '@coppice/postgres';

const int16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
const text = (s: string): Buffer => Buffer.from(`${s}\0`);

/** Messages of the extended protocol. */
export const wire = {
  query: (sql: string): Buffer => writeMessage('Q', text(sql)),
  parse: (name: string, sql: string): Buffer =>
    writeMessage('P', Buffer.concat([text(name), text(sql), int16(0)])),
  bind: (statement: string, ...values: string[]): Buffer =>
    writeMessage(
      'B',
      Buffer.concat([
        text(''),
        text(statement),
        int16(0),
        int16(values.length),
        ...values.flatMap((v) => [Buffer.from([0, 0, 0, Buffer.byteLength(v)]), Buffer.from(v)]),
        int16(0),
      ]),
    ),
  describe: (statement: string): Buffer => writeMessage('D', text(`S${statement}`)),
  execute: (): Buffer => writeMessage('E', Buffer.from([0, 0, 0, 0, 0])),
  close: (statement: string): Buffer => writeMessage('C', text(`S${statement}`)),
  sync: (): Buffer => writeMessage('S'),
  flush: (): Buffer => writeMessage('H'),
  copyData: (rows: string): Buffer => writeMessage('d', Buffer.from(rows)),
  copyDone: (): Buffer => writeMessage('c'),
  copyFail: (): Buffer => writeMessage('f', text('no more')),
};
