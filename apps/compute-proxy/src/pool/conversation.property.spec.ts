import fc from 'fast-check';
import { writeError, writeMessage } from '@coppice/postgres';
import { splitEverywhere } from '@coppice/testing';
import { Conversation, ProtocolViolation, type ServerState } from './conversation';
import { FromClient } from './from-client';
import { FromServer } from './from-server';
import { StatementMemory, StatementRegistry } from './prepared-statements';
import { writeSetting } from './reported-settings';
import { wire } from './wire-messages.fixture';

const NO_SETTINGS = new Map<string, string>();
const READY = writeMessage('Z', Buffer.from('I'));

interface Both {
  readonly conversation: Conversation;
  readonly fromClient: FromClient;
  readonly fromServer: FromServer;
  readonly server: ServerState;
}

function begin(): Both {
  const conversation = new Conversation(
    new StatementRegistry(new StatementMemory(128 * 1024 * 1024).share()),
    NO_SETTINGS,
  );
  const server: ServerState = {
    statements: new Set(),
    unnamed: undefined,
    reported: NO_SETTINGS,
    isDirty: false,
    forgetsStatements: false,
  };
  conversation.server = server;
  return {
    conversation,
    server,
    fromClient: new FromClient(conversation),
    fromServer: new FromServer(conversation),
  };
}

/** What comes out, and what is known afterwards, when the bytes come in these pieces. */
function toServer(pieces: readonly Uint8Array[]): unknown {
  const { conversation, fromClient, server } = begin();
  const fed = pieces.map((piece) => fromClient.feed(Buffer.from(piece))).at(-1);
  return {
    fed,
    sent: Buffer.concat(conversation.toServer).toString('latin1'),
    held: fromClient.held.toString('latin1'),
    statements: [...server.statements.keys()],
    isIdle: conversation.inFlight.isIdle,
  };
}

const CLIENT = Buffer.concat([
  wire.query('select 1'),
  wire.parse('a', 'select $1'),
  wire.bind('a', 'x'.repeat(40)),
  wire.describe('a'),
  wire.execute(),
  wire.close('a'),
  wire.parse('', 'select 2'),
  wire.bind(''),
  wire.execute(),
  wire.bind('unknown'),
  wire.query('select 3'),
  wire.copyData('1\n2\n'),
  wire.copyDone(),
  wire.flush(),
  wire.sync(),
]);

describe('what goes to the server', () => {
  it('is the same however the bytes are cut', () => {
    // Short of a large message, whether a query was seen whole tells only how soon its session is reset.
    const whole = toServer([CLIENT]);
    splitEverywhere(CLIENT, (pieces) => expect(toServer(pieces)).toEqual(whole));
  });
  it('names statements alike for all clients, and leaves everything else as it is', () => {
    const { conversation, fromClient } = begin();
    const copy = wire.copyData('z'.repeat(5_000));
    fromClient.feed(Buffer.concat([wire.parse('a', 'select 1'), wire.bind('a', 'v'), wire.execute(), copy]));
    const expected = [wire.parse('coppice_1', 'select 1'), wire.bind('coppice_1', 'v'), wire.execute(), copy];
    expect(Buffer.concat(conversation.toServer)).toEqual(Buffer.concat(expected));
  });
  it('is prepared again on a server that lacks it, out of the client sight', () => {
    const { conversation, fromClient, fromServer, server } = begin();
    fromClient.feed(Buffer.concat([wire.parse('a', 'select 1'), wire.sync()]));
    fromServer.feed(Buffer.concat([writeMessage('1'), READY]), server);
    server.statements.clear();
    conversation.toServer.length = conversation.toClient.length = 0;
    fromClient.feed(Buffer.concat([wire.bind('a'), wire.sync()]));
    expect(Buffer.concat(conversation.toServer)).toEqual(
      Buffer.concat([wire.parse('coppice_1', 'select 1'), wire.bind('coppice_1'), wire.sync()]),
    );
    fromServer.feed(Buffer.concat([writeMessage('1'), writeMessage('2'), READY]), server);
    expect(Buffer.concat(conversation.toClient)).toEqual(Buffer.concat([writeMessage('2'), READY]));
  });
  it('waits with a statement whose earlier Parse may have been skipped', () => {
    const { conversation, fromClient, fromServer, server } = begin();
    const fed = fromClient.feed(
      Buffer.concat([wire.parse('a', 'nonsense'), wire.sync(), wire.parse('a', 'select 1'), wire.sync()]),
    );
    expect(fed).toBe('needs-answer');
    const failed = writeError({ severity: 'ERROR', code: '42601', message: 'nonsense' });
    fromServer.feed(Buffer.concat([failed, READY]), server);
    conversation.toServer.length = 0;
    expect(fromClient.feed(Buffer.alloc(0))).toBe('all');
    expect(Buffer.concat(conversation.toServer)).toEqual(
      Buffer.concat([wire.parse('coppice_2', 'select 1'), wire.sync()]),
    );
  });
  it('is a statement once that is whole, which takes few copies and no server until then', () => {
    const { conversation, fromClient, server } = begin();
    conversation.server = undefined;
    const parse = wire.parse('a', 'x'.repeat(1_000_000));
    const stores = new Set<ArrayBufferLike>();
    const PIECE = 5_000;
    for (let at = 0; at + PIECE < parse.length; at += PIECE) {
      expect(fromClient.feed(parse.subarray(at, at + PIECE))).toBe('all');
      stores.add(fromClient.held.buffer);
    }
    expect(stores.size).toBeLessThan(15);
    const rest = parse.length % PIECE;
    expect(fromClient.feed(parse.subarray(parse.length - rest))).toBe('needs-server');
    conversation.server = server;
    expect(fromClient.feed(Buffer.alloc(0))).toBe('all');
    expect(Buffer.concat(conversation.toServer)).toEqual(wire.parse('coppice_1', 'x'.repeat(1_000_000)));
  });
  it('is nothing for what needs no server', () => {
    const { conversation, fromClient } = begin();
    conversation.server = undefined;
    expect(
      fromClient.feed(Buffer.concat([wire.close('a'), wire.flush(), wire.sync(), wire.copyDone()])),
    ).toBe('all');
    expect(conversation.toServer).toEqual([]);
    expect(Buffer.concat(conversation.toClient)).toEqual(Buffer.concat([writeMessage('3'), READY]));
    expect(fromClient.feed(wire.query('select 1'))).toBe('needs-server');
    expect(fromClient.held).toEqual(wire.query('select 1'));
  });
  it('is never more than valid messages, whatever the client sends', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 })),
        fc.subarray([wire.sync(), CLIENT]),
        (junk, sane) => {
          const { conversation, fromClient } = begin();
          try {
            for (const piece of [...sane, ...junk]) fromClient.feed(Buffer.from(piece));
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolViolation);
          }
          const sent = Buffer.concat(conversation.toServer);
          for (let at = 0; sent.length - at >= 5; at += 1 + sent.readUInt32BE(at + 1))
            expect('QFPBDECHSdcf').toContain(String.fromCharCode(sent[at]!));
        },
      ),
    );
  });
});

describe('what goes to the client', () => {
  const SERVER = Buffer.concat([
    writeMessage('1'),
    writeMessage('T', Buffer.alloc(30, 1)),
    writeMessage('D', Buffer.alloc(300, 2)),
    writeMessage('C', Buffer.from('SELECT 1\0')),
    writeSetting('TimeZone', 'UTC'),
    writeMessage('N', Buffer.alloc(20, 3)),
    writeError({ severity: 'ERROR', code: '22012', message: 'division by zero' }),
    READY,
  ]);
  /** A Query of ours, then a prepared statement that is prepared again. */
  function fromServerOf(pieces: readonly Uint8Array[]): unknown {
    const { conversation, fromClient, fromServer, server } = begin();
    conversation.inFlight.query(true);
    conversation.statements.add('a', Buffer.from('select 1\0\0\0'));
    fromClient.feed(Buffer.concat([wire.bind('a'), wire.execute(), wire.sync()]));
    for (const piece of pieces) fromServer.feed(Buffer.from(piece), server);
    return {
      received: Buffer.concat(conversation.toClient).toString('latin1'),
      told: [...conversation.told],
      reported: [...server.reported],
      isIdle: conversation.inFlight.isIdle && fromServer.isBetweenMessages,
      isDirty: server.isDirty,
    };
  }
  const OURS = Buffer.concat([
    writeMessage('C', Buffer.from('SET\0')),
    writeSetting('DateStyle', 'German'),
    READY,
  ]);

  it('is the same however the bytes are cut, without what answers us', () => {
    const all = Buffer.concat([OURS, SERVER]);
    const whole = fromServerOf([all]);
    expect(whole).toMatchObject({
      received: SERVER.subarray(5).toString('latin1'),
      told: [['TimeZone', 'UTC']],
      reported: [
        ['DateStyle', 'German'],
        ['TimeZone', 'UTC'],
      ],
      isIdle: true,
      isDirty: false,
    });
    splitEverywhere(all, (pieces) => expect(fromServerOf(pieces)).toEqual(whole));
  });
  it('is not the end of a session before anything was done: another server may do it', () => {
    const { fromServer, server, conversation } = begin();
    conversation.inFlight.query();
    const end = writeError({ severity: 'FATAL', code: '57P01', message: 'terminating' });
    fromServer.feed(end, server);
    const said = { sqlstate: '57P01', message: end, isFirst: true, isBetweenTransactions: false };
    expect(fromServer.fatal).toEqual(said);
    expect(conversation.toClient).toEqual([]);
    expect(conversation.inFlight.isIdle).toBe(false);
  });
  it('is its answer alone when the server ends in the same breath', () => {
    const { fromServer, server, conversation } = begin();
    conversation.inFlight.query();
    const answer = Buffer.concat([
      writeMessage('C', Buffer.from('SELECT 1\0')),
      writeMessage('Z', Buffer.from('I')),
    ]);
    const end = writeError({ severity: 'FATAL', code: '57P01', message: 'terminating' });
    fromServer.feed(Buffer.concat([answer, end]), server);
    expect(Buffer.concat(conversation.toClient)).toEqual(answer);
    expect(fromServer.fatal).toMatchObject({ isFirst: false, isBetweenTransactions: true });
  });
  it.each([
    ['SELECT 1', false, 1],
    ['SET', true, 1],
    ['DECLARE CURSOR', true, 1],
    ['DELETE 1', false, 1],
    ['PREPARE', true, 1],
    ['DISCARD ALL', true, 0],
    ['DEALLOCATE ALL', true, 0],
    ['DEALLOCATE', true, 1],
  ])('tells what %s leaves behind', (tag, isDirty, statements) => {
    const { fromServer, server, conversation } = begin();
    conversation.inFlight.query();
    server.statements.add('coppice_1');
    fromServer.feed(writeMessage('C', Buffer.from(`${tag}\0`)), server);
    expect({ isDirty: server.isDirty, statements: server.statements.size }).toEqual({ isDirty, statements });
  });
});
