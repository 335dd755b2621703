import { InFlight } from './in-flight';

const IDLE = 'I'.charCodeAt(0);
const OPEN = 'T'.charCodeAt(0);
const FAILED = 'E'.charCodeAt(0);

describe('a server is free', () => {
  let flight: InFlight;
  beforeEach(() => {
    flight = new InFlight();
  });

  it('when each of pipelined queries is answered, outside of a transaction', () => {
    flight.query();
    flight.query();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(false);
    flight.ready(OPEN);
    expect(flight.isIdle).toBe(false);
    flight.query();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
  it('not before the Sync of what was sent, nor while that is not answered', () => {
    flight.parseOrClose();
    flight.extended();
    expect(flight.isIdle).toBe(false);
    flight.sync();
    flight.answer();
    expect(flight.isIdle).toBe(false);
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
    flight.flush();
    expect(flight.isIdle).toBe(false);
  });
  it('after an error when the next Sync is answered: what lies between is skipped', () => {
    flight.parseOrClose();
    flight.query();
    flight.query();
    flight.error();
    expect(flight.isSkipping).toBe(true);
    expect(flight.isIdle).toBe(false);
    flight.sync();
    expect(flight.isSkipping).toBe(false);
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
  it('after the error of a query itself, which skips nothing', () => {
    flight.parseOrClose();
    expect(flight.query()).toBe(true);
    flight.sync();
    expect(flight.answer()).toBe(true);
    // The mark before the query is not for the client.
    expect(flight.answer()).toBe(false);
    flight.error();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(false);
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
  it('in a failed transaction only when that was rolled back', () => {
    flight.query();
    flight.answer();
    flight.error();
    flight.ready(FAILED);
    expect(flight.isIdle).toBe(false);
    flight.query();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
  it('after COPY in, which eats a Sync sent before its end', () => {
    flight.extended();
    flight.sync();
    flight.copyIn();
    expect(flight.isIdle).toBe(false);
    flight.copyEnd();
    flight.sync();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
  it.each([
    ['a Sync among copy data', () => (flight.query(), flight.copyIn(), flight.sync())],
    ['a query among copy data', () => (flight.query(), flight.copyIn(), flight.query())],
    [
      'copy data that were sent before the copy began',
      () => (flight.extended(), flight.copyEnd(), flight.sync(), flight.copyIn()),
    ],
    [
      'an error in a copy that ate a Sync',
      () => (flight.extended(), flight.sync(), flight.copyIn(), flight.error()),
    ],
    ['a ReadyForQuery too many', () => flight.ready(IDLE)],
  ])('never again after %s', (_, happens) => {
    happens();
    expect(flight.isDoubtful).toBe(true);
    flight.copyEnd();
    flight.sync();
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(false);
  });
});

describe('messages that prepare statements', () => {
  it('are taken back when they were skipped, and only those', () => {
    const flight = new InFlight();
    const undone: string[] = [];
    const awaited = (name: string) => ({ isOurs: false, undo: () => void undone.push(name) });
    flight.parseOrClose(awaited('one'));
    flight.parseOrClose(awaited('two'));
    flight.sync();
    flight.parseOrClose(awaited('three'));
    flight.sync();
    flight.answer();
    flight.error();
    flight.ready(IDLE);
    expect(undone).toEqual(['two']);
    flight.answer();
    flight.ready(IDLE);
    expect(undone).toEqual(['two']);
    expect(flight.isIdle).toBe(true);
  });
  it('are uncertain from their Sync until it is answered', () => {
    const flight = new InFlight();
    flight.parseOrClose({ isOurs: false, undo: () => undefined });
    expect(flight.isUncertain).toBe(false);
    flight.sync();
    expect(flight.isUncertain).toBe(true);
    flight.answer();
    flight.ready(IDLE);
    expect(flight.isUncertain).toBe(false);
  });
  it('are all taken back, the last first, when another server does what this one did not', () => {
    const flight = new InFlight();
    const undone: number[] = [];
    for (const n of [1, 2]) flight.parseOrClose({ isOurs: true, undo: () => void undone.push(n) });
    flight.takeBack();
    expect(undone).toEqual([2, 1]);
    expect(flight.isIdle).toBe(true);
  });
});

describe('the first query that a server gets', () => {
  it('has a Close before it, which the server answers before it runs the query', () => {
    const flight = new InFlight();
    expect(flight.query()).toBe(true);
    expect(flight.answer()).toBe(false);
    flight.ready(OPEN);
    expect(flight.query()).toBe(false);
    flight.reset();
    expect(flight.query()).toBe(true);
  });
  it('has none when another message of the client goes before it', () => {
    const flight = new InFlight();
    flight.parseOrClose();
    flight.sync();
    expect(flight.query()).toBe(false);
  });
  it('has one behind settings of ours', () => {
    const flight = new InFlight();
    expect(flight.query(true)).toBe(false);
    expect(flight.query()).toBe(true);
  });
});

describe('a query of ours', () => {
  it('keeps its whole answer from the client, up to its own ReadyForQuery', () => {
    const flight = new InFlight();
    flight.query(true);
    flight.query();
    expect(flight.isQuiet).toBe(true);
    flight.ready(IDLE);
    expect(flight.isQuiet).toBe(false);
    flight.ready(IDLE);
    expect(flight.isIdle).toBe(true);
  });
});
