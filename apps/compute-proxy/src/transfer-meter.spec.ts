import { silentLog } from '@coppice/service-kit';
import { type Transfer, TransferMeter } from './transfer-meter';

function world() {
  const told: (readonly Transfer[])[] = [];
  const state = { fails: false };
  const meter = new TransferMeter({
    tell: async (transfers) => {
      if (state.fails) throw new Error('down');
      told.push(transfers);
    },
    log: silentLog(),
  });
  return { meter, told, state };
}

describe('transferred bytes', () => {
  it('are told once, per endpoint, of sessions that live and that ended', async () => {
    const { meter, told } = world();
    const [one, two] = [
      { bytesRead: 10, bytesWritten: 5 },
      { bytesRead: 1, bytesWritten: 0 },
    ];
    const ended = meter.add('ep-1', one);
    meter.add('ep-1', two);
    meter.add('ep-2', { bytesRead: 0, bytesWritten: 0 });
    await meter.tell();
    two.bytesRead = 4;
    one.bytesWritten = 6;
    ended();
    one.bytesWritten = 99;
    await meter.tell();
    await meter.tell();
    expect(told).toEqual([[{ endpointId: 'ep-1', bytes: 16 }], [{ endpointId: 'ep-1', bytes: 4 }]]);
  });

  it('that cannot be told are told with the next', async () => {
    const { meter, told, state } = world();
    const socket = { bytesRead: 10, bytesWritten: 0 };
    meter.add('ep-1', socket);
    state.fails = true;
    await expect(meter.tell()).rejects.toThrow('down');
    socket.bytesRead = 30;
    state.fails = false;
    await meter.tell();
    expect(told).toEqual([[{ endpointId: 'ep-1', bytes: 30 }]]);
  });
});
